// ops: differentiable operators. Each takes a fast path for float32 tensors on the CPU
// (ops/fast.hpp) or, where it was built (PG_CUDA), on a GPU (ops/cuda), and a plain ATen
// implementation (ops/reference.hpp) for every other type and device. May know base only.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/exact_sum.hpp"
#include "ops/gate_spec.hpp"

namespace pg::ops {

/// y = x W^T + bias.  x (..., n_in), w (n_out, n_in), bias (n_out) or none -> (..., n_out).
at::Tensor linear(const at::Tensor& x, const at::Tensor& w,
                  const std::optional<at::Tensor>& bias = std::nullopt);

enum class Precision { float32, bfloat16, float16 };

inline at::ScalarType scalar_type(Precision precision) {
  switch (precision) {
    case Precision::float32: return at::kFloat;
    case Precision::bfloat16: return at::kBFloat16;
    case Precision::float16: return at::kHalf;
  }
  return at::kFloat;
}

/// The same with x, w and the gradient of y rounded to `precision`, and sums in float32: what
/// automatic mixed precision computes, where y and the gradients are those sums, not rounded again,
/// but for the gradient of w: on a CPU always, on a GPU if w is rounded. float32 is linear()
/// itself, whatever the tensors' type. w may be rounded already: of the type of `precision`, as its
/// gradient is then.
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias,
                  Precision precision);

/// Takes the place of x in a graph where its values are wanted in another type: `rounded` itself,
/// of x's shape, whose gradient goes on to x in x's type. The values of x are not read. `rounded`
/// has no graph, and what is written to it later is seen.
at::Tensor stand_in(const at::Tensor& x, const at::Tensor& rounded);

/// y = x / sqrt(mean(x^2, last) + eps) * scale.  x (..., d), scale (d).
/// Zhang & Sennrich, "Root mean square layer normalization", 2019.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps);

/// y = (x - mean(x)) / sqrt(var(x) + eps) * scale + bias over the last dimension, the variance with
/// 1 / d.  x (..., d), scale (d), bias (d).  Ba et al., "Layer normalization", 2016.
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps);

/// Which elements a dropout zeroes. Element e of site s is kept iff word e % 4 of the Philox block
/// s 2^44 + e / 4 of the stream (seed, dropout, step) is at least p 2^32, and is then divided by
/// 1 - p: a pure function, equal on every machine, forward and backward. `e` counts from the first
/// sequence of the whole batch, of which the tensor may be a piece.
struct DropoutSite {
  double p = 0;  ///< in [0, 1)
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint64_t site = 0;       ///< names a place in the network; below 2^20
  std::int64_t first_slot = 0;  ///< place in the batch of the tensor's first sequence
};

/// Dropout of x (b, ...), b sequences; the elements of a sequence are counted in row-major order.
/// Srivastava et al., "Dropout", 2014. With p = 0 it returns x.
at::Tensor dropout(const at::Tensor& x, const DropoutSite& site);

/// Tables of rotary positions: cos and sin of position * theta^(-2i/d_head), each (t, d_head/2).
/// Su et al., "RoFormer", 2021; pairs are (i, i + d_head/2), as in GPT-NeoX and LLaMA in HF layout.
struct Rope {
  at::Tensor cos;
  at::Tensor sin;
};
Rope make_rope(std::int64_t sequence_length, std::int64_t d_head, double theta,
               at::ScalarType type);

/// How one sequence attends to another, or to itself.
struct AttentionSpec {
  std::int64_t n_heads = 1;
  std::int64_t n_kv_heads = 0;       ///< divides n_heads; 0: as many
  bool causal = false;               ///< position i sees 0..i only
  std::optional<double> scale = {};  ///< of the scores; none: 1 / sqrt(d_head). T5 has 1
  std::optional<Rope> rope = {};     ///< rotates q and k; at least as long as both
  at::Tensor bias_htu = {};          ///< added to the scores (n_heads, t, u), or undefined
  DropoutSite dropout = {};          ///< of the probabilities, as of a tensor (b, n_heads, t, u)
  /// What q, k, v and the probabilities may be rounded to on a GPU, whose fastest kernels take half
  /// precision only; sums are in float32. Elsewhere, and with dropout, nothing is rounded.
  Precision precision = Precision::float32;

  [[nodiscard]] std::int64_t kv_heads() const { return n_kv_heads == 0 ? n_heads : n_kv_heads; }
  [[nodiscard]] double scale_of(std::int64_t d_head) const {
    return scale ? *scale : 1 / std::sqrt(static_cast<double>(d_head));
  }
};

/// softmax(scale q k^T + bias) v of each sequence with itself, all heads. qkv (b, t, (n_heads +
/// 2 n_kv_heads) d_head): q, k and v side by side, heads contiguous inside each. Each head of k and
/// v serves a run of heads of q (Ainslie et al., "GQA", 2023) -> (b, t, n_heads d_head).
at::Tensor attention(const at::Tensor& qkv, const AttentionSpec& spec);

