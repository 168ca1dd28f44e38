#include <algorithm>
#include <cmath>

#include "ops/autograd.hpp"
#include "ops/fast.hpp"

// Plain loops: each place waits for its neighbour's result, so a sequence holds no work for
// vectors, and a few operations a place are little beside the d^2 of the layer around them.

namespace pg::ops::fast {
namespace {

/// Not std::complex, whose products and quotients test every result for NaN.
struct Complex {
  float re = 0;
  float im = 0;
};

Complex operator+(Complex x, Complex y) {
  return {x.re + y.re, x.im + y.im};
}

Complex operator-(Complex x, Complex y) {
  return {x.re - y.re, x.im - y.im};
}

Complex operator*(Complex x, Complex y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}

Complex conjugate(Complex x) {
  return {x.re, -x.im};
}

float squared_magnitude(Complex x) {
  return x.re * x.re + x.im * x.im;
}

Complex reciprocal(Complex x) {
  const float squared = squared_magnitude(x);
  return {x.re / squared, -x.im / squared};
}

Complex load(const float* from, std::int64_t i) {
  return {from[2 * i], from[2 * i + 1]};
}

void store(Complex value, float* to, std::int64_t i) {
  to[2 * i] = value.re;
  to[2 * i + 1] = value.im;
}

/// s = a - z of a place with potential v.
Complex shifted(float v) {
  return {v - 2, -1};
}

/// m_i = 1 / (s_i - m of the neighbour before it), L from the left or R from the right.
void m_function(const float* v_t, std::int64_t t, bool from_right, float* m_t2) {
  Complex m;
  for (std::int64_t k = 0; k < t; ++k) {
    const auto i = from_right ? t - 1 - k : k;
    m = reciprocal(shifted(v_t[i]) - m);
    store(m, m_t2, i);
  }
}

/// G_ii = 1 / (s_i - L_{i-1} - R_{i+1}).
void diagonal(const float* v_t, const float* left_t2, const float* right_t2, std::int64_t t,
              float* g_t2) {
  for (std::int64_t i = 0; i < t; ++i) {
    const Complex left = i > 0 ? load(left_t2, i - 1) : Complex();
    const Complex right = i + 1 < t ? load(right_t2, i + 1) : Complex();
    store(reciprocal(shifted(v_t[i]) - left - right), g_t2, i);
  }
}

/// U_j = L_j^2 (conj(d_j) + U_{j+1}), dv_j = -Re U_j; d is dL/dRe + i dL/dIm of the value.
void causal_backward(const float* left_t2, const float* d_t2, std::int64_t t, float* dv_t) {
  Complex u;
  for (std::int64_t j = t; j-- > 0;) {
    const Complex left = load(left_t2, j);
    u = left * left * (conjugate(load(d_t2, j)) + u);
    dv_t[j] = -u.re;
  }
}

/// dv_j = -Re sum_i conj(d_i) G_ij^2. With t_i = conj(d_i) G_ii^2, the places i <= j give
/// S_j = t_j + R_j^2 S_{j-1}, and those beyond j give L_j^2 T_{j+1}, T_j = t_j + L_j^2 T_{j+1}.
void bidirectional_backward(const float* left_t2, const float* right_t2, const float* g_t2,
                            const float* d_t2, std::int64_t t, float* dv_t) {
  const auto own = [&](std::int64_t j) {
    const Complex g = load(g_t2, j);
    return g * g * conjugate(load(d_t2, j));
  };
  Complex later;
  for (std::int64_t j = t; j-- > 0;) {
    const Complex left = load(left_t2, j);
    later = left * left * later;
    dv_t[j] = -later.re;
    later = own(j) + later;
  }
  Complex earlier;
  for (std::int64_t j = 0; j < t; ++j) {
    const Complex right = load(right_t2, j);
    earlier = own(j) + right * right * earlier;
    dv_t[j] -= earlier.re;
  }
}

/// ResolventGradient::upstream_hybrid. The floor keeps the phase, as upstream does.
void upstream_hybrid_backward(const float* g_t2, const float* d_t2, std::int64_t t, float* dv_t) {
  for (std::int64_t j = 0; j < t; ++j) {
    const Complex d = load(d_t2, j);
    const Complex g = load(g_t2, j);
    const Complex squared = g * g;
    const float magnitude = std::sqrt(squared_magnitude(squared));
    const float raise = magnitude < 1e-3F ? 1e-3F / (magnitude + 1e-9F) : 1.0F;
    const Complex floored = {squared.re * raise + 1e-6F, squared.im * raise};
    const float blend = -0.5F * (d * squared).re - 0.5F * (d * reciprocal(floored)).re;
    dv_t[j] = std::clamp(blend, -1000.0F, 1000.0F);
  }
}

struct ResolventFunction : torch::autograd::Function<ResolventFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& v_input, bool causal,
                            ResolventGradient gradient) {
    const at::Tensor v_bt = v_input.contiguous();
    const auto b = v_bt.size(0);
    const auto t = v_bt.size(1);
    const auto complex_bt = [&] { return at::empty({b, t, 2}, v_bt.options()); };
    const auto* v = v_bt.data_ptr<float>();
    at::Tensor left_bt2 = complex_bt();
    auto* left = left_bt2.data_ptr<float>();
    for (std::int64_t row = 0; row < b; ++row) {
      m_function(v + row * t, t, false, left + row * 2 * t);
    }
    context->saved_data["causal"] = causal;
    context->saved_data["gradient"] = static_cast<std::int64_t>(gradient);
    if (causal) {
      context->save_for_backward({left_bt2});
      return left_bt2;
    }
    at::Tensor right_bt2 = complex_bt();
    at::Tensor g_bt2 = complex_bt();
    auto* right = right_bt2.data_ptr<float>();
    auto* g = g_bt2.data_ptr<float>();
    for (std::int64_t row = 0; row < b; ++row) {
      const auto offset = row * 2 * t;
      m_function(v + row * t, t, true, right + offset);
      diagonal(v + row * t, left + offset, right + offset, t, g + offset);
    }
    context->save_for_backward({left_bt2, right_bt2, g_bt2});
    return g_bt2;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const bool causal = context->saved_data["causal"].toBool();
    const auto gradient = static_cast<ResolventGradient>(context->saved_data["gradient"].toInt());
    const at::Tensor d_bt2 = gradients[0].contiguous();
    const auto b = d_bt2.size(0);
    const auto t = d_bt2.size(1);
    at::Tensor dv_bt = at::empty({b, t}, d_bt2.options());
    for (std::int64_t row = 0; row < b; ++row) {
      const auto row_of = [&](const at::Tensor& x_bt2) {
        return x_bt2.data_ptr<float>() + row * 2 * t;
      };
      auto* dv = dv_bt.data_ptr<float>() + row * t;
      if (causal) {
        causal_backward(row_of(saved[0]), row_of(d_bt2), t, dv);
      } else if (gradient == ResolventGradient::exact) {
        bidirectional_backward(row_of(saved[0]), row_of(saved[1]), row_of(saved[2]), row_of(d_bt2),
                               t, dv);
      } else {
        upstream_hybrid_backward(row_of(saved[2]), row_of(d_bt2), t, dv);
      }
    }
    return {dv_bt, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient) {
  return ResolventFunction::apply(v_bt, causal, gradient);
}

}  // namespace pg::ops::fast
