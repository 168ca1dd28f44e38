#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "postprocess/stats/inference.hpp"
#include "postprocess/stats/least_squares.hpp"

namespace pg::post {

/// y = intercept + slope x + sigma e with normal e, where of each y only a cell is known.
struct CensoredLine {
  FitStatus status = FitStatus::not_converged;
  std::string detail;  ///< what exactly happened, for people; empty when converged
  std::size_t n = 0;   ///< cells that say something: at least one end finite
  double intercept = 0;
  double slope = 0;
  double sigma = 0;
  double intercept_se = 0;  ///< from the observed information; infinite unless converged
  double slope_se = 0;      ///< likewise
  Interval slope_ci95;      ///< of the profile likelihood (chi-squared, 1 degree of freedom)
  double log_likelihood = 0;
  [[nodiscard]] bool ok() const { return status == FitStatus::converged; }
};

/// Maximum likelihood of a line from cells [low, high], whose ends may be infinite (tobit, interval
/// regression). The likelihood is log-concave in (intercept, slope, 1) / sigma (Burridge 1981), so
/// that the maximum is the only one, and it exists exactly when no direction leads upwards for
/// ever. Where one does the status is not_identifiable: a line passes through every cell (sigma
/// shrinks to zero), or the slope grows without end.
/// Errors: InvalidInput where a cell's low is not below its high or an x is not finite.
CensoredLine fit_censored_line(std::span<const double> x, std::span<const Interval> y);

}  // namespace pg::post
