#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cross_entropy.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/error.hpp"
#include "ops/autograd.hpp"
#include "ops/bfloat16.hpp"
#include "ops/fast.hpp"
#include "ops/row_losses.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// A logit as it stands in memory: float, or bfloat16 as its bits.
HWY_INLINE float value_of(const float* logit) {
  return *logit;
}
HWY_INLINE float value_of(const std::uint16_t* logit) {
  return hn::GetLane(load(logit, 1));
}

/// Sum over rows of log(sum(exp(logits))) - (1 - e) logits[target] - e mean(logits), e the
/// smoothing. Of each row, max_n and inverse_n keep what gives the softmax back:
/// exp(logit - max) * inverse.
template <class T>
double forward_rows(const T* logits, std::int64_t stride, const std::int64_t* targets,
                    double smoothing, std::int64_t n, std::int64_t v, float* max_n,
                    float* inverse_n) {
  constexpr std::int64_t kBlock = 1024;  // columns summed in float before double takes over
  double loss = 0;
  for (std::int64_t row = 0; row < n; ++row, logits += stride) {
    Vec max = set(kLowest);
    for_each_vector(v, [&](std::int64_t i, std::int64_t count)
                           HWY_ATTR { max = hn::Max(max, load(logits + i, count, kLowest)); });
    max_n[row] = max_lane(max);
    const Vec shift = set(max_n[row]);
    double sum = 0;
    double rest = 0;  // the sum of all logit - max
    for (std::int64_t block = 0; block < v; block += kBlock) {
      const std::int64_t width = std::min(kBlock, v - block);
      Vec part = set(0.0F);
      for_each_vector(width, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
        part = hn::Add(part, exp(hn::Sub(load(logits + block + i, count, kLowest), shift)));
      });
      sum += static_cast<double>(sum_lanes(part));
      if (smoothing == 0) continue;
      part = set(0.0F);
      for_each_vector(width, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
        part = hn::Add(part, hn::Sub(load(logits + block + i, count, max_n[row]), shift));
      });
      rest += static_cast<double>(sum_lanes(part));
    }
    inverse_n[row] = static_cast<float>(1.0 / sum);
    const double of_target =
        static_cast<double>(max_n[row]) - static_cast<double>(value_of(logits + targets[row]));
    loss += std::log(sum) + (smoothing == 0 ? of_target
                                            : (1 - smoothing) * of_target -
                                                  smoothing / static_cast<double>(v) * rest);
  }
  return loss;
}

/// dlogits = (softmax - (1 - e) onehot - e / v) * dy, in rows as far apart as the logits'. May
/// overwrite the logits.
template <class T>
void backward_rows(const T* logits, std::int64_t stride, const std::int64_t* targets,
                   double smoothing, const float* max_n, const float* inverse_n, float dy,
                   std::int64_t n, std::int64_t v, T* dlogits) {
  const float of_all = static_cast<float>(smoothing / static_cast<double>(v)) * dy;
  const float of_target = static_cast<float>(1 - smoothing) * dy;
  for (std::int64_t row = 0; row < n; ++row, logits += stride, dlogits += stride) {
    const Vec shift = set(max_n[row]);
    const Vec factor = set(inverse_n[row] * dy);
    const auto gradient = [&](Vec logit) HWY_ATTR {
      return hn::Sub(hn::Mul(exp(hn::Sub(logit, shift)), factor), set(of_all));
    };
    const float logit_of_target = value_of(logits + targets[row]);
    for_each_vector(v, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(gradient(load(logits + i, count)), dlogits + i, count);
    });
    if constexpr (std::is_same_v<T, float>) {
      dlogits[targets[row]] -= of_target;
    } else {  // rounded once
      const Vec whole = hn::Sub(gradient(set(logit_of_target)), set(of_target));
      store(whole, dlogits + targets[row], 1);
    }
  }
}

double cross_entropy_forward(const float* logits, std::int64_t stride, const std::int64_t* targets,
                             double smoothing, std::int64_t n, std::int64_t v, float* max_n,
                             float* inverse_n) {
  return forward_rows(logits, stride, targets, smoothing, n, v, max_n, inverse_n);
}

double cross_entropy_forward_bfloat16(const std::uint16_t* logits, std::int64_t stride,
                                      const std::int64_t* targets, double smoothing, std::int64_t n,
                                      std::int64_t v, float* max_n, float* inverse_n) {
  return forward_rows(logits, stride, targets, smoothing, n, v, max_n, inverse_n);
}

