#pragma once

#include "ops/bfloat16.hpp"
#include "ops/ops.hpp"

// The float32 paths for the CPU: one thread, no atomics, a fixed order of every sum, so that equal
// inputs give equal bits. Arguments have passed ops/checks.hpp. Matrix products are oneDNN's, the
// resolvent is a plain loop, everything else is Highway, chosen at run time for the processor.

namespace pg::ops::fast {

/// True where these functions apply: dense float32 on the CPU.
inline bool applies(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.layout() == at::kStrided;
}

/// True where products of x with the weights w (n_out, n_in), of float32 or bfloat16, can be taken
/// in bfloat16 itself.
inline bool bfloat16_applies(const at::Tensor& x, const at::Tensor& w_oi) {
  const bool rounded = w_oi.is_cpu() && w_oi.scalar_type() == at::kBFloat16;
  return applies(x) && (rounded || applies(w_oi)) && w_oi.size(1) > 0 &&
         bfloat16_instructions() != nullptr;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias);
/// linear() in Precision::bfloat16, where bfloat16_applies().
at::Tensor linear_bfloat16(const at::Tensor& x, const at::Tensor& w,
                           const std::optional<at::Tensor>& bias);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps);
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps);
at::Tensor dropout(const at::Tensor& x, const DropoutSite& site);
at::Tensor attention(const at::Tensor& qkv, const AttentionSpec& spec);
at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec);
at::Tensor gate(const at::Tensor& h, const GateSpec& spec);
at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec);
at::Tensor blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                 const at::Tensor& alpha);
at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient);
at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing);

}  // namespace pg::ops::fast
