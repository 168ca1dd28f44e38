#pragma once

namespace pg::ops {

/// The elementwise functions that gates and bases are made of.
enum class GateFunction {
  one,              ///< 1
  identity,         ///< h
  step,             ///< 1 where h > 0, else 0: ReLU(h) / h
  sigmoid,          ///< 1 / (1 + e^-h): SiLU(h) / h
  tanh,             ///< hyperbolic tangent
  relu,             ///< max(0, h)
  normal_cdf,       ///< Phi(h), the exact (erf) form: GELU(h) / h
  normal_cdf_tanh,  ///< (1 + tanh(sqrt(2 / pi) (h + 0.044715 h^3))) / 2: GPT-2's GELU, over h
  gelu,             ///< h Phi(h), exact
  gelu_tanh,        ///< h times normal_cdf_tanh
  silu,             ///< h sigmoid(h); Swish with beta = 1
  mish,             ///< h tanh(ln(1 + e^h))
};

/// A mixture of a gate function g and a base b, which multiplies what passes through (paGating, the
/// papers' eq. 2):  y = x * [alpha * g(h) + (1 - alpha) * b(h)],  with x = h in a self-gate.
/// With alpha = 0 only b is computed: with b = phi(h) / h the unit is the activation phi bit for
/// bit.
struct GateSpec {
  GateFunction gate = GateFunction::one;
  GateFunction base = GateFunction::normal_cdf;
  double alpha = 0;

  /// h b(h), the plain nonlinearity whose factor is `base`.
  static GateSpec activation(GateFunction base) { return {GateFunction::one, base, 0}; }
};

}  // namespace pg::ops
