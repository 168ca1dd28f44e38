#include <ATen/Context.h>

#include <limits>
#include <optional>
#include <tuple>

#include "ops/autograd.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/cuda/kernels.hpp"
#include "ops/cuda/library_attention.hpp"
#include "ops/cuda/on_device.hpp"

#ifdef PG_LIBRARY_ATTENTION
#include <ATen/SDPBackend.h>
#endif

// The library's kernels for attention without a (t, u) matrix: flash for half precision, the
// memory-efficient one for float32 and where there is a bias. What neither takes, and dropout,
// whose random numbers are ours, takes the reference.

namespace pg::ops::cuda {
namespace {

/// y = x with every head rotated by the angle of its row's position.
struct Rotation : torch::autograd::Function<Rotation> {
  static at::Tensor forward(Context* context, const at::Tensor& x_btd, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return rotated(x_btd, cos, sin, 1);
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    return {rotated(gradients[0], saved[0], saved[1], -1), at::Tensor(), at::Tensor()};
  }

  static at::Tensor rotated(const at::Tensor& input, const at::Tensor& cos, const at::Tensor& sin,
                            float direction) {
    // Rows of q or k may stand inside of longer ones, at one distance from each other.
    const bool in_rows = input.stride(2) == 1 && input.stride(0) == input.size(1) * input.stride(1);
    const at::Tensor x = in_rows ? input : input.contiguous();
    at::Tensor y = at::empty(x.sizes(), x.options());
    const auto half = cos.size(1);
    kernels::rotate({x.size(0) * x.size(1), x.size(1), x.size(2) / (2 * half), half, x.stride(1)},
                    x.data_ptr<float>(), cos.data_ptr<float>(), sin.data_ptr<float>(), direction,
                    y.data_ptr<float>(), OnDevice(x));
    return y;
  }
};

at::Tensor rotate(const at::Tensor& x_btd, const Rope& rope) {
  return Rotation::apply(x_btd, rope.cos.contiguous(), rope.sin.contiguous());
}

#ifdef PG_LIBRARY_ATTENTION

/// While it lives, the library's kernels give equal bits on every call. It has a switch for the
/// whole process only, which other threads here do not look at while a pass runs.
class Deterministic {
 public:
  Deterministic() {
    context_.setDeterministicAlgorithms(true, false);
    context_.setDeterministicFillUninitializedMemory(false);
  }
  ~Deterministic() {
    context_.setDeterministicAlgorithms(was_on_, warned_only_);
    context_.setDeterministicFillUninitializedMemory(filled_);
  }
  Deterministic(const Deterministic&) = delete;
  Deterministic& operator=(const Deterministic&) = delete;

 private:
  at::Context& context_ = at::globalContext();
  bool was_on_ = context_.deterministicAlgorithms();
  bool warned_only_ = context_.deterministicAlgorithmsWarnOnly();
  bool filled_ = context_.deterministicFillUninitializedMemory();
};

/// All (b, heads, t or u, d_head); the bias (b, heads, t, u) or undefined.
struct Inputs {
  at::Tensor q, k, v, bias;
  bool causal;
  double scale;

  [[nodiscard]] std::optional<at::Tensor> optional_bias() const {
    return bias.defined() ? std::optional(bias) : std::nullopt;
  }
};

at::SDPBackend choose_kernel(const Inputs& in) {
  const bool grouped = in.q.size(1) != in.k.size(1);
  // Both kernels move 16 bytes at a time.
  const bool aligned = in.q.size(3) * in.q.element_size() % 16 == 0;
  if (!aligned || in.q.numel() == 0 || in.k.numel() == 0) return at::SDPBackend::math;
  const Deterministic deterministic;
  return static_cast<at::SDPBackend>(at::_fused_sdp_choice(in.q, in.k, in.v, in.optional_bias(),
                                                           0.0, in.causal, in.scale, grouped));
}

struct Flash : torch::autograd::Function<Flash> {
  static at::Tensor forward(Context* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, bool causal, double scale) {
    const Deterministic deterministic;
    const auto result = at::_scaled_dot_product_flash_attention(q, k, v, 0.0, causal, false, scale);
    const at::Tensor& out = std::get<0>(result);
    context->save_for_backward(
        {q, k, v, out, std::get<1>(result), std::get<6>(result), std::get<7>(result)});
    context->saved_data["causal"] = causal;
    context->saved_data["scale"] = scale;
    return out;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const Deterministic deterministic;
    const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_backward(
        gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], at::Tensor(), at::Tensor(),
        saved[0].size(2), saved[1].size(2), 0.0, context->saved_data["causal"].toBool(), saved[5],
        saved[6], context->saved_data["scale"].toDouble());
    return {dq, dk, dv, at::Tensor(), at::Tensor()};
  }
};

struct Efficient : torch::autograd::Function<Efficient> {
  static at::Tensor forward(Context* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const std::optional<at::Tensor>& bias, bool causal,
                            double scale) {
    const Deterministic deterministic;
    const auto result =
        at::_scaled_dot_product_efficient_attention(q, k, v, bias, true, 0.0, causal, scale);
    const at::Tensor& out = std::get<0>(result);
    context->save_for_backward({q, k, v, bias.value_or(at::Tensor()), out, std::get<1>(result),
                                std::get<2>(result), std::get<3>(result)});
    context->saved_data["causal"] = causal;
    context->saved_data["scale"] = scale;
    return out;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const Deterministic deterministic;
    const auto [dq, dk, dv, dbias] = at::_scaled_dot_product_efficient_attention_backward(
        gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], saved[6],
        saved[7], 0.0, {true, true, true, saved[3].defined()},
        context->saved_data["causal"].toBool(), context->saved_data["scale"].toDouble());
    return {dq, dk, dv, dbias, at::Tensor(), at::Tensor()};
  }
};

