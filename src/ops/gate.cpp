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

/// The factor of a function alone.
template <class F>
struct Alone {
  HWY_INLINE Factor operator()(Vec h, std::int64_t, std::int64_t) const { return F()(h); }
};

/// alpha * g + (1 - alpha) * b. One expression, so that what g and b share is computed once.
template <class G, class B>
struct Mix {
  float alpha;
  float rest;
  HWY_INLINE Factor operator()(Vec h, std::int64_t, std::int64_t) const {
    const Factor g = G()(h);
    const Factor b = B()(h);
    return {hn::MulAdd(set(alpha), g.value, hn::Mul(set(rest), b.value)),
            hn::MulAdd(set(alpha), g.slope, hn::Mul(set(rest), b.slope))};
  }
};

/// Elements at a time where the base waits in memory, which stays in the first-level cache.
constexpr std::int64_t kBlock = 256;

struct Factors {
  HWY_ALIGN float value[kBlock];
  HWY_ALIGN float slope[kBlock];
};

/// The same with b as it stands in a block: for pairs too rare to compile 144 of them.
template <class G>
struct MixWith {
  float alpha;
  float rest;
  const Factors& base;
  HWY_INLINE Factor operator()(Vec h, std::int64_t i, std::int64_t count) const {
    const Factor g = G()(h);
    return {hn::MulAdd(set(alpha), g.value, hn::Mul(set(rest), load(base.value + i, count))),
            hn::MulAdd(set(alpha), g.slope, hn::Mul(set(rest), load(base.slope + i, count)))};
  }
};

template <class Visit>
void with_function(GateFunction function, const Visit& visit) {
  switch (function) {
    case GateFunction::one: return visit(One());
    case GateFunction::identity: return visit(Identity());
    case GateFunction::step: return visit(Step());
    case GateFunction::sigmoid: return visit(Sigmoid());
    case GateFunction::tanh: return visit(Tanh());
    case GateFunction::relu: return visit(Relu());
    case GateFunction::normal_cdf: return visit(NormalCdf());
    case GateFunction::normal_cdf_tanh: return visit(NormalCdfTanh());
    case GateFunction::gelu: return visit(Times<NormalCdf>());
    case GateFunction::gelu_tanh: return visit(Times<NormalCdfTanh>());
    case GateFunction::silu: return visit(Times<Sigmoid>());
    case GateFunction::mish: return visit(Times<TanhSoftplus>());
  }
}

/// Calls run(factor, first, size) over [0, n), in one piece wherever the base is a frequent one.
template <class Run>
void with_factor(const GateSpec& spec, const float* h, std::int64_t n, const Run& run) {
  const auto alpha = static_cast<float>(spec.alpha);
  const auto rest = static_cast<float>(1 - spec.alpha);
  if (spec.alpha == 0) {
    return with_function(spec.base, [&](auto b) HWY_ATTR { run(Alone<decltype(b)>(), 0, n); });
  }
  with_function(spec.gate, [&](auto g) HWY_ATTR {
    using G = decltype(g);
    switch (spec.base) {
      case GateFunction::one: return run(Mix<G, One>{alpha, rest}, 0, n);
      case GateFunction::identity: return run(Mix<G, Identity>{alpha, rest}, 0, n);
      case GateFunction::normal_cdf: return run(Mix<G, NormalCdf>{alpha, rest}, 0, n);
      default: break;
    }
    Factors base;
    for (std::int64_t first = 0; first < n; first += kBlock) {
      const std::int64_t size = std::min(kBlock, n - first);
      with_function(spec.base, [&](auto b) HWY_ATTR {
        for_each_vector(size, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
          const Factor factor = b(load(h + first + i, count));
          store(factor.value, base.value + i, count);
          store(factor.slope, base.slope + i, count);
        });
      });
      run(MixWith<G>{alpha, rest, base}, first, size);
    }
  });
}

/// y = x f(h), where x is h itself if it is null.
void run_gate(const GateSpec& spec, const float* x, const float* h, float* y, std::int64_t n) {
  with_factor(spec, h, n, [&](const auto& factor, std::int64_t first, std::int64_t size) HWY_ATTR {
    for_each_vector(size, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec at = load(h + first + i, count);
      const Vec from = x == nullptr ? at : load(x + first + i, count);
      store(hn::Mul(from, factor(at, i, count).value), y + first + i, count);
    });
  });
}

/// dx = dy f(h) and dh = dy x f'(h); in a self-gate, where x and dx are null, dh = dy (f + h f').
void run_gate_gradient(const GateSpec& spec, const float* x, const float* h, const float* dy,
                       float* dx, float* dh, std::int64_t n) {
  with_factor(spec, h, n, [&](const auto& factor, std::int64_t first, std::int64_t size) HWY_ATTR {
    for_each_vector(size, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec at = load(h + first + i, count);
      const Factor f = factor(at, i, count);
      const Vec up = load(dy + first + i, count);
      if (x == nullptr) {
        store(hn::Mul(up, hn::MulAdd(at, f.slope, f.value)), dh + first + i, count);
      } else {
        store(hn::Mul(up, f.value), dx + first + i, count);
        store(hn::Mul(hn::Mul(up, load(x + first + i, count)), f.slope), dh + first + i, count);
      }
    });
  });
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
