#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/attention_kernel.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
#include "ops/dropout-inl.hpp"
#include "ops/tile_product-inl.hpp"
// clang-format on

#include <algorithm>
#include <limits>

#include "ops/attention_kernel.hpp"

// Blocks of query rows against all the keys that any of them sees (0 to the end of the block where
// causal). No mask and no (t, u) matrix exist: a row of scores is simply as long as what it sees.
// The backward pass computes the scores of a block again, and what dropout keeps of them. Dao et
// al., "FlashAttention", 2022, whose second level of blocks (over keys) would gain nothing while a
// row of scores fits the cache. Each head is copied out of the features first, rotated and scaled:
// that costs t d where the products cost t^2 d, and they meet whole vectors and short strides.

#ifndef PG_OPS_ATTENTION_KERNEL_
#define PG_OPS_ATTENTION_KERNEL_
namespace pg::ops {

constexpr std::int64_t kQueryBlock = 16;
/// Heads and rows of keys are padded by zeros to a multiple of this: whole vectors everywhere.
constexpr std::int64_t kWhole = 16;

constexpr std::int64_t padded(std::int64_t n) {
  return (n + kWhole - 1) / kWhole * kWhole;
}

/// The shape with its paddings.
struct PaddedShape : AttentionShape {
  std::int64_t width, n_keys;  ///< d_head and u, padded
  std::int64_t key_stride;     ///< an odd number of cache lines, or rows would share few of them
  std::int64_t factors;        ///< room for what dropout_factors() writes

  explicit PaddedShape(const AttentionShape& shape)
      : AttentionShape(shape),
        width(padded(shape.d_head)),
        n_keys(padded(shape.u)),
        key_stride((n_keys / kWhole | 1) * kWhole),
        factors(padded(shape.u + kDropoutSlack)) {}

  /// Of the block of queries that begins at `first`: its rows, and the keys that any of them sees.
  [[nodiscard]] std::int64_t rows(std::int64_t first) const {
    return std::min(kQueryBlock, t - first);
  }
  [[nodiscard]] std::int64_t keys(std::int64_t first) const {
    return causal ? first + rows(first) : u;
  }
  /// The keys that one query sees.
  [[nodiscard]] std::int64_t seen(std::int64_t query) const { return causal ? query + 1 : u; }
};

/// Hands out pieces of a workspace one after the other; counts them where there is none.
class Pieces {
 public:
  explicit Pieces(float* workspace) : workspace_(workspace) {}
  MatrixTarget matrix(std::int64_t rows, std::int64_t stride) {
    const std::int64_t first = used_;
    used_ += rows * stride;
    return {workspace_ == nullptr ? nullptr : workspace_ + first, stride};
  }
  float* vector(std::int64_t n) { return matrix(1, n).data; }
  [[nodiscard]] std::int64_t used() const { return used_; }

 private:
  float* workspace_;
  std::int64_t used_ = 0;
};

struct Forward {
  Pieces pieces;
  MatrixTarget q, k, k_transposed, v, scores, out;
  float* factors;

  Forward(const PaddedShape& shape, float* workspace)
      : pieces(workspace),
        q(pieces.matrix(kQueryBlock, shape.width)),
        k(pieces.matrix(shape.n_keys, shape.width)),
        k_transposed(pieces.matrix(shape.width, shape.key_stride)),
        v(pieces.matrix(shape.n_keys, shape.width)),
        scores(pieces.matrix(kQueryBlock, shape.key_stride)),
        out(pieces.matrix(kQueryBlock, shape.width)),
        factors(pieces.vector(shape.factors)) {}
};

struct Backward {
  Pieces pieces;
  MatrixTarget q, k, k_transposed, v_transposed, dout, scores, dp, dq, dk, dv;
  float* factors;

