#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/dropout.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
#include "ops/dropout-inl.hpp"
// clang-format on

#include <algorithm>

#include "ops/fast.hpp"
#include "ops/functions.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// y = x times the factors of the elements from `first` on.
void drop(const DropoutStream& stream, std::uint64_t first, const float* x, std::int64_t n,
          float* y) {
  constexpr std::int64_t kPiece = 1024;  // factors that stay in the first cache
  HWY_ALIGN float buffer[kPiece + kDropoutSlack];
  for (std::int64_t start = 0; start < n; start += kPiece) {
    const auto length = std::min(kPiece, n - start);
    const float* factors =
        dropout_factors(stream, first + static_cast<std::uint64_t>(start), length, buffer);
    // A product, not a choice: a NaN that is dropped stays one, as in the reference.
    for_each_vector(length, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(hn::Mul(load(x + start + i, count), load(factors + i, count)), y + start + i, count);
    });
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(drop);

struct DropoutKernels {
  static void drop(const DropoutStream& stream, std::uint64_t first, const at::Tensor& x,
                   at::Tensor& y) {
    HWY_DYNAMIC_DISPATCH(drop)
    (stream, first, x.data_ptr<float>(), x.numel(), y.data_ptr<float>());
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x, const DropoutSite& site) {
  return DropoutFunction<DropoutKernels>::apply(x, site);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
