#include "ops/reference.hpp"

#include <cmath>
#include <limits>
#include <numbers>

namespace pg::ops::reference {
namespace {

at::Tensor phi(const at::Tensor& h) {
  return 0.5 * (1.0 + at::erf(h * (1.0 / std::numbers::sqrt2)));
}

/// Rotates the pairs (i, i + d_head/2) of x (b, heads, t, d_head).
at::Tensor rotate(const at::Tensor& x_bhtk, const Rope& rope) {
  const auto t = x_bhtk.size(2);
  const at::Tensor cos = rope.cos.narrow(0, 0, t);
  const at::Tensor sin = rope.sin.narrow(0, 0, t);
  const auto halves = x_bhtk.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w) {
  return at::matmul(x, w.t());
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  return x * at::rsqrt(at::mean(x * x, -1, true) + eps) * scale;
}

at::Tensor attention(const at::Tensor& qkv_bt3d, std::int64_t n_heads, bool causal,
                     const std::optional<Rope>& rope) {
  const auto b = qkv_bt3d.size(0);
  const auto t = qkv_bt3d.size(1);
  const auto d = qkv_bt3d.size(2) / 3;
  const auto heads = qkv_bt3d.reshape({b, t, 3, n_heads, d / n_heads}).permute({2, 0, 3, 1, 4});
  at::Tensor q_bhtk = heads[0];
  at::Tensor k_bhtk = heads[1];
  if (rope) {
    q_bhtk = rotate(q_bhtk, *rope);
    k_bhtk = rotate(k_bhtk, *rope);
  }
  const double temperature = 1.0 / std::sqrt(static_cast<double>(d / n_heads));
  at::Tensor scores_bhtt = at::matmul(q_bhtk, k_bhtk.transpose(-2, -1)) * temperature;
  if (causal) {
    const at::Tensor future = at::ones({t, t}, qkv_bt3d.options().dtype(at::kBool)).triu(1);
    scores_bhtt = scores_bhtt.masked_fill(future, -std::numeric_limits<double>::infinity());
  }
  const at::Tensor mixed_bhtk = at::matmul(at::softmax(scores_bhtt, -1), heads[2]);
  return mixed_bhtk.transpose(1, 2).reshape({b, t, d});
}

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  const bool anchored = spec.form == GateForm::anchored;
  if (spec.unit == GateUnit::gelu || (anchored && spec.alpha == 0)) return h * phi(h);
  at::Tensor g;
  switch (spec.unit) {
    case GateUnit::paglu:
    case GateUnit::pasilu: g = at::sigmoid(h); break;
    case GateUnit::pagelu: g = h * phi(h); break;
    default: g = at::relu(h); break;
  }
  const double rest = 1.0 - spec.alpha;
  if (anchored) return h * (spec.alpha * g + rest * phi(h));
  if (spec.unit == GateUnit::pasilu) return h * (spec.alpha * g + rest * h);
  return h * (spec.alpha * g + rest);
}

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n) {
  const at::Tensor log_p_nv = at::log_softmax(logits_nv, -1, at::kDouble);
  return -log_p_nv.gather(1, targets_n.unsqueeze(1)).sum();
}

}  // namespace pg::ops::reference