  Backward(const PaddedShape& shape, float* workspace)
      : pieces(workspace),
        q(pieces.matrix(kQueryBlock, shape.width)),
        k(pieces.matrix(shape.n_keys, shape.width)),
        k_transposed(pieces.matrix(shape.width, shape.key_stride)),
        v_transposed(pieces.matrix(shape.width, shape.key_stride)),
        dout(pieces.matrix(kQueryBlock, shape.width)),
        scores(pieces.matrix(kQueryBlock, shape.key_stride)),
        dp(pieces.matrix(kQueryBlock, shape.key_stride)),
        dq(pieces.matrix(kQueryBlock, shape.width)),
        dk(pieces.matrix(shape.n_keys, shape.width)),
        dv(pieces.matrix(shape.n_keys, shape.width)),
        factors(pieces.vector(shape.factors)) {}
};

}  // namespace pg::ops
#endif

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

static_assert(kWhole % hn::MaxLanes(Floats()) == 0);

// Scores are in units of log2(e), so that exponentials are powers of two.
constexpr float kLog2E = 1.44269504F;
constexpr float kLn2 = 0.693147181F;

/// The angles of rows of q and k, in rows of half a head; null where nothing is rotated.
struct Angles {
  const float* cos;
  const float* sin;
  std::int64_t half;

  [[nodiscard]] Angles from_row(std::int64_t row) const {
    return cos == nullptr ? *this : Angles{cos + row * half, sin + row * half, half};
  }
};

/// to = from times `factor`, with the pairs (i, i + half) of each of n rows rotated by the row's
/// angle, or back by it. `width` features.
HWY_INLINE void rotate_rows(const MatrixView& from, const Angles& angles, bool back, float factor,
                            std::int64_t n, std::int64_t width, const MatrixTarget& to) {
  const Vec scale = set(factor);
  const std::int64_t half = angles.half;
  for (std::int64_t row = 0; row < n; ++row) {
    const float* in = from.data + row * from.stride;
    float* out = to.data + row * to.stride;
    if (angles.cos == nullptr) {
      for_each_vector(width, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
        store(hn::Mul(load(in + i, count), scale), out + i, count);
      });
      continue;
    }
    const hn::CappedTag<float, 8> d;  // small heads have no more pairs
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const float* cos = angles.cos + row * half;
    const float* sin = angles.sin + row * half;
    const float sine_factor = back ? -factor : factor;
    std::int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto c = hn::Mul(hn::LoadU(d, cos + i), hn::Set(d, factor));
      const auto s = hn::Mul(hn::LoadU(d, sin + i), hn::Set(d, sine_factor));
      const auto a = hn::LoadU(d, in + i);
      const auto b = hn::LoadU(d, in + half + i);
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, out + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, out + half + i);
    }
    for (; i < half; ++i) {
      const float c = cos[i] * factor;
      const float s = sin[i] * sine_factor;
      const float a = in[i];
      const float b = in[half + i];
      out[i] = a * c - b * s;
      out[half + i] = b * c + a * s;
    }
  }
}

/// The same into rows with zeros behind what the head has, and zero rows up to `n_padded`.
HWY_INLINE void pack_rows(const MatrixView& from, const Angles& angles, float factor,
                          std::int64_t n, std::int64_t n_padded, std::int64_t width,
                          const MatrixTarget& to) {
  rotate_rows(from, angles, /*back=*/false, factor, n, width, to);
  if (width < to.stride) {
    for (std::int64_t row = 0; row < n; ++row) {
      store_zeros(to.data + row * to.stride + width, to.stride - width);
    }
  }
  store_zeros(to.data + n * to.stride, (n_padded - n) * to.stride);
}

/// 2^x for x <= 0 within about one unit in the last place; 0 below -126, NaN for NaN.
HWY_INLINE Vec exp2_of_negative(Vec x) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const Vec magic = set(12582912.0F);
  const Vec shifted = hn::Add(x, magic);
  const Vec f = hn::Sub(x, hn::Sub(shifted, magic));
  // Minimax for (2^f - 1) / f on |f| <= 1/2: relative error of 2^f 2e-8.
  const Vec p = polynomial(f, {6.931472150e-1F, 2.402265278e-1F, 5.550310551e-2F, 9.617692975e-3F,
                               1.340664390e-3F, 1.559467751e-4F});
  const Vec mantissa = hn::MulAdd(f, p, set(1.0F));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const Vec result = hn::BitCast(d, hn::Add(hn::BitCast(di, mantissa), exponent));
  return hn::IfThenElse(hn::Lt(x, set(-126.0F)), hn::Zero(d), result);
}

