#pragma once

#include <array>

#include "ops/ops.hpp"

// The same operators in plain ATen calls, differentiable by autograd, for any type and device: the
// definition that the fast paths are tested against.

namespace pg::ops::reference {

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias);
/// In the half precision `type`, y in x's.
at::Tensor linear_half(const at::Tensor& x, const at::Tensor& w,
                       const std::optional<at::Tensor>& bias, at::ScalarType type);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps);
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps);
at::Tensor dropout(const at::Tensor& x, const DropoutSite& site);
at::Tensor attention(const at::Tensor& qkv, const AttentionSpec& spec);
at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec);
/// The same of q (b, t, n_heads d_head), k and v (b, u, n_kv_heads d_head).
at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& k_bud, const at::Tensor& v_bud,
                     const AttentionSpec& spec);
/// q, k and v where they stand side by side, as views.
std::array<at::Tensor, 3> split_heads(const at::Tensor& qkv, const AttentionSpec& spec);
at::Tensor attention_probabilities(const at::Tensor& q_btd, const at::Tensor& k_bud,
                                   const AttentionSpec& spec);
/// (b, u, n_kv_heads d_head) -> (b, u, d): each head of k or v once for every head of q that it
/// serves.
at::Tensor repeat_heads(const at::Tensor& x_bud, std::int64_t d, std::int64_t d_head);
at::Tensor gate(const at::Tensor& h, const GateSpec& spec);
at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec);
at::Tensor blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                 const at::Tensor& alpha);
at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient);
at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing);
void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& settings);
void add_squares(const at::Tensor& values, ExactSum& sum);

}  // namespace pg::ops::reference
