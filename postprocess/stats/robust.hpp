#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "postprocess/stats/least_squares.hpp"

namespace pg::post {

/// The median; the mean of the middle two of an even number. NaN for no values.
double median(std::span<const double> values);

/// The median of the slopes of all pairs with different x (Theil 1950, Sen 1968). Nothing when
/// there is no such pair. Unmoved by up to 29 % of wild points, but where most y are equal, 0.
std::optional<double> theil_sen_slope(std::span<const double> x, std::span<const double> y);

/// That slope with its distribution-free interval: order statistics of the pairs' slopes, by the
/// exact distribution of Kendall's S (Sen 1968). It holds for any continuous errors, equal or not.
struct RankSlope {
  double slope = 0;
  Interval ci95 = {};     ///< infinite with fewer than five points, or where an x is repeated
  double confidence = 0;  ///< that the interval really has: at least 0.95; 0 where it is infinite
};
std::optional<RankSlope> rank_slope(std::span<const double> x, std::span<const double> y);

/// How much a residual counts: Huber's keeps a slope far out (c = 1.345), Tukey's bisquare drops to
/// nothing (c = 4.685); both are 95 % efficient for normal errors.
enum class RobustLoss { huber, bisquare };

struct RobustLine {
  FitStatus status = FitStatus::not_converged;
  std::string detail;  ///< what exactly happened, for people; empty when converged
  std::size_t n = 0;
  double intercept = 0;
  double slope = 0;
  double scale = 0;  ///< the median absolute residual (about 0) / 0.6745
  int iterations = 0;
  [[nodiscard]] bool ok() const { return status == FitStatus::converged; }
};

/// An M-estimate by reweighted least squares from the least-squares line, the scale re-estimated at
/// every step (Huber 1981, 7.8; the figures of R's MASS::rlm). Refused (not_identifiable) where
/// more than half of the residuals become 0, at whatever step: there the scale is 0, and what looks
/// like a fit is a line through a tie.
RobustLine fit_robust_line(std::span<const double> x, std::span<const double> y, RobustLoss loss);

}  // namespace pg::post