/// Calls body(i) over [0, n) in whole vectors; n is a multiple of kWhole.
template <class Body>
HWY_INLINE void for_each_whole_vector(std::int64_t n, Body&& body) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  for (std::int64_t i = 0; i < n; i += lanes) body(i);
}

/// A row of scores up to whole vectors, and what belongs to it.
struct Row {
  float* scores;
  std::int64_t seen;     ///< keys that the query sees
  std::int64_t n;        ///< of the row, at least seen
  const float* bias;     ///< of the keys seen, or null
  const float* factors;  ///< of dropout, n, or null
};

/// The factors of n keys of a row; null where nothing is dropped.
HWY_INLINE const float* factors_of_row(const AttentionDropout& dropout, std::int64_t row,
                                       std::int64_t n_keys, std::int64_t n, float* buffer) {
  if (dropout.stream == nullptr) return nullptr;
  return dropout_factors(*dropout.stream, dropout.first + static_cast<std::uint64_t>(row * n_keys),
                         n, buffer);
}

/// Adds the bias, and gives what is not seen a probability of 0.
HWY_INLINE void complete_scores(const Row& row) {
  const Floats d;
  if (row.bias != nullptr) {
    for_each_vector(row.seen, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      store(hn::MulAdd(load(row.bias + j, count), set(kLog2E), load(row.scores + j, count)),
            row.scores + j, count);
    });
  }
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vec lowest = set(-std::numeric_limits<float>::infinity());
  for (std::int64_t j = row.seen / lanes * lanes; j < row.n; j += lanes) {
    const auto visible =
        hn::FirstN(d, static_cast<std::size_t>(std::max<std::int64_t>(0, row.seen - j)));
    hn::Store(hn::IfThenElse(visible, hn::Load(d, row.scores + j), lowest), d, row.scores + j);
  }
}

/// Scores -> 2^(score - max), dropped out; keeps max and 1 / sum. What dropout takes counts in the
/// sum.
HWY_INLINE void exponentiate(const Row& row, float& row_max, float& row_inverse) {
  const Floats d;
  complete_scores(row);
  Vec max = hn::Load(d, row.scores);
  for_each_whole_vector(
      row.n, [&](std::int64_t j) HWY_ATTR { max = hn::Max(max, hn::Load(d, row.scores + j)); });
  row_max = max_lane(max);
  const Vec shift = set(row_max);
  Vec sum = set(0.0F);
  for_each_whole_vector(row.n, [&](std::int64_t j) HWY_ATTR {
    Vec e = exp2_of_negative(hn::Sub(hn::Load(d, row.scores + j), shift));
    sum = hn::Add(sum, e);
    if (row.factors != nullptr) e = hn::Mul(e, hn::LoadU(d, row.factors + j));
    hn::Store(e, d, row.scores + j);
  });
  row_inverse = 1.0F / sum_lanes(sum);
}

HWY_INLINE float dot(const float* a, const float* b, std::int64_t n) {
  Vec sum = set(0.0F);
  for_each_vector(n, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
    sum = hn::MulAdd(load(a + j, count), load(b + j, count), sum);
  });
  return sum_lanes(sum);
}

