#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/gate.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include "ops/autograd.hpp"
#include "ops/fast.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// A factor of the gate and its derivative at h.
struct Factor {
  Vec value;
  Vec slope;
};

struct Sigmoid {
  HWY_INLINE Factor operator()(Vec h) const {
    const Vec s = sigmoid(h);
    return {s, hn::Mul(s, hn::Sub(set(1.0F), s))};
  }
};

struct NormalCdf {
  HWY_INLINE Factor operator()(Vec h) const {
    const Normal n = normal(h);
    return {n.cdf, n.density};
  }
};

struct Gelu {
  HWY_INLINE Factor operator()(Vec h) const {
    const Normal n = normal(h);
    return {hn::Mul(h, n.cdf), hn::MulAdd(h, n.density, n.cdf)};
  }
};

struct Relu {
  HWY_INLINE Factor operator()(Vec h) const {
    const Vec zero = set(0.0F);
    // Not Max: a NaN must stay one.
    return {hn::IfThenElse(hn::Lt(h, zero), zero, h),
            hn::IfThenElse(hn::Gt(h, zero), set(1.0F), zero)};
  }
};

struct Identity {
  HWY_INLINE Factor operator()(Vec h) const { return {h, set(1.0F)}; }
};

struct One {
  HWY_INLINE Factor operator()(Vec) const { return {set(1.0F), set(0.0F)}; }
};

/// alpha * g + (1 - alpha) * b.
template <class G, class B>
struct Mix {
  float alpha;
  float rest;
  HWY_INLINE Factor operator()(Vec h) const {
    const Factor g = G()(h);
    const Factor b = B()(h);
    return {hn::MulAdd(set(alpha), g.value, hn::Mul(set(rest), b.value)),
            hn::MulAdd(set(alpha), g.slope, hn::Mul(set(rest), b.slope))};
  }
};

/// y = h f(h), and in the backward pass dh = dy (f + h f').
template <class F>
void run_gate(const F& factor, const float* h, const float* dy, float* out, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const Vec x = load(h + i, count);
    const Factor f = factor(x);
    const Vec result = dy == nullptr
                           ? hn::Mul(x, f.value)
                           : hn::Mul(load(dy + i, count), hn::MulAdd(x, f.slope, f.value));
    store(result, out + i, count);
  });
}

/// out = gate(h) where dy is null, else dy * gate'(h).
void run_gate_of(const GateSpec& spec, const float* h, const float* dy, float* out,
                 std::int64_t n) {
  const auto alpha = static_cast<float>(spec.alpha);
  const auto rest = static_cast<float>(1 - spec.alpha);
  const auto run = [&](const auto& factor) { run_gate(factor, h, dy, out, n); };
  const bool anchored = spec.form == GateForm::anchored;
  // With alpha = 0 the anchored form is the vanilla unit by definition, so it runs the same code.
  if (spec.unit == GateUnit::gelu || (anchored && spec.alpha == 0)) return run(NormalCdf());
  switch (spec.unit) {
    case GateUnit::pagelu:
      return anchored ? run(Mix<Gelu, NormalCdf>{alpha, rest}) : run(Mix<Gelu, One>{alpha, rest});
    case GateUnit::pareglu:
      return anchored ? run(Mix<Relu, NormalCdf>{alpha, rest}) : run(Mix<Relu, One>{alpha, rest});
    case GateUnit::pasilu:
      if (!anchored) return run(Mix<Sigmoid, Identity>{alpha, rest});
      [[fallthrough]];
    default:
      return anchored ? run(Mix<Sigmoid, NormalCdf>{alpha, rest})
                      : run(Mix<Sigmoid, One>{alpha, rest});
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(run_gate_of);

struct GateFunction : torch::autograd::Function<GateFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& h_input, const GateSpec& spec) {
    const at::Tensor h = h_input.contiguous();
    at::Tensor y = at::empty_like(h);
    HWY_DYNAMIC_DISPATCH(run_gate_of)
    (spec, h.data_ptr<float>(), nullptr, y.data_ptr<float>(), h.numel());
    context->save_for_backward({h});
    context->saved_data["unit"] = static_cast<std::int64_t>(spec.unit);
    context->saved_data["form"] = static_cast<std::int64_t>(spec.form);
    context->saved_data["alpha"] = spec.alpha;
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const at::Tensor h = context->get_saved_variables()[0];
    const at::Tensor dy = gradients[0].contiguous();
    const GateSpec spec{static_cast<GateUnit>(context->saved_data["unit"].toInt()),
                        static_cast<GateForm>(context->saved_data["form"].toInt()),
                        context->saved_data["alpha"].toDouble()};
    at::Tensor dh = at::empty_like(h);
    HWY_DYNAMIC_DISPATCH(run_gate_of)
    (spec, h.data_ptr<float>(), dy.data_ptr<float>(), dh.data_ptr<float>(), h.numel());
    return {dh, at::Tensor()};
  }
};

}  // namespace

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  return GateFunction::apply(h, spec);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
