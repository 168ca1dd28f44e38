#include "ops/ops.hpp"

#include <cmath>
#include <string>

#include "base/error.hpp"
#include "ops/checks.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/fast.hpp"
#include "ops/plain_operators.hpp"
#include "ops/reference.hpp"

namespace pg::ops {

bool on_gpu(const at::Tensor& x) {
  return kHasGpuKernels && x.is_cuda() && x.scalar_type() == at::kFloat &&
         x.layout() == at::kStrided;
}

namespace {

/// The implementation of an operator that x calls for.
template <class F>
F* choose(const char* name, const at::Tensor& x, F* cpu, F* gpu, F* plain) {
  if (fast::applies(x)) return cpu;
  if (on_gpu(x)) return gpu;
  count_plain(name);
  return plain;
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias) {
  checks::linear(x, w, bias);
  if (fast::applies(x)) return fast::linear(x, w, bias);
  if (x.is_cpu()) count_plain("linear");  // a GPU's library is fast
  return reference::linear(x, w, bias);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias,
                  Precision precision) {
  if (precision == Precision::float32) return ops::linear(x, w, bias);
  checks::linear(x, w, bias, precision);
  const at::ScalarType type = scalar_type(precision);
  if (on_gpu(x)) return cuda::linear_half(x, w, bias, type);
  if (!x.is_cpu()) return reference::linear_half(x, w, bias, type);
  if (precision == Precision::bfloat16 && fast::bfloat16_applies(x, w)) {
    return fast::linear_bfloat16(x, w, bias);
  }
  count_plain("linear");
  // A product of two rounded factors is exact in float32, so this is the sum in float32.
  const auto rounded = [&](const at::Tensor& a) { return a.to(type).to(x.scalar_type()); };
  const at::Tensor y = ops::linear(stand_in(x, rounded(x.detach())), rounded(w), bias);
  return stand_in(y.to(type), y.detach());  // y, whose gradient is rounded
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  checks::rms_norm(x, scale, eps);
  return choose("rms_norm", x, fast::rms_norm, cuda::rms_norm, reference::rms_norm)(x, scale, eps);
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps) {
  checks::layer_norm(x, scale, bias, eps);
  return choose("layer_norm", x, fast::layer_norm, cuda::layer_norm, reference::layer_norm)(
      x, scale, bias, eps);
}

at::Tensor dropout(const at::Tensor& x, const DropoutSite& site) {
  checks::dropout(x, site);
  if (site.p == 0) return x;
  return choose("dropout", x, fast::dropout, cuda::dropout, reference::dropout)(x, site);
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
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d_head));
    for (std::int64_t position = 0; position < sequence_length; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      cos_data[position * half + i] = std::cos(angle);
      sin_data[position * half + i] = std::sin(angle);
    }
  }
  return {cos.to(type), sin.to(type)};
}

at::Tensor attention(const at::Tensor& qkv, const AttentionSpec& spec) {
  checks::attention(qkv, spec);
  if (fast::applies(qkv)) return fast::attention(qkv, spec);
  if (!on_gpu(qkv)) count_plain("attention");
  const auto [q, k, v] = reference::split_heads(qkv, spec);
  return on_gpu(qkv) ? cuda::attention(q, k, v, spec) : reference::attention(q, k, v, spec);
}

at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec) {
  checks::attention(q_btd, kv, spec);
  if (fast::applies(q_btd)) return fast::attention(q_btd, kv, spec);
  if (!on_gpu(q_btd)) count_plain("attention");
  const auto halves = kv.chunk(2, 2);
  return on_gpu(q_btd) ? cuda::attention(q_btd, halves[0], halves[1], spec)
                       : reference::attention(q_btd, halves[0], halves[1], spec);
}

at::Tensor attention_probabilities(const at::Tensor& q_btd, const at::Tensor& k_bud,
                                   const AttentionSpec& spec) {
  checks::attention_probabilities(q_btd, k_bud, spec);
  return reference::attention_probabilities(q_btd, k_bud, spec);
}

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  checks::gate(h);
  using SelfGate = at::Tensor(const at::Tensor&, const GateSpec&);
  return choose<SelfGate>("gate", h, fast::gate, cuda::gate, reference::gate)(h, spec);
}

at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec) {
  checks::gate(x, h);
  using LinearUnit = at::Tensor(const at::Tensor&, const at::Tensor&, const GateSpec&);
  return choose<LinearUnit>("gate", h, fast::gate, cuda::gate, reference::gate)(x, h, spec);
}

at::Tensor blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                 const at::Tensor& alpha) {
  checks::blend(x, g, b, alpha);
  if (fast::applies(x)) return fast::blend(x, g, b, alpha);
  count_plain("blend");
  return reference::blend(x, g, b, alpha);
}

at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient) {
  checks::resolvent(v_bt, causal, gradient);
  return choose("resolvent", v_bt, fast::resolvent, cuda::resolvent, reference::resolvent)(
      v_bt, causal, gradient);
}

at::Tensor gate_function(const at::Tensor& h, GateFunction f) {
  return gate(at::ones_like(h), h, GateSpec::activation(f));
}

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing) {
  checks::cross_entropy_sum(logits_nv, targets_n);
  return choose("cross_entropy", logits_nv, fast::cross_entropy_sum, cuda::cross_entropy_sum,
                reference::cross_entropy_sum)(logits_nv, targets_n, smoothing);
}

}  // namespace pg::ops
