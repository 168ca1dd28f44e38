#pragma once

#include <optional>
#include <span>
#include <vector>

#include "postprocess/fits/law.hpp"

namespace pg::post {

/// ln(e^e + e^(a - alpha ln N) + e^(b - beta ln D)) at (a, b, e, alpha, beta), with its derivatives
/// unless `gradient` is empty.
double chinchilla_ln_loss(std::span<const double> p, double ln_n, double ln_d,
                          std::span<double> gradient);

/// The points of a fit in logarithms, equal ones counted by weight, and what the fits need of them.
class ChinchillaSurface {
 public:
  explicit ChinchillaSurface(const LawData& data);
  [[nodiscard]] std::size_t size() const { return ln_l_.size(); }

  /// Sum of Huber's function of the residuals; its gradient unless that is empty. An infinite
  /// delta: half the sum of squares.
  double huber(std::span<const double> p, double delta, std::span<double> gradient) const;
  double absolute(std::span<const double> p) const;
  /// Largest gradient component against the sum of its terms' sizes.
  double relative_gradient(std::span<const double> p, double delta) const;
  double residual_sd(std::span<const double> p) const;
  /// All residuals are rounding.
  bool exact(std::span<const double> p) const;

  /// The best `count` of the published 4,500 starts, by the sum of Huber(1e-3).
  std::vector<std::vector<double>> best_of_grid(std::size_t count) const;
  /// Gauss-Newton steps with Huber's weights, halved where they do not descend.
  std::vector<double> reweighted(std::vector<double> p, double delta) const;
  /// U with U U' = (J'J)^-1: steps U z are equally steep in all z.
  std::optional<Matrix> whitening(std::span<const double> p) const;

  /// Least absolute residuals: at the optimum the surface passes through five points, and the
  /// gradient of all others is a combination of theirs with multipliers within [-1, 1] (the
  /// certificate behind `proven`). Points are exchanged until that holds, as in Barrodale and
  /// Roberts (1973), each time on the surface's tangent.
  struct Vertex {
    std::vector<double> b;
    bool proven = false;
  };
  Vertex least_absolute(std::vector<double> p) const;

 private:
  double residual(std::span<const double> p, std::size_t i, std::span<double> gradient) const;
  std::optional<std::vector<double>> through(std::vector<double> p,
                                             const std::vector<std::size_t>& active) const;
  std::vector<std::size_t> nearest_independent(std::span<const double> p) const;
  std::optional<std::vector<double>> multipliers(std::span<const double> p,
                                                 const std::vector<std::size_t>& active) const;

  std::vector<double> ln_n_, ln_d_, ln_l_, weight_;
};

}  // namespace pg::post
