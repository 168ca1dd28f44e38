#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/attention.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/autograd.hpp"
#include "ops/fast.hpp"
#include "ops/sgemm.hpp"

// Blocks of query rows against all the keys that any of them sees (0 to the end of the block where
// causal). No mask and no (t, t) matrix exist: a row of scores is simply as long as what it sees.
// The backward pass computes the scores of a block again. Dao et al., "FlashAttention", 2022, whose
// second level of blocks (over keys) would gain nothing while a row of scores fits the cache.

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// Rotates the pairs (i, i + half) of every head in t rows of `width` features by the angle of the
/// row's position (cos and sin (t, half)); `direction` -1 rotates back.
void rotate_rows(const float* from, std::int64_t from_stride, const float* cos, const float* sin,
                 float direction, std::int64_t t, std::int64_t width, std::int64_t half, float* to,
                 std::int64_t to_stride) {
  // At most 8 lanes, as small heads have no more pairs.
  const hn::CappedTag<float, 8> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto sign = hn::Set(d, direction);
  for (std::int64_t row = 0; row < t; ++row) {
    const float* c_row = cos + row * half;
    const float* s_row = sin + row * half;
    for (std::int64_t head = 0; head < width; head += 2 * half) {
      const float* low = from + row * from_stride + head;
      float* out = to + row * to_stride + head;
      std::int64_t i = 0;
      for (; i + lanes <= half; i += lanes) {
        const auto c = hn::LoadU(d, c_row + i);
        const auto s = hn::Mul(hn::LoadU(d, s_row + i), sign);
        const auto a = hn::LoadU(d, low + i);
        const auto b = hn::LoadU(d, low + half + i);
        hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, out + i);
        hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, out + half + i);
      }
      for (; i < half; ++i) {
        const float s = s_row[i] * direction;
        out[i] = low[i] * c_row[i] - low[half + i] * s;
        out[half + i] = low[half + i] * c_row[i] + low[i] * s;
      }
    }
  }
}

/// Turns rows of scores into exp(score - max), 0 beyond what the row sees: first_seen keys in the
/// first row, `growth` (0 or 1) more in each further one, n_keys at most. Keeps max and 1 / sum.
void exponentiate_rows(float* scores, std::int64_t stride, std::int64_t n_rows, std::int64_t n_keys,
                       std::int64_t first_seen, std::int64_t growth, float* max_n,
                       float* inverse_n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (std::int64_t row = 0; row < n_rows; ++row, scores += stride) {
    const std::int64_t seen = first_seen + row * growth;
    Vec max = set(kLowest);
    for_each_vector(seen, [&](std::int64_t i, std::int64_t count)
                              HWY_ATTR { max = hn::Max(max, load(scores + i, count, kLowest)); });
    max_n[row] = max_lane(max);
    const Vec shift = set(max_n[row]);
    Vec sum = set(0.0F);
    for_each_vector(seen, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec e = exp(hn::Sub(load(scores + i, count, kLowest), shift));
      sum = hn::Add(sum, e);
      store(e, scores + i, count);
    });
    store_zeros(scores + seen, n_keys - seen);
    inverse_n[row] = 1.0F / sum_lanes(sum);
  }
}

void scale_rows(float* rows, std::int64_t stride, std::int64_t n_rows, std::int64_t width,
                const float* factor_n) {
  for (std::int64_t row = 0; row < n_rows; ++row, rows += stride) {
    const Vec factor = set(factor_n[row]);
    for_each_vector(width, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(hn::Mul(load(rows + i, count), factor), rows + i, count);
    });
  }
}

/// sum_n[row] = a[row] . b[row].
void dot_rows(const float* a, const float* b, std::int64_t stride, std::int64_t n_rows,
              std::int64_t width, float* sum_n) {
  for (std::int64_t row = 0; row < n_rows; ++row, a += stride, b += stride) {
    Vec sum = set(0.0F);
    for_each_vector(width, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      sum = hn::MulAdd(load(a + i, count), load(b + i, count), sum);
    });
    sum_n[row] = sum_lanes(sum);
  }
}

