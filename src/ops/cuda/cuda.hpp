#pragma once

#include "ops/ops.hpp"
#include "ops/reference.hpp"

// The float32 paths for a GPU: no atomics on floats, a fixed order of every sum, so that equal
// inputs give equal bits. Arguments have passed ops/checks.hpp. Products are cuBLAS', gate,
// dropout, rotation, RMSNorm, cross entropy, resolvent and AdamW are kernels of this folder;
// attention and LayerNorm are the library's.

namespace pg::ops {

#ifdef PG_CUDA

inline constexpr bool kHasGpuKernels = true;

namespace cuda {

/// In float32 from the product to the gradients: `type` is that of the factors.
at::Tensor linear_half(const at::Tensor& x, const at::Tensor& w,
                       const std::optional<at::Tensor>& bias, at::ScalarType type);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps);
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps);
at::Tensor dropout(const at::Tensor& x, const DropoutSite& site);
/// In the type that spec.precision names where the library has a kernel for it.
at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& k_bud, const at::Tensor& v_bud,
                     const AttentionSpec& spec);
at::Tensor gate(const at::Tensor& h, const GateSpec& spec);
at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec);
at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient);
at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing);
void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& settings);
void add_squares(const at::Tensor& values, ExactSum& sum);

}  // namespace cuda

#else

inline constexpr bool kHasGpuKernels = false;

namespace cuda = reference;  // built without kernels, a GPU takes ATen's

#endif

/// True where these functions apply, and there are any.
bool on_gpu(const at::Tensor& x);

}  // namespace pg::ops
