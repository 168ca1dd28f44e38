#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/optimizer.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include "base/error.hpp"
#include "ops/bfloat16.hpp"
#include "ops/checks.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/fast.hpp"
#include "ops/ops.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

void adamw(float* parameter, float* moment1, float* moment2, const float* gradient,
           const AdamWConstants& constants, std::int64_t n) {
  const AdamW update(constants);
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const Moments updated =
        update({load(parameter + i, count), load(moment1 + i, count), load(moment2 + i, count)},
               load(gradient + i, count));
    store(updated.first, moment1 + i, count);
    store(updated.second, moment2 + i, count);
    store(updated.parameter, parameter + i, count);
  });
}

const char* target_name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops {

HWY_EXPORT(adamw);
HWY_EXPORT(target_name);

void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& settings) {
  const char* op = "adamw_step";
  checks::flat(op, "parameter", parameter, -1);
  const auto length = parameter.size(0);
  checks::flat(op, "moment1", moment1, length);
  checks::flat(op, "moment2", moment2, length);
  checks::flat(op, "gradient", gradient, length);
  require(step >= 1, "adamw_step counts steps from 1");
  if (!fast::applies(parameter)) {
    const auto step_there = parameter.is_cuda() ? cuda::adamw_step : reference::adamw_step;
    step_there(parameter, moment1, moment2, gradient, scale, step, settings);
    return;
  }
  HWY_DYNAMIC_DISPATCH(adamw)
  (parameter.data_ptr<float>(), moment1.data_ptr<float>(), moment2.data_ptr<float>(),
   gradient.data_ptr<float>(), adamw_constants(settings, scale, static_cast<double>(step)), length);
}

std::string instruction_set() {
  const std::string vectors = HWY_DYNAMIC_DISPATCH(target_name)();
  const char* products = bfloat16_instructions();
  return products == nullptr ? vectors : vectors + " + " + products;
}

}  // namespace pg::ops
#endif  // HWY_ONCE
