#include "ops/ops.hpp"

#include <cmath>
#include <string>

#include "base/error.hpp"
#include "ops/checks.hpp"
#include "ops/reference.hpp"

namespace pg::ops {

at::Tensor linear(const at::Tensor& x, const at::Tensor& w) {
  checks::linear(x, w);
  return reference::linear(x, w);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  checks::rms_norm(x, scale, eps);
  return reference::rms_norm(x, scale, eps);
}

Rope make_rope(std::int64_t sequence_length, std::int64_t d_head, double theta,
               at::ScalarType type) {
  if (sequence_length < 0 || d_head < 2 || d_head % 2 != 0 || !(theta > 0)) {
    throw InternalError({"make_rope was called with sequence length " +
                             std::to_string(sequence_length) + ", head size " +
                             std::to_string(d_head) + ", theta " + std::to_string(theta),
                         "a length >= 0, an even head size >= 2, theta > 0",
                         "an even number of features per attention head"});
  }
  const std::int64_t half = d_head / 2;
  at::Tensor cos = at::empty({sequence_length, half}, at::kDouble);
  at::Tensor sin = at::empty({sequence_length, half}, at::kDouble);
  auto* cos_data = cos.data_ptr<double>();
  auto* sin_data = sin.data_ptr<double>();
  for (std::int64_t position = 0; position < sequence_length; ++position) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency =
          std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d_head));
      const double angle = static_cast<double>(position) * frequency;
      cos_data[position * half + i] = std::cos(angle);
      sin_data[position * half + i] = std::sin(angle);
    }
  }
  return {cos.to(type), sin.to(type)};
}

at::Tensor attention(const at::Tensor& qkv_bt3d, std::int64_t n_heads, bool causal,
                     const std::optional<Rope>& rope) {
  checks::attention(qkv_bt3d, n_heads, rope);
  return reference::attention(qkv_bt3d, n_heads, causal, rope);
}

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  checks::gate(h);
  return reference::gate(h, spec);
}

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n) {
  checks::cross_entropy_sum(logits_nv, targets_n);
  return reference::cross_entropy_sum(logits_nv, targets_n);
}

double norm(const at::Tensor& flat) {
  checks::flat("norm", "flat", flat, -1);
  const float* x = flat.data_ptr<float>();
  double sum = 0;
  for (std::int64_t i = 0; i < flat.size(0); ++i) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return std::sqrt(sum);
}

void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& settings) {
  checks::flat("adamw_step", "parameter", parameter, -1);
  const auto length = parameter.size(0);
  checks::flat("adamw_step", "moment1", moment1, length);
  checks::flat("adamw_step", "moment2", moment2, length);
  checks::flat("adamw_step", "gradient", gradient, length);
  require(step >= 1, "adamw_step counts steps from 1");
  const auto& s = settings;
  auto* p = parameter.data_ptr<float>();
  auto* m = moment1.data_ptr<float>();
  auto* v = moment2.data_ptr<float>();
  const auto* g = gradient.data_ptr<float>();
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(step));
  const auto decay = static_cast<float>(1 - s.lr * s.weight_decay);
  const auto rate = static_cast<float>(s.lr / correction1);
  const auto root = static_cast<float>(1 / std::sqrt(correction2));
  const auto beta1 = static_cast<float>(s.beta1);
  const auto beta2 = static_cast<float>(s.beta2);
  for (std::int64_t i = 0; i < length; ++i) {
    const float grad = g[i] * static_cast<float>(scale);
    m[i] = beta1 * m[i] + (1 - beta1) * grad;
    v[i] = beta2 * v[i] + (1 - beta2) * grad * grad;
    const float denominator = std::sqrt(v[i]) * root + static_cast<float>(s.eps);
    p[i] = p[i] * decay - rate * m[i] / denominator;
  }
}

const char* instruction_set() {
  return "portable";
}

}  // namespace pg::ops
