#pragma once

#include <string>

namespace pg::ops {

/// Elementwise nonlinearity between the two matrices of an MLP (definitions: paGating papers).
/// With a gate function g, a base b and a mixing parameter alpha:
///   y = h * [alpha * g(h) + (1 - alpha) * b(h)]
enum class GateUnit {
  gelu,     ///< vanilla: h * Phi(h), the exact (erf) form; alpha is not used
  paglu,    ///< g = sigmoid
  pagelu,   ///< g(h) = GELU(h), exact form
  pareglu,  ///< g = max(0, h)
  pasilu,   ///< g = sigmoid
};

enum class GateForm {
  self_gate,  ///< b = 1, except paSiLU: b(h) = h (alpha = 0 gives h^2, alpha = 1 gives SiLU)
  anchored,   ///< b = Phi, so that alpha = 0 is vanilla GELU bit for bit; paSiLU equals paGLU here
};

struct GateSpec {
  GateUnit unit = GateUnit::gelu;
  GateForm form = GateForm::self_gate;
  double alpha = 0.5;
};

}  // namespace pg::ops
