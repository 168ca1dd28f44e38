#pragma once

#include <cstdint>

#include "ops/adamw.hpp"
#include "ops/dropout_stream.hpp"
#include "ops/gate_spec.hpp"

struct CUstream_st;

// Starts of kernels, over contiguous float32 (or what the type says) in the memory of one GPU: each
// returns at once, having put its work on the stream. The current device must be the stream's. No
// atomics but on integers, and sums in one fixed order, so that equal inputs give equal bits. Where
// a kernel cannot start they throw InternalError. The functions that have a CPU kernel of the same
// formula are described there: ops/functions.hpp.

namespace pg::ops::cuda::kernels {

using Stream = CUstream_st*;  ///< cudaStream_t, for those who do not include CUDA's headers

/// x is null in a self-gate.
void gate(const GateSpec& spec, const float* x, const float* h, float* y, std::int64_t n,
          Stream stream);
void gate_gradient(const GateSpec& spec, const float* x, const float* h, const float* dy, float* dx,
                   float* dh, std::int64_t n, Stream stream);

void drop(const DropoutStream& dropout, std::uint64_t first, const float* x, std::int64_t n,
          float* y, Stream stream);

/// Rows of heads of 2 half features, n_rows of them, `row_stride` floats apart; the position of row
/// i is i % t.
struct Rows {
  std::int64_t n_rows, t, n_heads, half, row_stride;
};
/// Rotates the pairs (i, i + half) of every head by the angle of its position (cos and sin (t,
/// half)) into contiguous rows; `direction` -1 rotates back.
void rotate(const Rows& rows, const float* x, const float* cos, const float* sin, float direction,
            float* y, Stream stream);

void adamw(const AdamWConstants& constants, const float* gradient, std::int64_t n, float* parameter,
           float* moment1, float* moment2, Stream stream);

/// What the exponent of a float can be, as it is stored.
constexpr int kExponents = 256;
/// Adds to sums (kExponents, 2), for the floats of each exponent, the squares of their mantissas,
/// as whole numbers of 24 bits: what is below 2^32, and above. Of the last exponent it counts
/// infinities, and NaNs.
void mantissa_squares(const float* x, std::int64_t n, unsigned long long* sums, Stream stream);

void rms_norm(const float* x, const float* scale, double eps, std::int64_t n, std::int64_t d,
              float* y, float* r_n, Stream stream);
/// The rows that dscale_partial sums in float.
constexpr std::int64_t kRowBlock = 64;
/// dx, and of each block of rows what it adds to dscale: dscale_partial (ceil(n / kRowBlock), d).
void rms_norm_gradient(const float* x, const float* scale, const float* r_n, const float* dy,
                       std::int64_t n, std::int64_t d, float* dx, float* dscale_partial,
                       Stream stream);

/// n rows of v logits, `stride` elements apart.
struct Logits {
  std::int64_t n, v, stride;
};
/// Of each row log(sum(exp(logits))) - (1 - e) logits[target] - e mean(logits), e the smoothing,
/// and what gives its softmax back: exp(logit - max) * inverse.
void row_losses(const Logits& rows, const float* logits, const std::int64_t* targets,
                double smoothing, double* loss_n, float* max_n, float* inverse_n, Stream stream);
/// dlogits = (softmax - (1 - e) onehot - e / v) * dy, where dy stands in the GPU's memory, null: 1.
/// dlogits may be the logits themselves.
void row_loss_gradient(const Logits& rows, const float* logits, const std::int64_t* targets,
                       double smoothing, const float* max_n, const float* inverse_n,
                       const double* dy, float* dlogits, Stream stream);
/// The same for a dy of 1, rounded to the nearest bfloat16; between the rows it writes zeros.
void row_loss_gradient_bfloat16(const Logits& rows, const float* logits,
                                const std::int64_t* targets, double smoothing, const float* max_n,
                                const float* inverse_n, std::uint16_t* dlogits, Stream stream);

/// b sequences of t places; right may be null.
void m_functions(const float* v, std::int64_t b, std::int64_t t, float* left, float* right,
                 Stream stream);
void diagonal(const float* v, const float* left, const float* right, std::int64_t b, std::int64_t t,
              float* g, Stream stream);
void causal_gradient(const float* left, const float* d, std::int64_t b, std::int64_t t, float* dv,
                     Stream stream);
void bidirectional_gradient(const float* left, const float* right, const float* g, const float* d,
                            std::int64_t b, std::int64_t t, float* dv, Stream stream);
void upstream_hybrid_gradient(const float* g, const float* d, std::int64_t n, float* dv,
                              Stream stream);

}  // namespace pg::ops::cuda::kernels
