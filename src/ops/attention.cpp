#include <cmath>

#include "ops/attention_kernel.hpp"
#include "ops/autograd.hpp"
#include "ops/dropout.hpp"
#include "ops/fast.hpp"

namespace pg::ops::fast {
namespace {

/// Where the three stand: side by side in one tensor, or q alone and k and v side by side.
struct Sides {
  at::Tensor q;   ///< (b, t, q_width)
  at::Tensor kv;  ///< (b, u, kv_width); q itself if all are in one
  std::int64_t k_column, v_column;

  Sides(const at::Tensor& q_or_qkv, const at::Tensor& kv_or_none, std::int64_t n_heads,
        std::int64_t n_kv_heads)
      : q(q_or_qkv), kv(kv_or_none.defined() ? kv_or_none : q_or_qkv) {
    const bool joined = !kv_or_none.defined();
    const auto d_head = q.size(2) / (joined ? n_heads + 2 * n_kv_heads : n_heads);
    k_column = joined ? n_heads * d_head : 0;
    v_column = k_column + n_kv_heads * d_head;
  }

  [[nodiscard]] static MatrixView rows(const at::Tensor& x, std::int64_t sequence) {
    return {x.data_ptr<float>() + sequence * x.size(1) * x.size(2), x.size(2)};
  }
  [[nodiscard]] static MatrixTarget target(const at::Tensor& x, std::int64_t sequence) {
    return {x.data_ptr<float>() + sequence * x.size(1) * x.size(2), x.size(2)};
  }
};

/// A call: what its kernels are given, one group of heads after the other.
class Call {
 public:
  /// `spec` with a bias and tables that are contiguous.
  Call(Sides sides, const AttentionSpec& spec)
      : sides_(std::move(sides)), spec_(spec), n_kv_heads_(spec.kv_heads()) {
    const auto d_head = (sides_.v_column - sides_.k_column) / n_kv_heads_;
    shape_ = {sides_.q.size(1), sides_.kv.size(1),
              d_head,           spec.n_heads / n_kv_heads_,
              spec.causal,      static_cast<float>(spec.scale_of(d_head))};
    if (spec.dropout.p > 0) stream_ = dropout_stream(spec.dropout);
  }

  [[nodiscard]] const AttentionShape& shape() const { return shape_; }
  [[nodiscard]] bool empty() const {
    return sides_.q.size(0) == 0 || shape_.t == 0 || shape_.u == 0;
  }

  /// body(sequence, group), in the order in which the gradient of a bias is summed.
  template <class Body>
  void for_each_group(const Body& body) const {
    for (std::int64_t sequence = 0; sequence < sides_.q.size(0); ++sequence) {
      for (std::int64_t group = 0; group < n_kv_heads_; ++group) body(sequence, group);
    }
  }

  [[nodiscard]] std::int64_t q_column(std::int64_t group) const {
    return group * shape_.n_heads * shape_.d_head;
  }
  [[nodiscard]] std::int64_t k_column(std::int64_t group) const {
    return sides_.k_column + group * shape_.d_head;
  }
  [[nodiscard]] std::int64_t v_column(std::int64_t group) const {
    return sides_.v_column + group * shape_.d_head;
  }

  [[nodiscard]] HeadGroup group(std::int64_t sequence, std::int64_t group) const {
    const auto head = group * shape_.n_heads;
    const MatrixView kv = Sides::rows(sides_.kv, sequence);
    const auto table = [&](const at::Tensor Rope::*which) {
      return spec_.rope ? (*spec_.rope.*which).data_ptr<float>() : nullptr;
    };
    HeadGroup result{Sides::rows(sides_.q, sequence).from_column(q_column(group)),
                     kv.from_column(k_column(group)),
                     kv.from_column(v_column(group)),
                     table(&Rope::cos),
                     table(&Rope::sin),
                     of_heads(spec_.bias_htu, group),
                     {}};
    if (stream_) {
      const auto slot = spec_.dropout.first_slot + sequence;
      result.dropout = {&*stream_, static_cast<std::uint64_t>((slot * spec_.n_heads + head) *
                                                              shape_.t * shape_.u)};
    }
    return result;
  }

  /// The group's part of x (n_heads, t, u); null if there is none.
  [[nodiscard]] float* of_heads(const at::Tensor& x_htu, std::int64_t group) const {
    if (!x_htu.defined()) return nullptr;
    return x_htu.data_ptr<float>() + group * shape_.n_heads * shape_.t * shape_.u;
  }

  /// Its part of max and inverse, (2, b, n_heads, t).
  [[nodiscard]] AttentionStatistics statistics(const at::Tensor& both_2bht, std::int64_t sequence,
                                               std::int64_t group) const {
    float* first = both_2bht.data_ptr<float>() +
                   (sequence * spec_.n_heads + group * shape_.n_heads) * shape_.t;
    return {first, first + both_2bht.numel() / 2};
  }

