#pragma once

#include <cmath>
#include <cstdint>

#include "ops/device_function.hpp"

// The resolvent of one sequence: each place waits for its neighbour's result, so a sequence holds
// no work for vectors, and a few operations a place are little beside the d^2 of the layer around
// them. Complex numbers stand as pairs of floats; m is L from the left or R from the right.

namespace pg::ops::resolvent_formulas {

/// Not std::complex, whose products and quotients test every result for NaN.
struct Complex {
  float re = 0;
  float im = 0;
};

PG_DEVICE_FUNCTION Complex operator+(Complex x, Complex y) {
  return {x.re + y.re, x.im + y.im};
}

PG_DEVICE_FUNCTION Complex operator-(Complex x, Complex y) {
  return {x.re - y.re, x.im - y.im};
}

PG_DEVICE_FUNCTION Complex operator*(Complex x, Complex y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}

PG_DEVICE_FUNCTION Complex conjugate(Complex x) {
  return {x.re, -x.im};
}

PG_DEVICE_FUNCTION float squared_magnitude(Complex x) {
  return x.re * x.re + x.im * x.im;
}

PG_DEVICE_FUNCTION Complex reciprocal(Complex x) {
  const float squared = squared_magnitude(x);
  return {x.re / squared, -x.im / squared};
}

PG_DEVICE_FUNCTION Complex load(const float* from, std::int64_t i) {
  return {from[2 * i], from[2 * i + 1]};
}

PG_DEVICE_FUNCTION void store(Complex value, float* to, std::int64_t i) {
  to[2 * i] = value.re;
  to[2 * i + 1] = value.im;
}

/// s = a - z of a place with potential v.
PG_DEVICE_FUNCTION Complex shifted(float v) {
  return {v - 2, -1};
}

/// m_i = 1 / (s_i - m of the neighbour before it).
PG_DEVICE_FUNCTION void m_function(const float* v_t, std::int64_t t, bool from_right, float* m_t2) {
  Complex m;
  for (std::int64_t k = 0; k < t; ++k) {
    const auto i = from_right ? t - 1 - k : k;
    m = reciprocal(shifted(v_t[i]) - m);
    store(m, m_t2, i);
  }
}

/// G_ii = 1 / (s_i - L_{i-1} - R_{i+1}).
PG_DEVICE_FUNCTION Complex green(const float* v_t, const float* left_t2, const float* right_t2,
                                 std::int64_t t, std::int64_t i) {
  const Complex left = i > 0 ? load(left_t2, i - 1) : Complex();
  const Complex right = i + 1 < t ? load(right_t2, i + 1) : Complex();
  return reciprocal(shifted(v_t[i]) - left - right);
}

/// U_j = L_j^2 (conj(d_j) + U_{j+1}), dv_j = -Re U_j; d is dL/dRe + i dL/dIm of the value.
PG_DEVICE_FUNCTION void causal_backward(const float* left_t2, const float* d_t2, std::int64_t t,
                                        float* dv_t) {
  Complex u;
  for (std::int64_t j = t; j-- > 0;) {
    const Complex left = load(left_t2, j);
    u = left * left * (conjugate(load(d_t2, j)) + u);
    dv_t[j] = -u.re;
  }
}

/// dv_j = -Re sum_i conj(d_i) G_ij^2. With t_i = conj(d_i) G_ii^2, the places i <= j give
/// S_j = t_j + R_j^2 S_{j-1}, and those beyond j give L_j^2 T_{j+1}, T_j = t_j + L_j^2 T_{j+1}.
PG_DEVICE_FUNCTION void bidirectional_backward(const float* left_t2, const float* right_t2,
                                               const float* g_t2, const float* d_t2, std::int64_t t,
                                               float* dv_t) {
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

/// ResolventGradient::upstream_hybrid at one place. The floor keeps the phase, as upstream does.
PG_DEVICE_FUNCTION float upstream_hybrid(Complex g, Complex d) {
  constexpr float kLimit = 1000.0F;
  const Complex squared = g * g;
  const float magnitude = ::sqrtf(squared_magnitude(squared));
  const float raise = magnitude < 1e-3F ? 1e-3F / (magnitude + 1e-9F) : 1.0F;
  const Complex floored = {squared.re * raise + 1e-6F, squared.im * raise};
  const float blend = -0.5F * (d * squared).re - 0.5F * (d * reciprocal(floored)).re;
  return blend < -kLimit ? -kLimit : blend > kLimit ? kLimit : blend;  // a NaN stays one
}

}  // namespace pg::ops::resolvent_formulas
