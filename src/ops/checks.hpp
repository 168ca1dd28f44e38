#pragma once

#include "ops/ops.hpp"

// What every operator demands of its arguments, whichever path computes it. Each function throws
// InternalError that names the operator, the shapes found and the shapes expected: a mistake here
// is the caller's code, not the user's input.

namespace pg::ops::checks {

/// w may be of the type of `precision` too.
void linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias,
            Precision precision = Precision::float32);
void rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps);
void layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias, double eps);
void dropout(const at::Tensor& x, const DropoutSite& site);
void attention(const at::Tensor& qkv, const AttentionSpec& spec);
void attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec);
void attention_probabilities(const at::Tensor& q_btd, const at::Tensor& k_bud,
                             const AttentionSpec& spec);
void gate(const at::Tensor& h);
void gate(const at::Tensor& x, const at::Tensor& h);
void blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b, const at::Tensor& alpha);
void resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient);
void cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n);
void linear_cross_entropy_sum(const at::Tensor& x_nd, const at::Tensor& w_vd,
                              const std::optional<at::Tensor>& bias_v, const at::Tensor& targets_n);
/// A contiguous one-dimensional float32 tensor on the CPU, of length `length` if that is not -1.
void flat(const char* op, const char* name, const at::Tensor& flat, std::int64_t length);

}  // namespace pg::ops::checks
