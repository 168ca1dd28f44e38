#pragma once

#include <cmath>

namespace pg::ops {

/// What one step of AdamW multiplies by: computed in double, as torch does, and rounded to float
/// once.
struct AdamWConstants {
  float scale;  ///< of the gradient
  float decay;  ///< of the parameter: 1 - lr weight_decay
  float beta1, rest1, beta2, rest2;
  float rate;              ///< lr / (1 - beta1^step)
  float root_correction2;  ///< sqrt(1 - beta2^step)
  float eps;
};

/// `settings` is an AdamWSettings; `step` counts from 1.
template <class Settings>
AdamWConstants adamw_constants(const Settings& s, double scale, double step) {
  const auto rounded = [](double value) { return static_cast<float>(value); };
  return {rounded(scale),
          rounded(1 - s.lr * s.weight_decay),
          rounded(s.beta1),
          rounded(1 - s.beta1),
          rounded(s.beta2),
          rounded(1 - s.beta2),
          rounded(s.lr / (1 - std::pow(s.beta1, step))),
          rounded(std::sqrt(1 - std::pow(s.beta2, step))),
          rounded(s.eps)};
}

}  // namespace pg::ops
