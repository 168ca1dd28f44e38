#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/optimizer.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <cmath>

#include "base/error.hpp"
#include "ops/bfloat16.hpp"
#include "ops/checks.hpp"
#include "ops/fast.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// Plain additions and multiplications, none of them fused, so that every instruction set gives the
/// same bits. Constants that torch computes in double are rounded to float once, as there.
void adamw(float* parameter, float* moment1, float* moment2, const float* gradient, double scale,
           double step, const AdamWSettings& s, std::int64_t n) {
  const auto rounded = [](double value) HWY_ATTR { return set(static_cast<float>(value)); };
  const Vec gradient_scale = rounded(scale);
  const Vec decay = rounded(1 - s.lr * s.weight_decay);
  const Vec beta1 = rounded(s.beta1);
  const Vec rest1 = rounded(1 - s.beta1);
  const Vec beta2 = rounded(s.beta2);
  const Vec rest2 = rounded(1 - s.beta2);
  const Vec rate = rounded(s.lr / (1 - std::pow(s.beta1, step)));
  const Vec root_correction2 = rounded(std::sqrt(1 - std::pow(s.beta2, step)));
  const Vec eps = rounded(s.eps);
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const Vec g = hn::Mul(load(gradient + i, count), gradient_scale);
    const Vec m = hn::Add(hn::Mul(load(moment1 + i, count), beta1), hn::Mul(g, rest1));
    const Vec v = hn::Add(hn::Mul(load(moment2 + i, count), beta2), hn::Mul(hn::Mul(g, g), rest2));
    const Vec denominator = hn::Add(hn::Div(hn::Sqrt(v), root_correction2), eps);
    const Vec p = hn::Mul(load(parameter + i, count), decay);
    store(m, moment1 + i, count);
    store(v, moment2 + i, count);
    store(hn::Sub(p, hn::Div(hn::Mul(rate, m), denominator)), parameter + i, count);
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
    reference::adamw_step(parameter, moment1, moment2, gradient, scale, step, settings);
    return;
  }
  HWY_DYNAMIC_DISPATCH(adamw)
  (parameter.data_ptr<float>(), moment1.data_ptr<float>(), moment2.data_ptr<float>(),
   gradient.data_ptr<float>(), scale, static_cast<double>(step), settings, length);
}

std::string instruction_set() {
  const std::string vectors = HWY_DYNAMIC_DISPATCH(target_name)();
  const char* products = bfloat16_instructions();
  return products == nullptr ? vectors : vectors + " + " + products;
}

}  // namespace pg::ops
#endif  // HWY_ONCE