 private:
  Sides sides_;
  const AttentionSpec& spec_;
  std::int64_t n_kv_heads_;
  AttentionShape shape_{};
  std::optional<DropoutStream> stream_;
};

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& q_input,
                            const c10::optional<at::Tensor>& kv_input,
                            const c10::optional<at::Tensor>& bias_input,
                            const AttentionSpec& asked) {
    const auto contiguous = [](const c10::optional<at::Tensor>& x) {
      return x ? x->contiguous() : at::Tensor();
    };
    AttentionSpec spec = asked;
    spec.bias_htu = contiguous(bias_input);
    if (spec.rope) spec.rope = {spec.rope->cos.contiguous(), spec.rope->sin.contiguous()};
    const at::Tensor q = q_input.contiguous();
    const at::Tensor kv = contiguous(kv_input);
    const Call call(Sides(q, kv, spec.n_heads, spec.kv_heads()), spec);
    const AttentionShape& shape = call.shape();
    const auto b = q.size(0);
    const at::Tensor out_btd = at::empty({b, shape.t, spec.n_heads * shape.d_head}, q.options());
    const at::Tensor statistics = at::empty({2, b, spec.n_heads, shape.t}, q.options());
    if (call.empty()) {
      out_btd.zero_();
    } else {
      const at::Tensor workspace = at::empty({attention_workspace(shape)}, q.options());
      call.for_each_group([&](std::int64_t sequence, std::int64_t group) {
        attend(shape, call.group(sequence, group), workspace.data_ptr<float>(),
               call.statistics(statistics, sequence, group),
               Sides::target(out_btd, sequence).from_column(call.q_column(group)));
      });
    }
    context->save_for_backward({q, kv, spec.bias_htu, spec.rope ? spec.rope->cos : at::Tensor(),
                                spec.rope ? spec.rope->sin : at::Tensor(), statistics, out_btd});
    context->saved_data["n_heads"] = spec.n_heads;
    context->saved_data["n_kv_heads"] = spec.kv_heads();
    context->saved_data["causal"] = spec.causal;
    context->saved_data["scale"] = spec.scale_of(shape.d_head);
    context->saved_data["learns_bias"] = bias_input && bias_input->requires_grad();
    if (spec.dropout.p > 0) save_dropout(*context, spec.dropout);
    return out_btd;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& q = saved[0];
    const at::Tensor& kv = saved[1];
    const at::Tensor& statistics = saved[5];
    const at::Tensor& out_btd = saved[6];
    AttentionSpec spec;
    spec.n_heads = context->saved_data["n_heads"].toInt();
    spec.n_kv_heads = context->saved_data["n_kv_heads"].toInt();
    spec.causal = context->saved_data["causal"].toBool();
    spec.scale = context->saved_data["scale"].toDouble();
    spec.bias_htu = saved[2];
    if (saved[3].defined()) spec.rope = {saved[3], saved[4]};
    spec.dropout = saved_dropout(*context).value_or(DropoutSite{});
    const Call call(Sides(q, kv, spec.n_heads, spec.n_kv_heads), spec);
    const AttentionShape& shape = call.shape();
    const at::Tensor dout_btd = gradients[0].contiguous();
    const at::Tensor dq = at::empty_like(q);
    const at::Tensor dkv = kv.defined() ? at::empty_like(kv) : at::Tensor();
    const at::Tensor dbias =
        context->saved_data["learns_bias"].toBool() ? at::zeros_like(spec.bias_htu) : at::Tensor();
    if (call.empty()) {
      dq.zero_();
      if (dkv.defined()) dkv.zero_();
      return {dq, dkv, dbias, at::Tensor()};
    }
    const at::Tensor workspace = at::empty({attention_backward_workspace(shape)}, q.options());
    call.for_each_group([&](std::int64_t sequence, std::int64_t group) {
      const auto q_column = call.q_column(group);
      const MatrixTarget dkv_rows = Sides::target(dkv.defined() ? dkv : dq, sequence);
      attend_backward(shape, call.group(sequence, group), workspace.data_ptr<float>(),
                      call.statistics(statistics, sequence, group),
                      Sides::rows(out_btd, sequence).from_column(q_column),
                      Sides::rows(dout_btd, sequence).from_column(q_column),
                      {Sides::target(dq, sequence).from_column(q_column),
                       dkv_rows.from_column(call.k_column(group)),
                       dkv_rows.from_column(call.v_column(group)), call.of_heads(dbias, group)});
    });
    return {dq, dkv, dbias, at::Tensor()};
  }
};

/// autograd looks for tensors in its own kind of optional, which is std's in later versions only.
at::Tensor apply(const at::Tensor& q, const c10::optional<at::Tensor>& kv,
                 const AttentionSpec& spec) {
  const auto bias =
      spec.bias_htu.defined() ? c10::optional<at::Tensor>(spec.bias_htu) : c10::nullopt;
  return AttentionFunction::apply(q, kv, bias, spec);
}

}  // namespace

at::Tensor attention(const at::Tensor& qkv, const AttentionSpec& spec) {
  return apply(qkv, c10::nullopt, spec);
}

at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec) {
  return apply(q_btd, kv, spec);
}

}  // namespace pg::ops::fast
