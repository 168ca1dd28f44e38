#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/attention.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
#include "ops/dropout-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/autograd.hpp"
#include "ops/dropout.hpp"
#include "ops/fast.hpp"
#include "ops/sgemm.hpp"

// Blocks of query rows against all the keys that any of them sees (0 to the end of the block where
// causal). No mask and no (t, t) matrix exist: a row of scores is simply as long as what it sees.
// The backward pass computes the scores of a block again, and what dropout keeps of them. Dao et
// al., "FlashAttention", 2022, whose second level of blocks (over keys) would gain nothing while a
// row of scores fits the cache.

#ifndef PG_OPS_DROPOUT_ROWS_
#define PG_OPS_DROPOUT_ROWS_
namespace pg::ops {

/// Dropout of a block of rows of probabilities; none where there is no stream.
struct DropoutRows {
  const DropoutStream* stream = nullptr;
  std::uint64_t first = 0;   ///< element of the first row's first key
  std::uint64_t stride = 0;  ///< elements from row to row
  float* buffer = nullptr;   ///< for the factors of one row and kDropoutSlack more

  [[nodiscard]] DropoutRows from_row(std::int64_t i) const {
    return {stream, first + static_cast<std::uint64_t>(i) * stride, stride, buffer};
  }
};

}  // namespace pg::ops
#endif

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// The factors of the first n keys of a row; null where nothing is dropped.
HWY_INLINE const float* factors_of_row(const DropoutRows& dropout, std::int64_t row,
                                       std::int64_t n) {
  if (dropout.stream == nullptr) return nullptr;
  return dropout_factors(*dropout.stream,
                         dropout.first + static_cast<std::uint64_t>(row) * dropout.stride, n,
                         dropout.buffer);
}

/// Rotates the pairs (i, i + half) of every head in t rows of `width` features by the angle of the
/// row's position (cos and sin (t, half)); `direction` -1 rotates back.
void rotate_rows(const MatrixView& from, const float* cos, const float* sin, float direction,
                 std::int64_t t, std::int64_t width, std::int64_t half, const MatrixTarget& to) {
  const hn::CappedTag<float, 8> d;  // small heads have no more pairs
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto sign = hn::Set(d, direction);
  for (std::int64_t row = 0; row < t; ++row, cos += half, sin += half) {
    const float* in = from.data + row * from.stride;
    float* out = to.data + row * to.stride;
    std::int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto c = hn::LoadU(d, cos + i);
      const auto s = hn::Mul(hn::LoadU(d, sin + i), sign);
      for (std::int64_t low = i; low < width; low += 2 * half) {
        const auto a = hn::LoadU(d, in + low);
        const auto b = hn::LoadU(d, in + low + half);
        hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, out + low);
        hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, out + low + half);
      }
    }
    for (; i < half; ++i) {
      const float s = sin[i] * direction;
      for (std::int64_t low = i; low < width; low += 2 * half) {
        out[low] = in[low] * cos[i] - in[low + half] * s;
        out[low + half] = in[low + half] * cos[i] + in[low] * s;
      }
    }
  }
}

/// Scores (n_rows, n_keys) -> exp(score - max of the row), 0 beyond what the row sees: `seen` keys
/// in the first row, `growth` more in each further one. Keeps max and 1 / sum of each row; what
/// dropout takes counts in the sum.
void exponentiate_rows(const MatrixTarget& scores, std::int64_t n_rows, std::int64_t n_keys,
                       std::int64_t seen, std::int64_t growth, const DropoutRows& dropout,
                       float* max_n, float* inverse_n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n_rows; ++i, seen += growth) {
    float* row = scores.data + i * scores.stride;
    Vec max = set(kLowest);
    for_each_vector(seen, [&](std::int64_t j, std::int64_t count)
                              HWY_ATTR { max = hn::Max(max, load(row + j, count, kLowest)); });
    max_n[i] = max_lane(max);
    const Vec shift = set(max_n[i]);
    const float* factors = factors_of_row(dropout, i, seen);
    Vec sum = set(0.0F);
    for_each_vector(seen, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      Vec e = exp(hn::Sub(load(row + j, count, kLowest), shift));
      sum = hn::Add(sum, e);
      if (factors != nullptr) e = hn::Mul(e, load(factors + j, count));
      store(e, row + j, count);
    });
    inverse_n[i] = 1.0F / sum_lanes(sum);
    store_zeros(row + seen, n_keys - seen);
  }
}

