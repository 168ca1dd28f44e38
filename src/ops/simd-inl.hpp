// Vector functions shared by the kernels. Included once per instruction set (Highway's
// foreach_target), hence the guard that toggles.
#if defined(PG_OPS_SIMD_INL_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef PG_OPS_SIMD_INL_HPP_
#undef PG_OPS_SIMD_INL_HPP_
#else
#define PG_OPS_SIMD_INL_HPP_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

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

/// Values of a polynomial by Horner's rule; coefficients from the constant up.
template <std::size_t n>
HWY_INLINE Vec polynomial(Vec x, const float (&coefficients)[n]) {
  Vec result = set(coefficients[n - 1]);
  for (std::size_t i = n - 1; i-- > 0;) {
    result = hn::MulAdd(result, x, set(coefficients[i]));
  }
  return result;
}

/// e^x within about one unit in the last place; 0 below -87.3, infinity above 88.3, NaN for NaN
/// (Highway's own Exp returns 0 there, which would hide a diverged run).
HWY_INLINE Vec exp(Vec x) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  // Adding 1.5 * 2^23 rounds x / ln 2 to an integer, which then stands in the low bits.
  const Vec magic = set(12582912.0F);
  const Vec shifted = hn::MulAdd(x, set(1.44269504F), magic);
  const Vec n = hn::Sub(shifted, magic);
  Vec r = hn::NegMulAdd(n, set(0.693359375F), x);
  r = hn::NegMulAdd(n, set(-2.12194440e-4F), r);
  // Minimax for (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2: relative error of e^r 3e-9.
  const Vec tail = polynomial(r, {0.500000001F, 0.166666665F, 4.16664646e-2F, 8.33336082e-3F,
                                  1.39336982e-3F, 1.98578470e-4F});
  const Vec mantissa = hn::Add(set(1.0F), hn::MulAdd(hn::Mul(r, r), tail, r));
  const auto exponent = hn::Add(hn::BitCast(di, shifted), hn::Set(di, 127));
  const Vec power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
  Vec result = hn::Mul(mantissa, power);
  result = hn::IfThenElse(hn::Lt(x, set(-87.3F)), hn::Zero(d), result);
  return hn::IfThenElse(hn::Gt(x, set(88.3F)), hn::Inf(d), result);
}

HWY_INLINE Vec sigmoid(Vec x) {
  const Vec one = set(1.0F);
  return hn::Div(one, hn::Add(one, exp(hn::Neg(x))));
}

/// Within a few units in the last place everywhere: a polynomial near zero, where 2 sigmoid(2 x) -
/// 1 would cancel.
HWY_INLINE Vec tanh(Vec x) {
  const Vec one = set(1.0F);
  const Vec a = hn::Abs(x);
  const Vec e = exp(hn::Mul(a, set(-2.0F)));
  const Vec far = hn::Div(hn::Sub(one, e), hn::Add(one, e));
  const Vec square = hn::Mul(x, x);
  // Cephes' tanhf: minimax of (tanh(x) / x - 1) / x^2 for |x| < 0.625.
  const Vec near = hn::MulAdd(
      hn::Mul(polynomial(square, {-3.33332819422e-1F, 1.33314422036e-1F, -5.37397155531e-2F,
                                  2.06390887954e-2F, -5.70498872745e-3F}),
              square),
      a, a);
  return hn::CopySign(hn::IfThenElse(hn::Lt(a, set(0.625F)), near, far), x);
}

/// Distribution function and density of the standard normal.
struct Normal {
  Vec cdf;
  Vec density;
};

/// cdf(-|x|) = e^(-x^2/2) t P(t), t = 1 / (1 + 0.3 |x|): P is the minimax polynomial in relative
/// error (3.4e-9) for |x| <= 14, beyond which the result underflows. One exponential serves both.
HWY_INLINE Normal normal(Vec x) {
  const Vec one = set(1.0F);
  const Vec t = hn::Div(one, hn::MulAdd(hn::Abs(x), set(0.3F), one));
  const Vec e = exp(hn::Mul(hn::Mul(x, x), set(-0.5F)));
  const Vec p =
      polynomial(t, {0.1196866340F, 0.1195728424F, 0.1102273138F, 0.0784256269F, 0.0960576928F,
                     -0.0792470866F, 0.1915813923F, -0.2280672889F, 0.1123756836F, -0.0206128121F});
  const Vec tail = hn::Mul(hn::Mul(e, t), p);
  const Vec cdf = hn::IfThenElse(hn::Lt(x, hn::Zero(Floats())), tail, hn::Sub(one, tail));
  return {cdf, hn::Mul(e, set(0.398942280F))};
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
