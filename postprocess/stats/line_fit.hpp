#pragma once

#include <optional>
#include <span>
#include <vector>

#include "postprocess/stats/inference.hpp"

namespace pg::post {

/// y = intercept + slope x by least squares, with t intervals of n - 2 degrees of freedom.
struct LineFit {
  std::size_t n = 0;
  int df = 0;
  double slope = 0;
  double intercept = 0;
  double slope_se = 0;      ///< infinite when n = 2
  double intercept_se = 0;  ///< infinite when n = 2
  double covariance = 0;    ///< of intercept and slope
  double r2 = 0;
  double adjusted_r2 = 0;
  double s = 0;  ///< residual standard deviation
  double rss = 0;
  Interval slope_ci95;
  Interval intercept_ci95;
  std::vector<double> residuals;
  std::vector<double> leverage;
  std::vector<double> cooks_distance;
  std::vector<double> leave_one_out_slopes;  ///< empty when n < 3
};

/// Ordinary or weighted (weights 1 / variance; relative, so that s^2 scales the covariance) fit.
/// Nothing when there are fewer than two points or all x are equal.
std::optional<LineFit> fit_line(std::span<const double> x, std::span<const double> y,
                                std::span<const double> weights = {});

/// The residual sum of squares with the slope held at `slope` and the intercept free.
double fixed_slope_rss(std::span<const double> x, std::span<const double> y, double slope);

}  // namespace pg::post