/// (b, t, heads d_head) in `type` -> (b, heads, t, d_head), a view where it was of that type.
at::Tensor heads_of(const at::Tensor& x_btd, std::int64_t d_head, at::ScalarType type) {
  return x_btd.to(type)
      .reshape({x_btd.size(0), x_btd.size(1), x_btd.size(2) / d_head, d_head})
      .transpose(1, 2);
}

/// The bias for every sequence. Its rows begin at multiples of 16 elements, which is what the
/// kernel asks for, and it hides the future itself: with `causal` beside a bias the kernel would
/// leave out whole blocks of the bias' gradient.
at::Tensor bias_for(const at::Tensor& bias_htu, bool causal, std::int64_t b, at::ScalarType type) {
  if (!bias_htu.defined()) return bias_htu;
  const auto t = bias_htu.size(1);
  const auto u = bias_htu.size(2);
  at::Tensor bias = at::constant_pad_nd(bias_htu, {0, (u + 15) / 16 * 16 - u});
  if (causal) {
    const at::Tensor future = at::ones({t, bias.size(2)}, bias.options().dtype(at::kBool)).triu(1);
    bias = bias.masked_fill(future, -std::numeric_limits<double>::infinity());
  }
  return bias.to(type).narrow(2, 0, u).unsqueeze(0).expand({b, bias.size(0), t, u});
}

/// By one of the library's kernels in `type`, (b, t, heads d_head) of that type; undefined where it
/// has none.
at::Tensor library_attention(const at::Tensor& q_btd, const at::Tensor& k_bud,
                             const at::Tensor& v_bud, const AttentionSpec& spec,
                             at::ScalarType type) {
  const auto d_head = q_btd.size(2) / spec.n_heads;
  Inputs in{heads_of(q_btd, d_head, type),
            heads_of(k_bud, d_head, type),
            heads_of(v_bud, d_head, type),
            bias_for(spec.bias_htu, spec.causal, q_btd.size(0), type),
            spec.causal && !spec.bias_htu.defined(),
            spec.scale_of(d_head)};
  auto kernel = choose_kernel(in);
  if (kernel != at::SDPBackend::flash_attention && in.k.size(1) != spec.n_heads) {
    in.k = heads_of(reference::repeat_heads(k_bud, q_btd.size(2), d_head), d_head, type);
    in.v = heads_of(reference::repeat_heads(v_bud, q_btd.size(2), d_head), d_head, type);
    kernel = choose_kernel(in);
  }
  at::Tensor out_bhtk;
  if (kernel == at::SDPBackend::flash_attention) {
    out_bhtk = Flash::apply(in.q, in.k, in.v, in.causal, in.scale);
  } else if (kernel == at::SDPBackend::efficient_attention) {
    out_bhtk = Efficient::apply(in.q, in.k, in.v, in.optional_bias(), in.causal, in.scale);
  }
  return out_bhtk.defined() ? out_bhtk.transpose(1, 2).reshape(q_btd.sizes()) : out_bhtk;
}

#else

at::Tensor library_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                             const AttentionSpec&, at::ScalarType) {
  return {};
}

#endif

}  // namespace

at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& k_bud, const at::Tensor& v_bud,
                     const AttentionSpec& spec) {
  AttentionSpec rest = spec;
  at::Tensor q = q_btd;
  at::Tensor k = k_bud;
  if (spec.rope) {
    q = rotate(q, *spec.rope);
    k = rotate(k, *spec.rope);
    rest.rope = std::nullopt;
  }
  at::Tensor out;
  if (spec.dropout.p == 0) {
    const at::ScalarType type = scalar_type(spec.precision);
    out = library_attention(q, k, v_bud, rest, type);
    if (!out.defined() && type != at::kFloat) {
      out = library_attention(q, k, v_bud, rest, at::kFloat);
    }
  }
  return out.defined() ? out.to(at::kFloat) : reference::attention(q, k, v_bud, rest);
}

}  // namespace pg::ops::cuda
