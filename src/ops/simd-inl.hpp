// Vector functions shared by the kernels. Included once per instruction set (Highway's
// foreach_target), hence the guard that toggles.
#if defined(PG_OPS_SIMD_INL_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef PG_OPS_SIMD_INL_HPP_
#undef PG_OPS_SIMD_INL_HPP_
#else
#define PG_OPS_SIMD_INL_HPP_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "ops/adamw.hpp"
#include "ops/gate_spec.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vec = hn::VFromD<Floats>;

HWY_INLINE Vec set(float value) {
  return hn::Set(Floats(), value);
}

/// Calls body(i, count) over [0, n) in steps of the vector length; only the last count may be less.
template <class Body>
HWY_INLINE void for_each_vector(std::int64_t n, Body&& body) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i, lanes);
  if (i < n) body(i, n - i);
}

/// The first `count` lanes from memory, the rest `fill`; never reads past them.
HWY_INLINE Vec load(const float* from, std::int64_t count, float fill = 0.0F) {
  const Floats d;
  if (count == static_cast<std::int64_t>(hn::Lanes(d))) return hn::LoadU(d, from);
  const auto some = static_cast<std::size_t>(count);
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float buffer[hn::MaxLanes(d)];
  hn::Store(hn::Set(d, fill), d, buffer);
  std::memcpy(buffer, from, some * sizeof(float));
  return hn::Load(d, buffer);
#else
  const auto mask = hn::FirstN(d, some);
  return hn::IfThenElse(mask, hn::MaskedLoad(mask, d, from), hn::Set(d, fill));
#endif
}

HWY_INLINE void store(Vec value, float* to, std::int64_t count) {
  const Floats d;
  if (count == static_cast<std::int64_t>(hn::Lanes(d))) {
    hn::StoreU(value, d, to);
    return;
  }
  const auto some = static_cast<std::size_t>(count);
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float buffer[hn::MaxLanes(d)];
  hn::Store(value, d, buffer);
  std::memcpy(to, buffer, some * sizeof(float));
#else
  hn::BlendedStore(value, hn::FirstN(d, some), d, to);
#endif
}

/// The same for bfloat16, as its bits: the upper half of a float's.
HWY_INLINE Vec load(const std::uint16_t* from, std::int64_t count, float fill = 0.0F) {
  const hn::Rebind<std::uint16_t, Floats> half;
  const hn::RebindToUnsigned<Floats> whole;
  const auto widen = [&](auto bits) HWY_ATTR {
    return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(whole, bits)));
  };
  if (count == static_cast<std::int64_t>(hn::Lanes(half))) return widen(hn::LoadU(half, from));
  HWY_ALIGN std::uint16_t buffer[hn::MaxLanes(half)] = {};
  std::memcpy(buffer, from, static_cast<std::size_t>(count) * sizeof(*from));
  const auto mask = hn::FirstN(Floats(), static_cast<std::size_t>(count));
  return hn::IfThenElse(mask, widen(hn::Load(half, buffer)), set(fill));
}

/// Rounds to the nearest, ties to even, as at::BFloat16 does.
HWY_INLINE void store(Vec value, std::uint16_t* to, std::int64_t count) {
  const hn::Rebind<std::uint16_t, Floats> half;
  const hn::RebindToUnsigned<Floats> whole;
  const hn::RebindToSigned<Floats> integers;
  const auto bits = hn::BitCast(whole, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(whole, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(whole, 0x7FFF)));
  const Vec kept = hn::IfThenElse(hn::Eq(value, value), hn::BitCast(Floats(), rounded),
                                  hn::BitCast(Floats(), hn::Set(whole, 0x7FC00000)));
  const auto upper = hn::ShiftRight<16>(hn::BitCast(whole, kept));
  const auto result = hn::DemoteTo(half, hn::BitCast(integers, upper));
  if (count == static_cast<std::int64_t>(hn::Lanes(half))) {
    hn::StoreU(result, half, to);
    return;
  }
  HWY_ALIGN std::uint16_t buffer[hn::MaxLanes(half)];
  hn::Store(result, half, buffer);
  std::memcpy(to, buffer, static_cast<std::size_t>(count) * sizeof(*to));
}

HWY_INLINE void store_zeros(float* to, std::int64_t n) {
  for_each_vector(
      n, [&](std::int64_t i, std::int64_t count) HWY_ATTR { store(set(0.0F), to + i, count); });
}

HWY_INLINE float sum_lanes(Vec v) {
  return hn::GetLane(hn::SumOfLanes(Floats(), v));
}

HWY_INLINE float max_lane(Vec v) {
  return hn::GetLane(hn::MaxOfLanes(Floats(), v));
}

// The primitives that ops/formulas-inl.hpp is written in.

HWY_INLINE Vec zero() {
  return hn::Zero(Floats());
}
HWY_INLINE Vec add(Vec a, Vec b) {
  return hn::Add(a, b);
}
HWY_INLINE Vec sub(Vec a, Vec b) {
  return hn::Sub(a, b);
}
HWY_INLINE Vec mul(Vec a, Vec b) {
  return hn::Mul(a, b);
}
HWY_INLINE Vec div(Vec a, Vec b) {
  return hn::Div(a, b);
}
HWY_INLINE Vec neg(Vec a) {
  return hn::Neg(a);
}
HWY_INLINE Vec abs(Vec a) {
  return hn::Abs(a);
}
HWY_INLINE Vec sqrt(Vec a) {
  return hn::Sqrt(a);
}
HWY_INLINE Vec copy_sign(Vec magnitude, Vec sign) {
  return hn::CopySign(magnitude, sign);
}
/// Rounds once where the processor can.
HWY_INLINE Vec mul_add(Vec a, Vec b, Vec c) {
  return hn::MulAdd(a, b, c);
}
HWY_INLINE Vec neg_mul_add(Vec a, Vec b, Vec c) {
  return hn::NegMulAdd(a, b, c);
}
HWY_INLINE auto less(Vec a, Vec b) {
  return hn::Lt(a, b);
}
HWY_INLINE auto greater(Vec a, Vec b) {
  return hn::Gt(a, b);
}
HWY_INLINE auto equal(Vec a, Vec b) {
  return hn::Eq(a, b);
}
template <class Mask>
HWY_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return hn::IfThenElse(mask, yes, no);
}
/// 2^n, where n stands in the low bits of the float.
HWY_INLINE Vec power_of_two(Vec shifted) {
  const hn::RebindToSigned<Floats> di;
  const auto exponent = hn::Add(hn::BitCast(di, shifted), hn::Set(di, 127));
  return hn::BitCast(Floats(), hn::ShiftLeft<23>(exponent));
}

#define PG_FORMULA HWY_INLINE
#include "ops/formulas-inl.hpp"
#undef PG_FORMULA

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