void scale_rows(const MatrixTarget& rows, std::int64_t n_rows, std::int64_t width,
                const float* factor_n) {
  for (std::int64_t i = 0; i < n_rows; ++i) {
    float* row = rows.data + i * rows.stride;
    const Vec factor = set(factor_n[i]);
    for_each_vector(width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      store(hn::Mul(load(row + j, count), factor), row + j, count);
    });
  }
}

/// In place: scores -> what multiplied v, dp -> p (dp - mean) factor, the gradient of the unscaled
/// scores. p = softmax; mean = sum over the keys of p dp = out . dout, rows of `width`. Dropout
/// multiplies p on its way to v, hence dp on its way back. 0 beyond what the row sees.
void softmax_backward_rows(const MatrixTarget& scores, const MatrixTarget& dp, std::int64_t n_rows,
                           std::int64_t n_keys, std::int64_t seen, std::int64_t growth,
                           const DropoutRows& dropout, const float* max_n, const float* inverse_n,
                           const MatrixView& out, const MatrixView& dout, std::int64_t width,
                           float factor) {
  for (std::int64_t i = 0; i < n_rows; ++i, seen += growth) {
    float* p_row = scores.data + i * scores.stride;
    float* dp_row = dp.data + i * dp.stride;
    Vec products = set(0.0F);
    for_each_vector(width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      products = hn::MulAdd(load(out.data + i * out.stride + j, count),
                            load(dout.data + i * dout.stride + j, count), products);
    });
    const Vec mean = set(sum_lanes(products));
    const Vec shift = set(max_n[i]);
    const Vec inverse = set(inverse_n[i]);
    const float* factors = factors_of_row(dropout, i, seen);
    for_each_vector(seen, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      const Vec p = hn::Mul(exp(hn::Sub(load(p_row + j, count), shift)), inverse);
      Vec kept = p;
      Vec dp_kept = load(dp_row + j, count);
      if (factors != nullptr) {
        const Vec f = load(factors + j, count);
        kept = hn::Mul(kept, f);
        dp_kept = hn::Mul(dp_kept, f);
      }
      const Vec pull = hn::Sub(dp_kept, mean);
      store(kept, p_row + j, count);
      store(hn::Mul(hn::Mul(p, pull), set(factor)), dp_row + j, count);
    });
    store_zeros(p_row + seen, n_keys - seen);
    store_zeros(dp_row + seen, n_keys - seen);
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(rotate_rows);
HWY_EXPORT(exponentiate_rows);
HWY_EXPORT(scale_rows);
HWY_EXPORT(softmax_backward_rows);

constexpr std::int64_t kQueryBlock = 64;

/// What is the same for every head of every sequence of a call.
struct Shape {
  std::int64_t b, t, d, n_heads, d_head;
  bool causal;
  float factor;  ///< of the scores
  std::optional<DropoutSite> dropout;

  Shape(const at::Tensor& qkv_bt3d, std::int64_t heads, bool is_causal,
        const std::optional<DropoutSite>& dropout_site)
      : b(qkv_bt3d.size(0)),
        t(qkv_bt3d.size(1)),
        d(qkv_bt3d.size(2) / 3),
        n_heads(heads),
        d_head(d / heads),
        causal(is_causal),
        factor(static_cast<float>(1.0 / std::sqrt(static_cast<double>(d_head)))),
        dropout(dropout_site) {}

  /// Of the block of queries that begins at `first`: its rows, and the keys that any of them sees.
  [[nodiscard]] std::int64_t rows(std::int64_t first) const {
    return std::min(kQueryBlock, t - first);
  }
  [[nodiscard]] std::int64_t keys(std::int64_t first) const {
    return causal ? first + rows(first) : t;
  }
  /// Keys that its first row sees, and how many more each further row does.
  [[nodiscard]] std::int64_t seen(std::int64_t first) const { return causal ? first + 1 : t; }
  [[nodiscard]] std::int64_t growth() const { return causal ? 1 : 0; }

  /// Memory for a block of scores; rows begin on whole cache lines.
  [[nodiscard]] at::Tensor score_block(const at::TensorOptions& options) const {
    return at::empty({kQueryBlock, (t + 15) / 16 * 16}, options);
  }
};

MatrixTarget target(const at::Tensor& matrix) {
  return {matrix.data_ptr<float>(), matrix.size(1)};
}

/// q, k and v of one head of one sequence, (t, d_head) each, q and k already rotated.
struct Head {
  MatrixView q, k, v;
};

