#pragma once

#include "ops/autograd.hpp"
#include "ops/dropout.hpp"
#include "ops/ops.hpp"

// Operators as autograd sees them: what is made, kept and handed back, the same on a CPU and on a
// GPU. Kernels says who computes, in static functions over contiguous float32 tensors that are
// there already; outputs come last.

namespace pg::ops {

inline void save_spec(Context* context, const GateSpec& spec) {
  context->saved_data["gate"] = static_cast<std::int64_t>(spec.gate);
  context->saved_data["base"] = static_cast<std::int64_t>(spec.base);
  context->saved_data["alpha"] = spec.alpha;
}

inline GateSpec saved_spec(Context* context) {
  return {static_cast<GateFunction>(context->saved_data["gate"].toInt()),
          static_cast<GateFunction>(context->saved_data["base"].toInt()),
          context->saved_data["alpha"].toDouble()};
}

/// Kernels::gate(spec, x, h, y) is y = x f(h), and Kernels::gate_gradient(spec, x, h, dy, dx, dh)
/// gives dx = dy f(h) and dh = dy x f'(h); in a self-gate x and dx are undefined, x is h, and
/// dh = dy (f + h f').
template <class Kernels>
struct SelfGate : torch::autograd::Function<SelfGate<Kernels>> {
  static at::Tensor forward(Context* context, const at::Tensor& h_input, const GateSpec& spec) {
    const at::Tensor h = h_input.contiguous();
    at::Tensor y = at::empty_like(h);
    Kernels::gate(spec, at::Tensor(), h, y);
    context->save_for_backward({h});
    save_spec(context, spec);
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const at::Tensor h = context->get_saved_variables()[0];
    at::Tensor dh = at::empty_like(h);
    Kernels::gate_gradient(saved_spec(context), at::Tensor(), h, gradients[0].contiguous(),
                           at::Tensor(), dh);
    return {dh, at::Tensor()};
  }
};

template <class Kernels>
struct LinearUnit : torch::autograd::Function<LinearUnit<Kernels>> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input, const at::Tensor& h_input,
                            const GateSpec& spec) {
    const at::Tensor x = x_input.contiguous();
    const at::Tensor h = h_input.contiguous();
    at::Tensor y = at::empty_like(h);
    Kernels::gate(spec, x, h, y);
    context->save_for_backward({x, h});
    save_spec(context, spec);
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    at::Tensor dx = at::empty_like(saved[0]);
    at::Tensor dh = at::empty_like(saved[1]);
    Kernels::gate_gradient(saved_spec(context), saved[0], saved[1], gradients[0].contiguous(), dx,
                           dh);
    return {dx, dh, at::Tensor()};
  }
};

/// Kernels::rms_norm(x, scale, eps, y, r_n), r_n = 1 / sqrt(mean(x^2) + eps) of each row, and
/// Kernels::rms_norm_gradient(x, scale, r_n, dy, dx, dscale).
template <class Kernels>
struct RmsNormFunction : torch::autograd::Function<RmsNormFunction<Kernels>> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input,
                            const at::Tensor& scale_input, double eps) {
    const at::Tensor x = x_input.contiguous();
    const at::Tensor scale = scale_input.contiguous();
    const auto d = scale.size(0);
    at::Tensor y = at::empty_like(x);
    at::Tensor r_n = at::empty({d == 0 ? 0 : x.numel() / d}, x.options());
    Kernels::rms_norm(x, scale, eps, y, r_n);
    context->save_for_backward({x, scale, r_n});
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    at::Tensor dx = at::empty_like(saved[0]);
    at::Tensor dscale = at::empty_like(saved[1]);
    Kernels::rms_norm_gradient(saved[0], saved[1], saved[2], gradients[0].contiguous(), dx, dscale);
    return {dx, dscale, at::Tensor()};
  }
};

/// Kernels::drop(stream, first, x, y): y = x times the factors of the elements from `first` on.
template <class Kernels>
struct DropoutFunction : torch::autograd::Function<DropoutFunction<Kernels>> {
  static at::Tensor forward(Context* context, const at::Tensor& x, const DropoutSite& site) {
    save_dropout(*context, site);
    return dropped(x, site);
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    return {dropped(gradients[0], *saved_dropout(*context)), at::Tensor()};
  }

  static at::Tensor dropped(const at::Tensor& input, const DropoutSite& site) {
    const at::Tensor x = input.contiguous();
    at::Tensor y = at::empty_like(x);
    const auto n = x.numel();
    if (n == 0) return y;
    const auto first = static_cast<std::uint64_t>(site.first_slot * (n / x.size(0)));
    Kernels::drop(dropout_stream(site), first, x, y);
    return y;
  }
};

/// Kernels::m_functions(v, left, right), of which right may be undefined; Kernels::diagonal(v,
/// left, right, g); and one gradient for each form: causal_gradient(left, d, dv),
/// bidirectional_gradient(left, right, g, d, dv), upstream_hybrid_gradient(g, d, dv). Their
/// formulas are in ops/resolvent_formulas.hpp; complex tensors are (b, t, 2).
template <class Kernels>
struct ResolventFunction : torch::autograd::Function<ResolventFunction<Kernels>> {
  static at::Tensor forward(Context* context, const at::Tensor& v_input, bool causal,
                            ResolventGradient gradient) {
    const at::Tensor v_bt = v_input.contiguous();
    const auto complex_bt = [&] {
      return at::empty({v_bt.size(0), v_bt.size(1), 2}, v_bt.options());
    };
    context->saved_data["causal"] = causal;
    context->saved_data["gradient"] = static_cast<std::int64_t>(gradient);
    at::Tensor left_bt2 = complex_bt();
    if (causal) {
      Kernels::m_functions(v_bt, left_bt2, at::Tensor());
      context->save_for_backward({left_bt2});
      return left_bt2;
    }
    at::Tensor right_bt2 = complex_bt();
    at::Tensor g_bt2 = complex_bt();
    Kernels::m_functions(v_bt, left_bt2, right_bt2);
    Kernels::diagonal(v_bt, left_bt2, right_bt2, g_bt2);
    context->save_for_backward({left_bt2, right_bt2, g_bt2});
    return g_bt2;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const auto gradient = static_cast<ResolventGradient>(context->saved_data["gradient"].toInt());
    const at::Tensor d_bt2 = gradients[0].contiguous();
    at::Tensor dv_bt = at::empty({d_bt2.size(0), d_bt2.size(1)}, d_bt2.options());
    if (context->saved_data["causal"].toBool()) {
      Kernels::causal_gradient(saved[0], d_bt2, dv_bt);
    } else if (gradient == ResolventGradient::exact) {
      Kernels::bidirectional_gradient(saved[0], saved[1], saved[2], d_bt2, dv_bt);
    } else {
      Kernels::upstream_hybrid_gradient(saved[2], d_bt2, dv_bt);
    }
    return {dv_bt, at::Tensor(), at::Tensor()};
  }
};

}  // namespace pg::ops
