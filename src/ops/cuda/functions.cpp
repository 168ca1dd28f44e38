#include "ops/functions.hpp"

#include <algorithm>
#include <limits>

#include "ops/adamw.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/cuda/kernels.hpp"
#include "ops/cuda/on_device.hpp"

namespace pg::ops::cuda {
namespace {

float* data(const at::Tensor& x) {
  return x.defined() ? x.data_ptr<float>() : nullptr;
}

struct Kernels {
  static void gate(const GateSpec& spec, const at::Tensor& x, const at::Tensor& h, at::Tensor& y) {
    kernels::gate(spec, data(x), data(h), data(y), h.numel(), OnDevice(h));
  }

  static void gate_gradient(const GateSpec& spec, const at::Tensor& x, const at::Tensor& h,
                            const at::Tensor& dy, const at::Tensor& dx, at::Tensor& dh) {
    kernels::gate_gradient(spec, data(x), data(h), data(dy), data(dx), data(dh), h.numel(),
                           OnDevice(h));
  }

  static void rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps, at::Tensor& y,
                       at::Tensor& r_n) {
    kernels::rms_norm(data(x), data(scale), eps, r_n.size(0), scale.size(0), data(y), data(r_n),
                      OnDevice(x));
  }

  static void rms_norm_gradient(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& r_n,
                                const at::Tensor& dy, at::Tensor& dx, at::Tensor& dscale) {
    const auto n = r_n.size(0);
    const auto d = scale.size(0);
    const auto n_blocks = (n + kernels::kRowBlock - 1) / kernels::kRowBlock;
    const at::Tensor partial = at::empty({n_blocks, d}, x.options());
    kernels::rms_norm_gradient(data(x), data(scale), data(r_n), data(dy), n, d, data(dx),
                               data(partial), OnDevice(x));
    // Blocks of rows in float, their sum in double: the error must not grow with the batch.
    dscale.copy_(partial.sum(0, false, at::kDouble));
  }

  static void drop(const DropoutStream& stream, std::uint64_t first, const at::Tensor& x,
                   at::Tensor& y) {
    kernels::drop(stream, first, data(x), x.numel(), data(y), OnDevice(x));
  }

  static void m_functions(const at::Tensor& v_bt, const at::Tensor& left_bt2,
                          const at::Tensor& right_bt2) {
    kernels::m_functions(data(v_bt), v_bt.size(0), v_bt.size(1), data(left_bt2), data(right_bt2),
                         OnDevice(v_bt));
  }

  static void diagonal(const at::Tensor& v_bt, const at::Tensor& left_bt2,
                       const at::Tensor& right_bt2, const at::Tensor& g_bt2) {
    kernels::diagonal(data(v_bt), data(left_bt2), data(right_bt2), v_bt.size(0), v_bt.size(1),
                      data(g_bt2), OnDevice(v_bt));
  }

  static void causal_gradient(const at::Tensor& left_bt2, const at::Tensor& d_bt2,
                              const at::Tensor& dv_bt) {
    kernels::causal_gradient(data(left_bt2), data(d_bt2), dv_bt.size(0), dv_bt.size(1), data(dv_bt),
                             OnDevice(dv_bt));
  }

  static void bidirectional_gradient(const at::Tensor& left_bt2, const at::Tensor& right_bt2,
                                     const at::Tensor& g_bt2, const at::Tensor& d_bt2,
                                     const at::Tensor& dv_bt) {
    kernels::bidirectional_gradient(data(left_bt2), data(right_bt2), data(g_bt2), data(d_bt2),
                                    dv_bt.size(0), dv_bt.size(1), data(dv_bt), OnDevice(dv_bt));
  }

