#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "postprocess/stats/least_squares.hpp"

namespace pg::post {

/// A function to minimise, with its gradient.
struct Objective {
  std::size_t p = 0;
  /// Value at x; fills `gradient` unless that is empty. NaN or infinity: outside the domain.
  std::function<double(std::span<const double> x, std::span<double> gradient)> value;
};

struct Minimum {
  FitStatus status = FitStatus::not_converged;
  std::string detail;
  std::vector<double> x;
  double value = 0;
  /// Largest |g_i| max(1, |x_i|) / max(1, |value|).
  double gradient_norm = 0;
  int iterations = 0;
  [[nodiscard]] bool ok() const { return status == FitStatus::converged; }
};

/// BFGS with a Wolfe line search (Nocedal and Wright, Numerical Optimization, 6.1 and 3.5);
/// converged when the gradient norm is below `tolerance`.
Minimum minimize_bfgs(const Objective& objective, std::span<const double> start,
                      double tolerance = 1e-9);

/// Nelder-Mead with the adaptive parameters of Gao and Han (2012); `scale` is the first simplex's
/// size per coordinate. For objectives with kinks; converged when the simplex has shrunk to
/// `tolerance` relative size and value.
Minimum minimize_nelder_mead(const Objective& objective, std::span<const double> start,
                             std::span<const double> scale, double tolerance = 1e-12);

}  // namespace pg::post
