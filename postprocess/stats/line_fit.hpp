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
  /// Standard error that does not assume equal variances: HC3, residuals over (1 - leverage)
  /// (MacKinnon and White 1985). Infinite when df < 1 or a point's leverage is 1.
  double slope_se_hc3 = 0;
  /// Durbin and Watson (1950) over neighbours in the order given: near 2 without serial
  /// correlation, 0 to 4; 2 when all residuals are 0.
  double durbin_watson = 2;
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
  /// Of the slope, from the leave-one-out slopes (Efron 1982); infinite when n < 3 or one of those
  /// does not exist.
  double jackknife_se = 0;
};

/// Ordinary or weighted (weights 1 / variance; relative, so that s^2 scales the covariance) fit.
/// Nothing when there are fewer than two points or all x are equal.
std::optional<LineFit> fit_line(std::span<const double> x, std::span<const double> y,
                                std::span<const double> weights = {});

/// What a band around a line holds with the stated probability.
enum class Band {
  mean,          ///< the mean response at this one x
  prediction,    ///< one new observation at this one x
  simultaneous,  ///< the mean response at every x at once (Working and Hotelling 1929)
};

/// The band's ends at `x`; infinite when df < 1. A weighted fit predicts an observation of
/// weight 1.
Interval line_band(const LineFit& fit, double x, Band band, double level = 0.95);

/// The residual sum of squares with the slope held at `slope` and the intercept free.
double fixed_slope_rss(std::span<const double> x, std::span<const double> y, double slope);

}  // namespace pg::post