/// Dropout of the probabilities of one call; draws nothing where the shape has none.
class CallDropout {
 public:
  CallDropout(const Shape& shape, const at::TensorOptions& options) : shape_(shape) {
    if (!shape.dropout) return;
    stream_ = dropout_stream(*shape.dropout);
    factors_ = at::empty({shape.t + kDropoutSlack}, options);
  }
  /// Of one head of one of the tensor's sequences.
  [[nodiscard]] DropoutRows of_head(std::int64_t sequence, std::int64_t head) const {
    if (!shape_.dropout) return {};
    const auto slot = shape_.dropout->first_slot + sequence;
    const auto t = static_cast<std::uint64_t>(shape_.t);
    return {&stream_, static_cast<std::uint64_t>(slot * shape_.n_heads + head) * t * t, t,
            factors_.data_ptr<float>()};
  }

 private:
  const Shape& shape_;
  DropoutStream stream_{};
  at::Tensor factors_;
};

/// Per query: the largest score and 1 / sum(exp(score - max)), (t) each.
struct Statistics {
  float* max;
  float* inverse;
};

void attend(const Shape& shape, const Head& head, const DropoutRows& dropout,
            const MatrixTarget& scores, const Statistics& statistics, const MatrixTarget& out) {
  for (std::int64_t first = 0; first < shape.t; first += kQueryBlock) {
    const auto rows = shape.rows(first);
    const auto keys = shape.keys(first);
    const MatrixTarget out_rows = out.from_row(first);
    multiply(rows, keys, shape.d_head, shape.factor, head.q.from_row(first), head.k.transpose(), 0,
             scores);
    HWY_DYNAMIC_DISPATCH(exponentiate_rows)
    (scores, rows, keys, shape.seen(first), shape.growth(), dropout.from_row(first),
     statistics.max + first, statistics.inverse + first);
    multiply(rows, shape.d_head, keys, 1, scores.view(), head.v, 0, out_rows);
    // Dividing the few columns of the result is cheaper than dividing the probabilities.
    HWY_DYNAMIC_DISPATCH(scale_rows)(out_rows, rows, shape.d_head, statistics.inverse + first);
  }
}

struct HeadGradient {
  MatrixTarget dq, dk, dv;
};

void attend_backward(const Shape& shape, const Head& head, const DropoutRows& dropout,
                     const MatrixTarget& scores, const MatrixTarget& dp,
                     const Statistics& statistics, const MatrixView& out, const MatrixView& dout,
                     const HeadGradient& gradient) {
  // Downwards: the last block sees every key, so it writes dk and dv, and the others add to them.
  const auto last = (shape.t - 1) / kQueryBlock * kQueryBlock;
  for (std::int64_t first = last; first >= 0; first -= kQueryBlock) {
    const auto rows = shape.rows(first);
    const auto keys = shape.keys(first);
    const float keep = first == last ? 0.0F : 1.0F;
    const MatrixView q_rows = head.q.from_row(first);
    const MatrixView dout_rows = dout.from_row(first);
    multiply(rows, keys, shape.d_head, shape.factor, q_rows, head.k.transpose(), 0, scores);
    multiply(rows, keys, shape.d_head, 1, dout_rows, head.v.transpose(), 0, dp);
    HWY_DYNAMIC_DISPATCH(softmax_backward_rows)
    (scores, dp, rows, keys, shape.seen(first), shape.growth(), dropout.from_row(first),
     statistics.max + first, statistics.inverse + first, out.from_row(first), dout_rows,
     shape.d_head, shape.factor);
    multiply(keys, shape.d_head, rows, 1, scores.view().transpose(), dout_rows, keep, gradient.dv);
    multiply(keys, shape.d_head, rows, 1, dp.view().transpose(), q_rows, keep, gradient.dk);
    multiply(rows, shape.d_head, keys, 1, dp.view(), head.k, 0, gradient.dq.from_row(first));
  }
}

/// The rotary tables of a call; undefined without rotation.
struct Tables {
  at::Tensor cos, sin;

