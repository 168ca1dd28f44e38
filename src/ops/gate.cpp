#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/gate.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>

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

struct Step {
  HWY_INLINE Factor operator()(Vec h) const {
    const Vec zero = set(0.0F);
    const Vec low = hn::IfThenElse(hn::Eq(h, h), zero, h);  // a NaN must stay one
    return {hn::IfThenElse(hn::Gt(h, zero), set(1.0F), low), zero};
  }
};

struct Tanh {
  HWY_INLINE Factor operator()(Vec h) const {
    const Vec t = tanh(h);
    return {t, hn::NegMulAdd(t, t, set(1.0F))};
  }
};

struct NormalCdfTanh {
  HWY_INLINE Factor operator()(Vec h) const {
    constexpr float kTwoRoots = 1.59576912F;  // 2 sqrt(2 / pi)
    const Vec square = hn::Mul(h, h);
    const Vec s =
        sigmoid(hn::Mul(hn::Mul(set(kTwoRoots), h), hn::MulAdd(square, set(0.044715F), set(1.0F))));
    const Vec inner = hn::Mul(set(kTwoRoots), hn::MulAdd(square, set(0.134145F), set(1.0F)));
    // s (1 - s) is zero long before the square overflows; zero times infinity would be NaN.
    const Vec bump = hn::Mul(s, hn::Sub(set(1.0F), s));
    return {s, hn::IfThenElse(hn::Eq(bump, set(0.0F)), bump, hn::Mul(bump, inner))};
  }
};

/// h F(h).
template <class F>
struct Times {
  HWY_INLINE Factor operator()(Vec h) const {
    const Factor f = F()(h);
    return {hn::Mul(h, f.value), hn::MulAdd(h, f.slope, f.value)};
  }
};

/// tanh(softplus(h)) = (1 - r^2) / (1 + r^2) with r = sigmoid(-h).
struct TanhSoftplus {
  HWY_INLINE Factor operator()(Vec h) const {
    const Vec one = set(1.0F);
    const Vec s = sigmoid(h);
    const Vec r = sigmoid(hn::Neg(h));
    const Vec t = hn::Div(hn::Mul(s, hn::Add(one, r)), hn::MulAdd(r, r, one));
    return {t, hn::Mul(hn::NegMulAdd(t, t, one), s)};
  }
};

/// Factors of a block of elements at a time: a function of twelve by twelve pairs would be compiled
/// 144 times, and the block stays in the first-level cache.
constexpr std::int64_t kBlock = 256;

struct Factors {
  HWY_ALIGN float value[kBlock];
  HWY_ALIGN float slope[kBlock];
};

void evaluate(GateFunction function, const float* h, std::int64_t n, Factors& out) {
  const auto run = [&](const auto& f) HWY_ATTR {
    for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Factor factor = f(load(h + i, count));
      store(factor.value, out.value + i, count);
      store(factor.slope, out.slope + i, count);
    });
  };
  switch (function) {
    case GateFunction::one: return run(One());
    case GateFunction::identity: return run(Identity());
    case GateFunction::step: return run(Step());
    case GateFunction::sigmoid: return run(Sigmoid());
    case GateFunction::tanh: return run(Tanh());
    case GateFunction::relu: return run(Relu());
    case GateFunction::normal_cdf: return run(NormalCdf());
    case GateFunction::normal_cdf_tanh: return run(NormalCdfTanh());
    case GateFunction::gelu: return run(Gelu());
    case GateFunction::gelu_tanh: return run(Times<NormalCdfTanh>());
    case GateFunction::silu: return run(Times<Sigmoid>());
    case GateFunction::mish: return run(Times<TanhSoftplus>());
  }
}

/// The mixture of the two and its derivative.
void mix(const GateSpec& spec, const float* h, std::int64_t n, Factors& out) {
  evaluate(spec.base, h, n, out);
  if (spec.alpha == 0) return;
  Factors gate;
  evaluate(spec.gate, h, n, gate);
  const Vec alpha = set(static_cast<float>(spec.alpha));
  const Vec rest = set(static_cast<float>(1 - spec.alpha));
  const auto add = [&](const float* g, float* b) HWY_ATTR {
    for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(hn::MulAdd(alpha, load(g + i, count), hn::Mul(rest, load(b + i, count))), b + i, count);
    });
  };
  add(gate.value, out.value);
  add(gate.slope, out.slope);
}