void cross_entropy_backward(const float* logits, std::int64_t stride, const std::int64_t* targets,
                            double smoothing, const float* max_n, const float* inverse_n, float dy,
                            std::int64_t n, std::int64_t v, float* dlogits) {
  backward_rows(logits, stride, targets, smoothing, max_n, inverse_n, dy, n, v, dlogits);
}

void cross_entropy_backward_bfloat16(const std::uint16_t* logits, std::int64_t stride,
                                     const std::int64_t* targets, double smoothing,
                                     const float* max_n, const float* inverse_n, float dy,
                                     std::int64_t n, std::int64_t v, std::uint16_t* dlogits) {
  backward_rows(logits, stride, targets, smoothing, max_n, inverse_n, dy, n, v, dlogits);
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {

HWY_EXPORT(cross_entropy_forward);
HWY_EXPORT(cross_entropy_forward_bfloat16);
HWY_EXPORT(cross_entropy_backward);
HWY_EXPORT(cross_entropy_backward_bfloat16);

RowLosses::RowLosses(const at::Tensor& logits_nv, const at::Tensor& targets_n, double smoothing)
    : max_n_(at::empty({logits_nv.size(0)}, at::kFloat)),
      inverse_n_(at::empty({logits_nv.size(0)}, at::kFloat)) {
  const auto* targets = targets_n.data_ptr<std::int64_t>();
  const auto n = logits_nv.size(0);
  const auto v = logits_nv.size(1);
  const auto stride = logits_nv.stride(0);
  auto* max_n = max_n_.data_ptr<float>();
  auto* inverse_n = inverse_n_.data_ptr<float>();
  sum_ = logits_nv.scalar_type() == at::kFloat
             ? HWY_DYNAMIC_DISPATCH(cross_entropy_forward)(
                   logits_nv.data_ptr<float>(), stride, targets, smoothing, n, v, max_n, inverse_n)
             : HWY_DYNAMIC_DISPATCH(cross_entropy_forward_bfloat16)(
                   bits(logits_nv), stride, targets, smoothing, n, v, max_n, inverse_n);
}

void RowLosses::gradient(const at::Tensor& logits_nv, const at::Tensor& targets_n, double smoothing,
                         float dy, const at::Tensor& dlogits_nv) const {
  require(dlogits_nv.stride(0) == logits_nv.stride(0), "logits and their gradient laid out alike");
  const auto* targets = targets_n.data_ptr<std::int64_t>();
  const auto n = logits_nv.size(0);
  const auto v = logits_nv.size(1);
  const auto stride = logits_nv.stride(0);
  const auto* max_n = max_n_.data_ptr<float>();
  const auto* inverse_n = inverse_n_.data_ptr<float>();
  if (logits_nv.scalar_type() == at::kFloat) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_backward)
    (logits_nv.data_ptr<float>(), stride, targets, smoothing, max_n, inverse_n, dy, n, v,
     dlogits_nv.data_ptr<float>());
  } else {
    HWY_DYNAMIC_DISPATCH(cross_entropy_backward_bfloat16)
    (bits(logits_nv), stride, targets, smoothing, max_n, inverse_n, dy, n, v, bits(dlogits_nv));
  }
}

namespace {

struct CrossEntropyFunction : torch::autograd::Function<CrossEntropyFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& logits_input,
                            const at::Tensor& targets_input, double smoothing) {
    const at::Tensor logits_nv = logits_input.contiguous();
    const at::Tensor targets_n = targets_input.contiguous();
    const RowLosses losses(logits_nv, targets_n, smoothing);
    context->save_for_backward({logits_nv, targets_n, losses.max_n(), losses.inverse_n()});
    context->saved_data["smoothing"] = smoothing;
    return at::scalar_tensor(losses.sum(), at::kDouble);
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor dlogits_nv = at::empty_like(saved[0]);
    RowLosses(saved[2], saved[3])
        .gradient(saved[0], saved[1], context->saved_data["smoothing"].toDouble(),
                  static_cast<float>(gradients[0].item<double>()), dlogits_nv);
    return {dlogits_nv, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing) {
  return CrossEntropyFunction::apply(logits_nv, targets_n, smoothing);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
