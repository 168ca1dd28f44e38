#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cross_entropy.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/autograd.hpp"
#include "ops/fast.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// Sum over rows of log(sum(exp(logits))) - logits[target]. Of each row, max_n and inverse_n keep
/// what gives the softmax back: exp(logit - max) * inverse.
double cross_entropy_forward(const float* logits, const std::int64_t* targets, std::int64_t n,
                             std::int64_t v, float* max_n, float* inverse_n) {
  constexpr std::int64_t kBlock = 1024;  // columns summed in float before double takes over
  double loss = 0;
  for (std::int64_t row = 0; row < n; ++row, logits += v) {
    Vec max = set(kLowest);
    for_each_vector(v, [&](std::int64_t i, std::int64_t count)
                           HWY_ATTR { max = hn::Max(max, load(logits + i, count, kLowest)); });
    max_n[row] = max_lane(max);
    const Vec shift = set(max_n[row]);
    double sum = 0;
    for (std::int64_t block = 0; block < v; block += kBlock) {
      Vec part = set(0.0F);
      for_each_vector(
          std::min(kBlock, v - block), [&](std::int64_t i, std::int64_t count) HWY_ATTR {
            part = hn::Add(part, exp(hn::Sub(load(logits + block + i, count, kLowest), shift)));
          });
      sum += static_cast<double>(sum_lanes(part));
    }
    inverse_n[row] = static_cast<float>(1.0 / sum);
    loss += std::log(sum) +
            (static_cast<double>(max_n[row]) - static_cast<double>(logits[targets[row]]));
  }
  return loss;
}

/// dlogits = (softmax - onehot) * dy.
void cross_entropy_backward(const float* logits, const std::int64_t* targets, const float* max_n,
                            const float* inverse_n, float dy, std::int64_t n, std::int64_t v,
                            float* dlogits) {
  for (std::int64_t row = 0; row < n; ++row, logits += v, dlogits += v) {
    const Vec shift = set(max_n[row]);
    const Vec factor = set(inverse_n[row] * dy);
    for_each_vector(v, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(hn::Mul(exp(hn::Sub(load(logits + i, count), shift)), factor), dlogits + i, count);
    });
    dlogits[targets[row]] -= dy;
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(cross_entropy_forward);
HWY_EXPORT(cross_entropy_backward);

struct CrossEntropyFunction : torch::autograd::Function<CrossEntropyFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& logits_input,
                            const at::Tensor& targets_input) {
    const at::Tensor logits_nv = logits_input.contiguous();
    const at::Tensor targets_n = targets_input.contiguous();
    const auto n = logits_nv.size(0);
    at::Tensor max_n = at::empty({n}, logits_nv.options());
    at::Tensor inverse_n = at::empty({n}, logits_nv.options());
    const double loss = HWY_DYNAMIC_DISPATCH(cross_entropy_forward)(
        logits_nv.data_ptr<float>(), targets_n.data_ptr<std::int64_t>(), n, logits_nv.size(1),
        max_n.data_ptr<float>(), inverse_n.data_ptr<float>());
    context->save_for_backward({logits_nv, targets_n, max_n, inverse_n});
    return at::scalar_tensor(loss, at::kDouble);
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& logits_nv = saved[0];
    at::Tensor dlogits_nv = at::empty_like(logits_nv);
    HWY_DYNAMIC_DISPATCH(cross_entropy_backward)
    (logits_nv.data_ptr<float>(), saved[1].data_ptr<std::int64_t>(), saved[2].data_ptr<float>(),
     saved[3].data_ptr<float>(), static_cast<float>(gradients[0].item<double>()), logits_nv.size(0),
     logits_nv.size(1), dlogits_nv.data_ptr<float>());
    return {dlogits_nv, at::Tensor()};
  }
};

}  // namespace

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n) {
  return CrossEntropyFunction::apply(logits_nv, targets_n);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
