#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "postprocess/stats/line_fit.hpp"

// The best size at equal compute, without a law of the loss: Hoffmann et al. 2022, approach 2.

namespace pg::post {

/// Points of about equal compute C = 6 N D and the parabola of the loss in ln N through them.
struct IsoflopBudgetFit {
  double flops = 0;                 ///< geometric mean
  std::vector<std::size_t> points;  ///< indices, by rising N
  std::string status = "ok";        ///< or why there is no minimum
  double level = 0;                 ///< loss = level + slope u + curvature u^2, u = ln N - centre
  double slope = 0;
  double curvature = 0;
  double centre = 0;
  double ln_best_n = 0;
  double ln_best_n_se = 0;       ///< delta method
  Interval ln_best_n_ci95 = {};  ///< Fieller's
  [[nodiscard]] bool ok() const { return status == "ok"; }
  [[nodiscard]] double loss_at(double ln_n) const;
};

struct IsoflopFit {
  std::vector<IsoflopBudgetFit> budgets;  ///< by rising compute
  std::size_t n_unused = 0;               ///< points that lie near no budget
  std::string status = "ok";              ///< or why there is no exponent
  /// ln N* on ln C over the budgets that have a minimum: equal weights, t interval of the scatter.
  std::optional<LineFit> line;
  /// Best size at this compute; only with a line.
  [[nodiscard]] double best_n(double flops) const;
};

/// A budget is what at least kFewestPoints points share within kBudgetWidth (relative): the fullest
/// first. Sizes and tokens above zero.
inline constexpr double kBudgetWidth = 0.15;
inline constexpr std::size_t kFewestPoints = 4;
IsoflopFit fit_isoflop(std::span<const double> n_parameters, std::span<const double> tokens,
                       std::span<const double> losses);

}  // namespace pg::post
