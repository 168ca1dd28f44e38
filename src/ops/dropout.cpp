#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/dropout.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
#include "ops/dropout-inl.hpp"
// clang-format on

#include <algorithm>

#include "ops/autograd.hpp"
#include "ops/dropout.hpp"
#include "ops/fast.hpp"

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

at::Tensor dropped(const at::Tensor& input, const DropoutSite& site) {
  const at::Tensor x = input.contiguous();
  at::Tensor y = at::empty_like(x);
  const auto n = x.numel();
  if (n == 0) return y;
  const auto first = static_cast<std::uint64_t>(site.first_slot * (n / x.size(0)));
  HWY_DYNAMIC_DISPATCH(drop)
  (dropout_stream(site), first, x.data_ptr<float>(), n, y.data_ptr<float>());
  return y;
}

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x, const DropoutSite& site) {
    save_dropout(*context, site);
    return dropped(x, site);
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    return {dropped(gradients[0], *saved_dropout(*context)), at::Tensor()};
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x, const DropoutSite& site) {
  return DropoutFunction::apply(x, site);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