/// y = x f(h), where x is h itself if it is null.
void run_gate(const GateSpec& spec, const float* x, const float* h, float* y, std::int64_t n) {
  Factors f;
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t size = std::min(kBlock, n - first);
    mix(spec, h + first, size, f);
    const float* from = (x == nullptr ? h : x) + first;
    for_each_vector(size, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(hn::Mul(load(from + i, count), load(f.value + i, count)), y + first + i, count);
    });
  }
}

/// dx = dy f(h) and dh = dy x f'(h); in a self-gate, where x and dx are null, dh = dy (f + h f').
void run_gate_gradient(const GateSpec& spec, const float* x, const float* h, const float* dy,
                       float* dx, float* dh, std::int64_t n) {
  Factors f;
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t size = std::min(kBlock, n - first);
    mix(spec, h + first, size, f);
    for_each_vector(size, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec value = load(f.value + i, count);
      const Vec slope = load(f.slope + i, count);
      const Vec up = load(dy + first + i, count);
      if (x == nullptr) {
        const Vec at = load(h + first + i, count);
        store(hn::Mul(up, hn::MulAdd(at, slope, value)), dh + first + i, count);
      } else {
        store(hn::Mul(up, value), dx + first + i, count);
        store(hn::Mul(hn::Mul(up, load(x + first + i, count)), slope), dh + first + i, count);
      }
    });
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(run_gate);
HWY_EXPORT(run_gate_gradient);

void save_spec(Context* context, const GateSpec& spec) {
  context->saved_data["gate"] = static_cast<std::int64_t>(spec.gate);
  context->saved_data["base"] = static_cast<std::int64_t>(spec.base);
  context->saved_data["alpha"] = spec.alpha;
}

GateSpec saved_spec(Context* context) {
  return {static_cast<GateFunction>(context->saved_data["gate"].toInt()),
          static_cast<GateFunction>(context->saved_data["base"].toInt()),
          context->saved_data["alpha"].toDouble()};
}

struct SelfGate : torch::autograd::Function<SelfGate> {
  static at::Tensor forward(Context* context, const at::Tensor& h_input, const GateSpec& spec) {
    const at::Tensor h = h_input.contiguous();
    at::Tensor y = at::empty_like(h);
    HWY_DYNAMIC_DISPATCH(run_gate)
    (spec, nullptr, h.data_ptr<float>(), y.data_ptr<float>(), h.numel());
    context->save_for_backward({h});
    save_spec(context, spec);
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const at::Tensor h = context->get_saved_variables()[0];
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dh = at::empty_like(h);
    HWY_DYNAMIC_DISPATCH(run_gate_gradient)
    (saved_spec(context), nullptr, h.data_ptr<float>(), dy.data_ptr<float>(), nullptr,
     dh.data_ptr<float>(), h.numel());
    return {dh, at::Tensor()};
  }
};

struct LinearUnit : torch::autograd::Function<LinearUnit> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input, const at::Tensor& h_input,
                            const GateSpec& spec) {
    const at::Tensor x = x_input.contiguous();
    const at::Tensor h = h_input.contiguous();
    at::Tensor y = at::empty_like(h);
    HWY_DYNAMIC_DISPATCH(run_gate)
    (spec, x.data_ptr<float>(), h.data_ptr<float>(), y.data_ptr<float>(), h.numel());
    context->save_for_backward({x, h});
    save_spec(context, spec);
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& h = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dx = at::empty_like(x);
    at::Tensor dh = at::empty_like(h);
    HWY_DYNAMIC_DISPATCH(run_gate_gradient)
    (saved_spec(context), x.data_ptr<float>(), h.data_ptr<float>(), dy.data_ptr<float>(),
     dx.data_ptr<float>(), dh.data_ptr<float>(), h.numel());
    return {dx, dh, at::Tensor()};
  }
};

}  // namespace

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  return SelfGate::apply(h, spec);
}

at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec) {
  return LinearUnit::apply(x, h, spec);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