/// In place: scores -> what multiplied v, dp -> p (dp - mean), the gradient of the scores, which is
/// added to dbias too. p = softmax; mean = sum over the keys of p dp = out . dout. Dropout
/// multiplies p on its way to v, hence dp on its way back.
HWY_INLINE void softmax_backward(const Row& row, float* dp, float max, float inverse, float mean,
                                 float* dbias) {
  const Floats d;
  complete_scores(row);
  for_each_whole_vector(row.n, [&](std::int64_t j) HWY_ATTR {
    const Vec p =
        hn::Mul(exp2_of_negative(hn::Sub(hn::Load(d, row.scores + j), set(max))), set(inverse));
    Vec kept = p;
    Vec dp_kept = hn::Load(d, dp + j);
    if (row.factors != nullptr) {
      const Vec f = hn::LoadU(d, row.factors + j);
      kept = hn::Mul(kept, f);
      dp_kept = hn::Mul(dp_kept, f);
    }
    hn::Store(kept, d, row.scores + j);
    hn::Store(hn::Mul(p, hn::Sub(dp_kept, set(mean))), d, dp + j);
  });
  if (dbias == nullptr) return;
  for_each_vector(row.seen, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
    store(hn::Add(load(dp + j, count), load(dbias + j, count)), dbias + j, count);
  });
}

/// Row i of a block of queries, of which `query` is the first among those of all heads.
HWY_INLINE Row row_of(const PaddedShape& shape, const HeadGroup& group, const MatrixTarget& scores,
                      std::int64_t query, std::int64_t i, std::int64_t seen, std::int64_t keys,
                      float* factors) {
  const std::int64_t n = padded(keys);
  return {scores.data + i * scores.stride, seen, n,
          group.bias == nullptr ? nullptr : group.bias + (query + i) * shape.u,
          factors_of_row(group.dropout, query + i, shape.u, n, factors)};
}

void attend(const PaddedShape& shape, const HeadGroup& group, float* workspace,
            const AttentionStatistics& statistics, const MatrixTarget& out) {
  const Forward w(shape, workspace);
  const Angles angles{group.cos, group.sin, shape.d_head / 2};
  pack_rows(group.k, angles, 1, shape.u, shape.n_keys, shape.d_head, w.k);
  transpose(w.k.data, w.k.stride, shape.n_keys, shape.width, w.k_transposed.data,
            w.k_transposed.stride);
  pack_rows(group.v, {}, 1, shape.u, shape.n_keys, shape.d_head, w.v);
  for (std::int64_t head = 0; head < shape.n_heads; ++head) {
    const MatrixView q = group.q.from_column(head * shape.d_head);
    const MatrixTarget head_out = out.from_column(head * shape.d_head);
    for (std::int64_t first = 0; first < shape.t; first += kQueryBlock) {
      const auto rows = shape.rows(first);
      const auto keys = shape.keys(first);
      pack_rows(q.from_row(first), angles.from_row(first), shape.scale * kLog2E, rows, rows,
                shape.d_head, w.q);
      multiply_small<false>(rows, keys, shape.d_head, w.q.view(), w.k_transposed.view(), w.scores);
      const auto query = head * shape.t + first;
      float* inverse = statistics.inverse + query;
      for (std::int64_t i = 0; i < rows; ++i) {
        exponentiate(
            row_of(shape, group, w.scores, query, i, shape.seen(first + i), keys, w.factors),
            statistics.max[query + i], inverse[i]);
      }
      multiply_small<false>(rows, shape.d_head, keys, w.scores.view(), w.v.view(), w.out);
      // Dividing the few columns of the result is cheaper than dividing the probabilities.
      for (std::int64_t i = 0; i < rows; ++i) {
        rotate_rows(w.out.from_row(i).view(), {}, false, inverse[i], 1, shape.d_head,
                    head_out.from_row(first + i));
      }
    }
  }
}