  static void upstream_hybrid_gradient(const at::Tensor& g_bt2, const at::Tensor& d_bt2,
                                       const at::Tensor& dv_bt) {
    kernels::upstream_hybrid_gradient(data(g_bt2), data(d_bt2), dv_bt.numel(), data(dv_bt),
                                      OnDevice(dv_bt));
  }
};

struct CrossEntropyFunction : torch::autograd::Function<CrossEntropyFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& logits_input,
                            const at::Tensor& targets_input, double smoothing) {
    const at::Tensor logits_nv = logits_input.contiguous();
    const at::Tensor targets_n = targets_input.contiguous();
    const auto n = logits_nv.size(0);
    const auto v = logits_nv.size(1);
    const at::Tensor max_n = at::empty({n}, logits_nv.options());
    const at::Tensor inverse_n = at::empty_like(max_n);
    const at::Tensor loss_n = at::empty({n}, logits_nv.options().dtype(at::kDouble));
    kernels::row_losses({n, v, v}, data(logits_nv), targets_n.data_ptr<std::int64_t>(), smoothing,
                        loss_n.data_ptr<double>(), data(max_n), data(inverse_n),
                        OnDevice(logits_nv));
    context->save_for_backward({logits_nv, targets_n, max_n, inverse_n});
    context->saved_data["smoothing"] = smoothing;
    return loss_n.sum();
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& logits_nv = saved[0];
    const at::Tensor dlogits_nv = at::empty_like(logits_nv);
    // It stays where it is: to read it here would wait for everything before it.
    const at::Tensor dy = gradients[0].to(at::kDouble).contiguous();
    const auto v = logits_nv.size(1);
    kernels::row_loss_gradient(
        {logits_nv.size(0), v, v}, data(logits_nv), saved[1].data_ptr<std::int64_t>(),
        context->saved_data["smoothing"].toDouble(), data(saved[2]), data(saved[3]),
        dy.data_ptr<double>(), data(dlogits_nv), OnDevice(logits_nv));
    return {dlogits_nv, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  return RmsNormFunction<Kernels>::apply(x, scale, eps);
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps) {
  return at::layer_norm(x, scale.sizes(), scale, bias, eps);
}

at::Tensor dropout(const at::Tensor& x, const DropoutSite& site) {
  return DropoutFunction<Kernels>::apply(x, site);
}

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  return SelfGate<Kernels>::apply(h, spec);
}

at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec) {
  return LinearUnit<Kernels>::apply(x, h, spec);
}

at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient) {
  return ResolventFunction<Kernels>::apply(v_bt, causal, gradient);
}

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing) {
  return CrossEntropyFunction::apply(logits_nv, targets_n, smoothing);
}

void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& settings) {
  kernels::adamw(adamw_constants(settings, scale, static_cast<double>(step)), data(gradient),
                 parameter.numel(), data(parameter), data(moment1), data(moment2),
                 OnDevice(parameter));
}

void add_squares(const at::Tensor& values, ExactSum& sum) {
  const at::Tensor sums = at::zeros({kernels::kExponents, 2}, values.options().dtype(at::kLong));
  kernels::mantissa_squares(data(values), values.numel(),
                            reinterpret_cast<unsigned long long*>(sums.data_ptr<std::int64_t>()),
                            OnDevice(values));
  const at::Tensor host = sums.cpu();
  const auto of_exponent = host.accessor<std::int64_t, 2>();
  constexpr int kSpecial = kernels::kExponents - 1;
  for (int exponent = 0; exponent < kSpecial; ++exponent) {
    // Bit 0 of a mantissa counts 2^-149 in subnormal numbers, and in the least normal ones.
    const int power = 2 * (std::max(exponent, 1) - 150);
    sum.add(static_cast<std::uint64_t>(of_exponent[exponent][0]), power);
    sum.add(static_cast<std::uint64_t>(of_exponent[exponent][1]), power + 32);
  }
  using Limits = std::numeric_limits<double>;
  if (of_exponent[kSpecial][0] != 0) sum.add(Limits::infinity());
  if (of_exponent[kSpecial][1] != 0) sum.add(Limits::quiet_NaN());
}

}  // namespace pg::ops::cuda
