#pragma once

#include <string>
#include <vector>

#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// Residuals of one least-squares fit; all vectors have the same length. Fits in practice: LineFit,
/// LinearFit, LawFit.
struct DiagnosticsData {
  std::string title;     ///< of the page: "Line through the interpolated optima"
  std::string response;  ///< what the residuals are of, with its unit: "ln LR*"
  std::vector<std::string> labels;
  std::vector<double> fitted;
  std::vector<double> residuals;
  std::vector<double> leverage;
  std::vector<double> cooks_distance;
  double s = 0;      ///< residual standard deviation
  int n_params = 2;  ///< for the contours of Cook's distance
};

/// The page of four that R's plot.lm shows: residual against fitted value, normal quantiles of the
/// standardised residuals, those against leverage with Cook's distance 0.5 and 1, and Cook's
/// distance by point. Up to 16 points are named; of more, the largest. With s = 0 (a perfect fit,
/// or no degree of freedom) the page says that there is nothing to see.
Picture diagnostics(const std::string& name, const DiagnosticsData& data);

}  // namespace pg::post