void attend_backward(const PaddedShape& shape, const HeadGroup& group, float* workspace,
                     const AttentionStatistics& statistics, const MatrixView& out,
                     const MatrixView& dout, const HeadGroupGradient& gradient) {
  const Backward w(shape, workspace);
  const Angles angles{group.cos, group.sin, shape.d_head / 2};
  // v first, in the room of k, since only its transpose is needed.
  pack_rows(group.v, {}, 1, shape.u, shape.n_keys, shape.d_head, w.k);
  transpose(w.k.data, w.k.stride, shape.n_keys, shape.width, w.v_transposed.data,
            w.v_transposed.stride);
  pack_rows(group.k, angles, 1, shape.u, shape.n_keys, shape.d_head, w.k);
  transpose(w.k.data, w.k.stride, shape.n_keys, shape.width, w.k_transposed.data,
            w.k_transposed.stride);
  store_zeros(w.dk.data, shape.n_keys * shape.width);
  store_zeros(w.dv.data, shape.n_keys * shape.width);
  for (std::int64_t head = 0; head < shape.n_heads; ++head) {
    const auto column = head * shape.d_head;
    for (std::int64_t first = 0; first < shape.t; first += kQueryBlock) {
      const auto rows = shape.rows(first);
      const auto keys = shape.keys(first);
      const MatrixView out_rows = out.from_column(column).from_row(first);
      const MatrixView dout_rows = dout.from_column(column).from_row(first);
      pack_rows(group.q.from_column(column).from_row(first), angles.from_row(first),
                shape.scale * kLog2E, rows, rows, shape.d_head, w.q);
      pack_rows(dout_rows, {}, 1, rows, rows, shape.d_head, w.dout);
      multiply_small<false>(rows, keys, shape.d_head, w.q.view(), w.k_transposed.view(), w.scores);
      multiply_small<false>(rows, keys, shape.d_head, w.dout.view(), w.v_transposed.view(), w.dp);
      const auto query = head * shape.t + first;
      for (std::int64_t i = 0; i < rows; ++i) {
        softmax_backward(
            row_of(shape, group, w.scores, query, i, shape.seen(first + i), keys, w.factors),
            w.dp.data + i * w.dp.stride, statistics.max[query + i], statistics.inverse[query + i],
            dot(out_rows.data + i * out_rows.stride, dout_rows.data + i * dout_rows.stride,
                shape.d_head),
            gradient.dbias == nullptr ? nullptr : gradient.dbias + (query + i) * shape.u);
      }
      multiply_small<true>(keys, shape.d_head, rows, w.scores.view().transpose(), w.dout.view(),
                           w.dv);
      multiply_small<true>(keys, shape.d_head, rows, w.dp.view().transpose(), w.q.view(), w.dk);
      multiply_small<false>(rows, shape.d_head, keys, w.dp.view(), w.k.view(), w.dq);
      rotate_rows(w.dq.view(), angles.from_row(first), /*back=*/true, shape.scale, rows,
                  shape.d_head, gradient.dq.from_column(column).from_row(first));
    }
  }
  // q came with log2(e) and the scale; the scale belongs there, log2(e) does not.
  rotate_rows(w.dk.view(), angles, /*back=*/true, kLn2, shape.u, shape.d_head, gradient.dk);
  rotate_rows(w.dv.view(), {}, false, 1, shape.u, shape.d_head, gradient.dv);
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops {
namespace {

HWY_EXPORT(attend);
HWY_EXPORT(attend_backward);

}  // namespace

std::int64_t attention_workspace(const AttentionShape& shape) {
  return Forward(PaddedShape(shape), nullptr).pieces.used();
}

std::int64_t attention_backward_workspace(const AttentionShape& shape) {
  return Backward(PaddedShape(shape), nullptr).pieces.used();
}

void attend(const AttentionShape& shape, const HeadGroup& group, float* workspace,
            const AttentionStatistics& statistics, const MatrixTarget& out) {
  HWY_DYNAMIC_DISPATCH(attend)(PaddedShape(shape), group, workspace, statistics, out);
}

void attend_backward(const AttentionShape& shape, const HeadGroup& group, float* workspace,
                     const AttentionStatistics& statistics, const MatrixView& out,
                     const MatrixView& dout, const HeadGroupGradient& gradient) {
  HWY_DYNAMIC_DISPATCH(attend_backward)
  (PaddedShape(shape), group, workspace, statistics, out, dout, gradient);
}

}  // namespace pg::ops
#endif  // HWY_ONCE
