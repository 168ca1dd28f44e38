#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/gate.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>

#include "ops/fast.hpp"
#include "ops/functions.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

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
    return mixed(set(alpha), g, set(rest), b);
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
    return mixed(set(alpha), g, set(rest),
                 {load(base.value + i, count), load(base.slope + i, count)});
  }
};

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
        store(self_gradient(at, f, up), dh + first + i, count);
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

const float* data_or_null(const at::Tensor& x) {
  return x.defined() ? x.data_ptr<float>() : nullptr;
}

struct GateKernels {
  static void gate(const GateSpec& spec, const at::Tensor& x, const at::Tensor& h, at::Tensor& y) {
    HWY_DYNAMIC_DISPATCH(run_gate)
    (spec, data_or_null(x), h.data_ptr<float>(), y.data_ptr<float>(), h.numel());
  }

  static void gate_gradient(const GateSpec& spec, const at::Tensor& x, const at::Tensor& h,
                            const at::Tensor& dy, const at::Tensor& dx, at::Tensor& dh) {
    HWY_DYNAMIC_DISPATCH(run_gate_gradient)
    (spec, data_or_null(x), h.data_ptr<float>(), dy.data_ptr<float>(),
     dx.defined() ? dx.data_ptr<float>() : nullptr, dh.data_ptr<float>(), h.numel());
  }
};

}  // namespace

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  return SelfGate<GateKernels>::apply(h, spec);
}

at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec) {
  return LinearUnit<GateKernels>::apply(x, h, spec);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
