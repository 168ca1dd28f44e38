#pragma once

#include <cstdint>

#include "ops/dropout.hpp"
#include "ops/sgemm.hpp"

// Attention of one head of keys and values of one sequence, and of the heads of queries that share
// it, in float32: what fast::attention calls for each of them.

namespace pg::ops {

struct AttentionShape {
  std::int64_t t;        ///< queries
  std::int64_t u;        ///< keys, at least 1; t where causal
  std::int64_t d_head;   ///< at least 1
  std::int64_t n_heads;  ///< of queries
  bool causal = false;   ///< query i sees the keys 0..i only
  float scale = 1;       ///< of the scores
};

/// Dropout of the probabilities (n_heads, t, u) of a group; none where there is no stream.
struct AttentionDropout {
  const DropoutStream* stream = nullptr;
  std::uint64_t first = 0;  ///< the element that is the group's first
};

/// What a group reads; nothing here is owned.
struct HeadGroup {
  MatrixView q;      ///< (t, n_heads d_head)
  MatrixView k, v;   ///< (u, d_head)
  const float* cos;  ///< (t and u or more, d_head / 2), or null: q and k are not rotated
  const float* sin;
  const float* bias;  ///< (n_heads, t, u), or null
  AttentionDropout dropout;
};

/// Of each query of each head, (n_heads, t): the largest score times log2(e), and
/// 1 / sum(exp(score - largest)).
struct AttentionStatistics {
  float* max;
  float* inverse;
};

struct HeadGroupGradient {
  MatrixTarget dq, dk, dv;  ///< of the shapes of q, k and v
  float* dbias;             ///< (n_heads, t, u), is added to; null where nobody wants it
};

/// Floats that the functions below need beside.
std::int64_t attention_workspace(const AttentionShape& shape);
std::int64_t attention_backward_workspace(const AttentionShape& shape);

/// out (t, n_heads d_head) = softmax(scale q k^T + bias) v.
void attend(const AttentionShape& shape, const HeadGroup& group, float* workspace,
            const AttentionStatistics& statistics, const MatrixTarget& out);

/// The gradients, from out and dout (t, n_heads d_head).
void attend_backward(const AttentionShape& shape, const HeadGroup& group, float* workspace,
                     const AttentionStatistics& statistics, const MatrixView& out,
                     const MatrixView& dout, const HeadGroupGradient& gradient);

}  // namespace pg::ops