  [[nodiscard]] bool defined() const { return cos.defined(); }
  /// q and k of one sequence stand side by side, 2 d wide.
  void rotate(const Shape& shape, float direction, const MatrixView& from,
              const MatrixTarget& to) const {
    HWY_DYNAMIC_DISPATCH(rotate_rows)
    (from, cos.data_ptr<float>(), sin.data_ptr<float>(), direction, shape.t, 2 * shape.d,
     shape.d_head / 2, to);
  }
};

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& qkv_input, std::int64_t n_heads,
                            bool causal, const std::optional<Rope>& rope,
                            const std::optional<DropoutSite>& dropout_site) {
    const at::Tensor qkv_bt3d = qkv_input.contiguous();
    const Shape shape(qkv_bt3d, n_heads, causal, dropout_site);
    Tables tables;
    if (rope) tables = {rope->cos.contiguous(), rope->sin.contiguous()};
    const auto& options = qkv_bt3d.options();
    const at::Tensor out_btd = at::empty({shape.b, shape.t, shape.d}, options);
    const at::Tensor max_bht = at::empty({shape.b, shape.n_heads, shape.t}, options);
    const at::Tensor inverse_bht = at::empty_like(max_bht);
    const at::Tensor rotated = at::empty({tables.defined() ? shape.t : 0, 2 * shape.d}, options);
    const at::Tensor scores = shape.score_block(options);
    const CallDropout dropout(shape, options);
    for (std::int64_t sequence = 0; sequence < shape.b; ++sequence) {
      const MatrixView qkv{qkv_bt3d.data_ptr<float>() + sequence * shape.t * 3 * shape.d,
                           3 * shape.d};
      const MatrixTarget out{out_btd.data_ptr<float>() + sequence * shape.t * shape.d, shape.d};
      if (tables.defined()) tables.rotate(shape, 1, qkv, target(rotated));
      const MatrixView qk = tables.defined() ? target(rotated).view() : qkv;
      for (std::int64_t head = 0; head < shape.n_heads; ++head) {
        const auto column = head * shape.d_head;
        const auto offset = (sequence * shape.n_heads + head) * shape.t;
        attend(shape,
               {qk.from_column(column), qk.from_column(shape.d + column),
                qkv.from_column(2 * shape.d + column)},
               dropout.of_head(sequence, head), target(scores),
               {max_bht.data_ptr<float>() + offset, inverse_bht.data_ptr<float>() + offset},
               out.from_column(column));
      }
    }
    context->save_for_backward({qkv_bt3d, tables.cos, tables.sin, max_bht, inverse_bht, out_btd});
    context->saved_data["n_heads"] = n_heads;
    context->saved_data["causal"] = causal;
    if (dropout_site) save_dropout(*context, *dropout_site);
    return out_btd;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& qkv_bt3d = saved[0];
    const Tables tables{saved[1], saved[2]};
    const at::Tensor& max_bht = saved[3];
    const at::Tensor& inverse_bht = saved[4];
    const at::Tensor& out_btd = saved[5];
    const at::Tensor dout_btd = gradients[0].contiguous();
    const Shape shape(qkv_bt3d, context->saved_data["n_heads"].toInt(),
                      context->saved_data["causal"].toBool(), saved_dropout(*context));
    const auto& options = qkv_bt3d.options();
    const at::Tensor dqkv_bt3d = at::empty_like(qkv_bt3d);
    const at::Tensor rotated = at::empty({tables.defined() ? shape.t : 0, 2 * shape.d}, options);
    const at::Tensor drotated = at::empty_like(rotated);
    const at::Tensor scores = shape.score_block(options);
    const at::Tensor dp = shape.score_block(options);
    const CallDropout dropout(shape, options);
    for (std::int64_t sequence = 0; sequence < shape.b; ++sequence) {
      const auto start = sequence * shape.t * shape.d;
      const MatrixView qkv{qkv_bt3d.data_ptr<float>() + 3 * start, 3 * shape.d};
      const MatrixTarget dqkv{dqkv_bt3d.data_ptr<float>() + 3 * start, 3 * shape.d};
      const MatrixView out{out_btd.data_ptr<float>() + start, shape.d};
      const MatrixView dout{dout_btd.data_ptr<float>() + start, shape.d};
      if (tables.defined()) tables.rotate(shape, 1, qkv, target(rotated));
      const MatrixView qk = tables.defined() ? target(rotated).view() : qkv;
      const MatrixTarget dqk = tables.defined() ? target(drotated) : dqkv;
      for (std::int64_t head = 0; head < shape.n_heads; ++head) {
        const auto column = head * shape.d_head;
        const auto offset = (sequence * shape.n_heads + head) * shape.t;
        attend_backward(
            shape,
            {qk.from_column(column), qk.from_column(shape.d + column),
             qkv.from_column(2 * shape.d + column)},
            dropout.of_head(sequence, head), target(scores), target(dp),
            {max_bht.data_ptr<float>() + offset, inverse_bht.data_ptr<float>() + offset},
            out.from_column(column), dout.from_column(column),
            {dqk.from_column(column), dqk.from_column(shape.d + column),
             dqkv.from_column(2 * shape.d + column)});
      }
      if (tables.defined()) tables.rotate(shape, -1, target(drotated).view(), dqkv);
    }
    return {dqkv_bt3d, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& qkv_bt3d, std::int64_t n_heads, bool causal,
                     const std::optional<Rope>& rope, const std::optional<DropoutSite>& dropout) {
  return AttentionFunction::apply(qkv_bt3d, n_heads, causal, rope, dropout);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