/// The same with another sequence's k and v: q (b, t, n_heads d_head), kv (b, u, 2 n_kv_heads
/// d_head), k and v side by side -> (b, t, n_heads d_head).
at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec);

/// The softmax of that attention, (b, n_heads, t, u), without dropout: for looking at. k (b, u,
/// n_kv_heads d_head).
at::Tensor attention_probabilities(const at::Tensor& q_btd, const at::Tensor& k_bud,
                                   const AttentionSpec& spec);

/// The gate of `spec`, elementwise: h [alpha g(h) + (1 - alpha) b(h)].
at::Tensor gate(const at::Tensor& h, const GateSpec& spec);

/// The same as a linear unit: x [alpha g(h) + (1 - alpha) b(h)], x and h of one shape.
/// Dauphin et al., 2017; Shazeer, "GLU variants improve transformer", 2020, at alpha = 1.
at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec);

/// x [alpha g + (1 - alpha) b]: gate() where its functions have been computed, for a normed one or
/// an alpha with a gradient. x, g and b of one shape (..., d), b undefined: 1. alpha (1), or (...,
/// 1): one for each row.
at::Tensor blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                 const at::Tensor& alpha);

/// f(h), elementwise.
at::Tensor gate_function(const at::Tensor& h, GateFunction f);

/// What resolvent() hands back for dL/dv.
enum class ResolventGradient {
  exact,
  /// What the published code computes, for ablations. With d = dL/dRe + i dL/dIm, at each place
  ///   clamp(-Re(d G^2) / 2 - Re(d / G~^2) / 2, -1000, 1000),
  /// G~^2 = G^2, its magnitude raised to 1e-3 at least, plus 1e-6. This is not the gradient:
  /// d lacks its conjugate, what other places add is left out, and the second half is not a
  /// derivative of anything; it is |G|^-4 times as large as the first and outweighs it.
  upstream_hybrid,
};

/// Diagonal of a Green's function, the token mixer of ResNet-BK (its revision 600c44a, bk_core.py).
/// H is tridiagonal with -2 + v_i on the diagonal and 1 beside it, z = i. v_bt (b, t) ->
/// (b, t, 2), real and imaginary part of [(H - z)^-1]_ii, or, if `causal`, of the last diagonal
/// element for H cut off after place i, which knows v_0..v_i only. Magnitudes are at most 1, so
/// continued fractions are stable for every t, where upstream's determinants overflow. Time and
/// memory O(b t), the backward pass too. `gradient` must be exact if `causal`.
at::Tensor resolvent(const at::Tensor& v_bt, bool causal,
                     ResolventGradient gradient = ResolventGradient::exact);

/// Sum over rows of -log softmax(logits)[target], accumulated in float64 and in row order.
/// logits (n, v), targets (n) int64 -> float64 scalar. Targets outside [0, v) throw InternalError.
/// With `smoothing` e the target has probability 1 - e and e is spread evenly over all v (Szegedy
/// et al., 2016; as in torch).
at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing = 0);

/// cross_entropy_sum(linear(x, w, bias, precision), targets, smoothing), on a CPU with logits and
/// gradients rounded to the precision as well, without ever holding the logits of more than a few
/// million pairs of row and word: where there are more, rows are taken in pieces, whose size is a
/// function of v alone. x (n, d), w (v, d), bias (v) or none, targets (n) int64 -> float64 scalar.
/// The forward pass of several pieces computes their gradients too, for an incoming gradient of 1,
/// and keeps dx, dw and dbias alone: the backward pass does not touch x and w, scales in place, and
/// runs once. dw is the sum over the pieces in their order.
at::Tensor linear_cross_entropy_sum(const at::Tensor& x_nd, const at::Tensor& w_vd,
                                    const std::optional<at::Tensor>& bias_v,
                                    const at::Tensor& targets_n, double smoothing = 0,
                                    Precision precision = Precision::float32);

struct AdamWSettings {
  double lr, beta1, beta2, eps, weight_decay;
};
/// One decoupled-weight-decay Adam step in place over flat float32 buffers of equal length, on any
/// device (Loshchilov & Hutter 2019, in the order of torch.optim.AdamW). The gradient used is
/// gradient * scale. `step` counts from 1.
void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& settings);

/// sum.add_squares(values), the same sum to the last bit in a fraction of the time: what a norm
/// over many parameters wants.
void add_squares(std::span<const float> values, ExactSum& sum);
/// The same of a flat float32 tensor where it is, the copy to the host is of a few numbers. Of what
/// is not finite a GPU adds one infinity and one NaN, however many there are.
void add_squares(const at::Tensor& values, ExactSum& sum);

/// Multiply-adds per second, each as two operations, of one core in float32 with the widest vectors
/// of instruction_set(): the best of five runs of a few milliseconds.
double measure_peak_flops();

/// The instruction set the fast paths run on here ("AVX2", "AVX3_DL + AVX512_BF16", ...), the
/// second part for products in bfloat16: results are reproducible per instruction set, so it
/// belongs into the provenance.
std::string instruction_set();

}  // namespace pg::ops