/// In place: scores -> p = softmax, dp -> p (dp - mean_dp) * factor, the gradient of the unscaled
/// scores; mean_dp = sum(p dp) of the row. 0 beyond what the row sees.
void softmax_backward_rows(float* scores, float* dp, std::int64_t stride, std::int64_t n_rows,
                           std::int64_t n_keys, std::int64_t first_seen, std::int64_t growth,
                           const float* max_n, const float* inverse_n, const float* mean_dp_n,
                           float factor) {
  for (std::int64_t row = 0; row < n_rows; ++row, scores += stride, dp += stride) {
    const std::int64_t seen = first_seen + row * growth;
    const Vec shift = set(max_n[row]);
    const Vec inverse = set(inverse_n[row]);
    const Vec mean = set(mean_dp_n[row]);
    for_each_vector(seen, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec p = hn::Mul(exp(hn::Sub(load(scores + i, count), shift)), inverse);
      const Vec pull = hn::Sub(load(dp + i, count), mean);
      store(p, scores + i, count);
      store(hn::Mul(hn::Mul(p, pull), set(factor)), dp + i, count);
    });
    store_zeros(scores + seen, n_keys - seen);
    store_zeros(dp + seen, n_keys - seen);
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
HWY_EXPORT(dot_rows);
HWY_EXPORT(softmax_backward_rows);

constexpr std::int64_t kQueryBlock = 64;

/// Sizes of one call, and how its blocks lie in the rows of scores.
struct Shape {
  std::int64_t b, t, d, n_heads, d_head;
  bool causal;

  [[nodiscard]] float factor() const {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(d_head)));
  }
  [[nodiscard]] std::int64_t score_stride() const { return (t + 15) / 16 * 16; }
  [[nodiscard]] std::int64_t rows(std::int64_t first) const {
    return std::min(kQueryBlock, t - first);
  }
  [[nodiscard]] std::int64_t keys(std::int64_t first) const {
    return causal ? first + rows(first) : t;
  }
  [[nodiscard]] std::int64_t first_seen(std::int64_t first) const { return causal ? first + 1 : t; }
  [[nodiscard]] std::int64_t growth() const { return causal ? 1 : 0; }
};

/// q and k of one sequence as the products read them: rows of `stride` floats.
struct QueriesAndKeys {
  const float* q;
  const float* k;
  std::int64_t stride;
};

