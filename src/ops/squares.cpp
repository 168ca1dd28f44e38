#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/squares.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/checks.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/fast.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

using Doubles = hn::ScalableTag<double>;
using DoubleVec = hn::VFromD<Doubles>;

constexpr int kBlockBits = 10;
constexpr std::int64_t kSquares = std::int64_t{1} << kBlockBits;

/// Cuts every value, smaller in magnitude than 2^exponent, in two: a multiple of a unit so large
/// that the sum of a block of them is exact, which is returned, and the rest, less than
/// 2^(exponent - kLevelBits), which replaces the value. `any` tells whether a rest is not zero.
/// Demmel & Nguyen, "Fast reproducible floating-point summation", 2013.
constexpr int kLevelBits = 54 - kBlockBits;
HWY_INLINE double extract(double* values, std::int64_t n, int exponent, bool& any) {
  const Doubles d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  // Adding it rounds to a multiple of 2^(exponent + kBlockBits - 53).
  const DoubleVec shift = hn::Set(d, std::ldexp(1.5, exponent + kBlockBits - 1));
  DoubleVec sum = hn::Zero(d);
  DoubleVec most = hn::Zero(d);
  for (std::int64_t i = 0; i < n; i += lanes) {
    const DoubleVec value = hn::Load(d, values + i);
    const DoubleVec high = hn::Sub(hn::Add(value, shift), shift);
    const DoubleVec rest = hn::Sub(value, high);
    sum = hn::Add(sum, high);
    most = hn::Max(most, hn::Abs(rest));
    hn::Store(rest, d, values + i);
  }
  any = hn::GetLane(hn::MaxOfLanes(d, most)) > 0;
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

/// The same as sum.add_squares(x).
void add_squares(const float* x, std::int64_t n, ExactSum& sum) {
  const Floats d;
  const Doubles wide;
  const hn::Rebind<float, Doubles> narrow;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(narrow));
  HWY_ALIGN double squares[kSquares];
  HWY_ALIGN float tail[kSquares];
  for (std::int64_t first = 0; first < n; first += kSquares) {
    const float* block = x + first;
    if (n - first < kSquares) {  // the last block with zeros behind it
      std::fill(std::copy(block, x + n, tail), tail + kSquares, 0.0F);
      block = tail;
    }
    Vec most = hn::Zero(d);
    auto finite = hn::Eq(most, most);
    for_each_vector(kSquares, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec size = hn::Abs(load(block + i, count));
      finite = hn::And(finite, hn::Le(size, set(std::numeric_limits<float>::max())));
      most = hn::Max(most, size);
    });
    if (!hn::AllTrue(d, finite)) {
      sum.add_squares({block, static_cast<std::size_t>(kSquares)});
      continue;
    }
    const float largest = max_lane(most);
    if (largest == 0) continue;
    for (std::int64_t i = 0; i < kSquares; i += lanes) {
      const DoubleVec value = hn::PromoteTo(wide, hn::LoadU(narrow, block + i));
      hn::Store(hn::Mul(value, value), wide, squares + i);  // 48 bits: exact
    }
    int exponent = 0;
    std::frexp(largest, &exponent);
    exponent *= 2;
    bool any = true;
    for (int level = 0; level < 3 && any; ++level, exponent -= kLevelBits) {
      sum.add(extract(squares, kSquares, exponent, any));
    }
    if (!any) continue;
    for (const double rest : squares) {
      if (rest != 0) sum.add(rest);
    }
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops {
namespace {
HWY_EXPORT(add_squares);
}  // namespace

void add_squares(std::span<const float> values, ExactSum& sum) {
  HWY_DYNAMIC_DISPATCH(add_squares)
  (values.data(), static_cast<std::int64_t>(values.size()), sum);
}

void add_squares(const at::Tensor& values, ExactSum& sum) {
  checks::flat("add_squares", "values", values, -1);
  if (fast::applies(values)) {
    add_squares({values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}, sum);
  } else {
    const auto add = on_gpu(values) ? cuda::add_squares : reference::add_squares;
    add(values, sum);
  }
}

}  // namespace pg::ops
#endif  // HWY_ONCE
