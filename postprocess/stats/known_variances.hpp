#pragma once

#include <optional>
#include <span>

#include "postprocess/stats/line_fit.hpp"

namespace pg::post {

/// A line through points whose variances are known, and whether these variances explain the
/// scatter. Two conventions for the errors: relative (in `line`; the variances are known up to a
/// factor, which chi2 / df estimates) and absolute (they are taken at their word).
struct KnownVarianceLine {
  LineFit line;  ///< weights 1 / variance; errors relative
  double slope_se_absolute = 0;
  double intercept_se_absolute = 0;
  double chi2 = 0;  ///< sum (y - fitted)^2 / variance
  double p = 1;     ///< P(chi-squared_df >= chi2); 1 when df < 1
  /// Variance between the points on top of the known one, with which chi2 = df (Paule and Mandel
  /// 1982); 0 where chi2 <= df already.
  double between_variance = 0;
  /// The fit with weights 1 / (variance + between_variance), its errors absolute.
  double between_slope = 0;
  double between_intercept = 0;
  double between_slope_se = 0;
  double between_intercept_se = 0;
};

/// Nothing when there are fewer than two points or all x are equal. Errors: InvalidInput for a
/// variance that is not positive and finite.
std::optional<KnownVarianceLine> fit_known_variances(std::span<const double> x,
                                                     std::span<const double> y,
                                                     std::span<const double> variances);

}  // namespace pg::post