/// Rotates q and k of one sequence into `rotated` (t, 2 d); without tables, points into qkv.
QueriesAndKeys prepare(const Shape& s, const float* qkv, const at::Tensor& cos,
                       const at::Tensor& sin, float* rotated) {
  if (!cos.defined()) return {qkv, qkv + s.d, 3 * s.d};
  HWY_DYNAMIC_DISPATCH(rotate_rows)
  (qkv, 3 * s.d, cos.data_ptr<float>(), sin.data_ptr<float>(), 1.0F, s.t, 2 * s.d, s.d_head / 2,
   rotated, 2 * s.d);
  return {rotated, rotated + s.d, 2 * s.d};
}

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& qkv_input, std::int64_t n_heads,
                            bool causal, const std::optional<Rope>& rope) {
    const at::Tensor qkv_bt3d = qkv_input.contiguous();
    const at::Tensor cos = rope ? rope->cos.contiguous() : at::Tensor();
    const at::Tensor sin = rope ? rope->sin.contiguous() : at::Tensor();
    const auto d = qkv_bt3d.size(2) / 3;
    const Shape s{qkv_bt3d.size(0), qkv_bt3d.size(1), d, n_heads, d / n_heads, causal};
    const auto& options = qkv_bt3d.options();
    at::Tensor out_btd = at::empty({s.b, s.t, s.d}, options);
    at::Tensor max_bht = at::empty({s.b, s.n_heads, s.t}, options);
    at::Tensor inverse_bht = at::empty({s.b, s.n_heads, s.t}, options);
    at::Tensor rotated = at::empty({cos.defined() ? s.t * 2 * s.d : 0}, options);
    at::Tensor scores = at::empty({kQueryBlock * s.score_stride()}, options);
    auto* score = scores.data_ptr<float>();
    for (std::int64_t sequence = 0; sequence < s.b; ++sequence) {
      const float* qkv = qkv_bt3d.data_ptr<float>() + sequence * s.t * 3 * s.d;
      const QueriesAndKeys in = prepare(s, qkv, cos, sin, rotated.data_ptr<float>());
      for (std::int64_t head = 0; head < s.n_heads; ++head) {
        const auto column = head * s.d_head;
        const auto statistics = (sequence * s.n_heads + head) * s.t;
        for (std::int64_t first = 0; first < s.t; first += kQueryBlock) {
          const auto rows = s.rows(first);
          const auto keys = s.keys(first);
          float* max_n = max_bht.data_ptr<float>() + statistics + first;
          float* inverse_n = inverse_bht.data_ptr<float>() + statistics + first;
          float* out = out_btd.data_ptr<float>() + (sequence * s.t + first) * s.d + column;
          multiply(rows, keys, s.d_head, s.factor(), {in.q + first * in.stride + column, in.stride},
                   {in.k + column, in.stride, true}, 0, score, s.score_stride());
          HWY_DYNAMIC_DISPATCH(exponentiate_rows)
          (score, s.score_stride(), rows, keys, s.first_seen(first), s.growth(), max_n, inverse_n);
          multiply(rows, s.d_head, keys, 1, {score, s.score_stride()},
                   {qkv + 2 * s.d + column, 3 * s.d}, 0, out, s.d);
          HWY_DYNAMIC_DISPATCH(scale_rows)(out, s.d, rows, s.d_head, inverse_n);
        }
      }
    }
    context->save_for_backward({qkv_bt3d, cos, sin, max_bht, inverse_bht, out_btd});
    context->saved_data["n_heads"] = n_heads;
    context->saved_data["causal"] = causal;
    return out_btd;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& qkv_bt3d = saved[0];
    const at::Tensor& cos = saved[1];
    const at::Tensor& sin = saved[2];
    const at::Tensor& max_bht = saved[3];
    const at::Tensor& inverse_bht = saved[4];
    const at::Tensor& out_btd = saved[5];
    const at::Tensor dout_btd = gradients[0].contiguous();
    const auto n_heads = context->saved_data["n_heads"].toInt();
    const Shape s{qkv_bt3d.size(0),          qkv_bt3d.size(1),
                  out_btd.size(2),           n_heads,
                  out_btd.size(2) / n_heads, context->saved_data["causal"].toBool()};
    const auto& options = qkv_bt3d.options();
    at::Tensor dqkv_bt3d = at::empty_like(qkv_bt3d);
    const auto rotated_size = cos.defined() ? s.t * 2 * s.d : 0;
    at::Tensor rotated = at::empty({rotated_size}, options);
    at::Tensor drotated = at::empty({rotated_size}, options);
    at::Tensor blocks = at::empty({2, kQueryBlock * s.score_stride()}, options);
    at::Tensor mean_dp = at::empty({kQueryBlock}, options);
    auto* score = blocks.data_ptr<float>();
    auto* dp = score + kQueryBlock * s.score_stride();
    for (std::int64_t sequence = 0; sequence < s.b; ++sequence) {
      const float* qkv = qkv_bt3d.data_ptr<float>() + sequence * s.t * 3 * s.d;
      float* dqkv = dqkv_bt3d.data_ptr<float>() + sequence * s.t * 3 * s.d;
      const QueriesAndKeys in = prepare(s, qkv, cos, sin, rotated.data_ptr<float>());
      float* dq = cos.defined() ? drotated.data_ptr<float>() : dqkv;
      float* dk = dq + s.d;
      for (std::int64_t head = 0; head < s.n_heads; ++head) {
        const auto column = head * s.d_head;
        const auto statistics = (sequence * s.n_heads + head) * s.t;
        // Downwards: the last block sees every key, so it writes what the others add to.
        const auto last = (s.t - 1) / kQueryBlock * kQueryBlock;
        for (std::int64_t first = last; first >= 0; first -= kQueryBlock) {
          const auto rows = s.rows(first);
          const auto keys = s.keys(first);
          const float keep = first == last ? 0.0F : 1.0F;
          const auto token = sequence * s.t + first;
          const float* dout = dout_btd.data_ptr<float>() + token * s.d + column;
          const MatrixView q{in.q + first * in.stride + column, in.stride};
          const float* k = in.k + column;
          const float* v = qkv + 2 * s.d + column;
          multiply(rows, keys, s.d_head, s.factor(), q, {k, in.stride, true}, 0, score,
                   s.score_stride());
          multiply(rows, keys, s.d_head, 1, {dout, s.d}, {v, 3 * s.d, true}, 0, dp,
                   s.score_stride());
          // sum(p dp) over the keys is out . dout.
          HWY_DYNAMIC_DISPATCH(dot_rows)
          (out_btd.data_ptr<float>() + token * s.d + column, dout, s.d, rows, s.d_head,
           mean_dp.data_ptr<float>());
          HWY_DYNAMIC_DISPATCH(softmax_backward_rows)
          (score, dp, s.score_stride(), rows, keys, s.first_seen(first), s.growth(),
           max_bht.data_ptr<float>() + statistics + first,
           inverse_bht.data_ptr<float>() + statistics + first, mean_dp.data_ptr<float>(),
           s.factor());
          multiply(keys, s.d_head, rows, 1, {score, s.score_stride(), true}, {dout, s.d}, keep,
                   dqkv + 2 * s.d + column, 3 * s.d);
          multiply(rows, s.d_head, keys, 1, {dp, s.score_stride()}, {k, in.stride}, 0,
                   dq + first * in.stride + column, in.stride);
          multiply(keys, s.d_head, rows, 1, {dp, s.score_stride(), true}, {q.data, q.stride}, keep,
                   dk + column, in.stride);
        }
      }
      if (cos.defined()) {
        HWY_DYNAMIC_DISPATCH(rotate_rows)
        (dq, 2 * s.d, cos.data_ptr<float>(), sin.data_ptr<float>(), -1.0F, s.t, 2 * s.d,
         s.d_head / 2, dqkv, 3 * s.d);
      }
    }
    return {dqkv_bt3d, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& qkv_bt3d, std::int64_t n_heads, bool causal,
                     const std::optional<Rope>& rope) {
  return AttentionFunction::apply(qkv_bt3d, n_heads, causal, rope);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
