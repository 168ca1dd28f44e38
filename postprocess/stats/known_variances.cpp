#include "postprocess/stats/known_variances.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.hpp"
#include "postprocess/stats/linear_model.hpp"

namespace pg::post {
namespace {

/// The fit with weights 1 / (variance + between); its rss is chi-squared.
std::optional<LinearFit> fit_with(std::span<const double> x, std::span<const double> y,
                                  std::span<const double> variances, double between) {
  Matrix design(x.size(), 2);
  std::vector<double> weights;
  for (std::size_t i = 0; i < x.size(); ++i) {
    design(i, 0) = 1;
    design(i, 1) = x[i];
    weights.push_back(1 / (variances[i] + between));
  }
  return fit_linear(design, y, Constant::present, weights);
}

/// Standard errors for variances taken at their word: (X'WX)^-1 without s^2. The covariance of
/// fit_linear has that factor, and it is 0 in an exact fit: computed anew from the weights.
void set_absolute_errors(std::span<const double> x, std::span<const double> variances,
                         double between, double& intercept_se, double& slope_se) {
  double sum = 0;
  double mean = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += 1 / (variances[i] + between);
    mean += x[i] / (variances[i] + between);
  }
  mean /= sum;
  double sxx = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sxx += (x[i] - mean) * (x[i] - mean) / (variances[i] + between);
  }
  slope_se = std::sqrt(1 / sxx);
  intercept_se = std::sqrt(1 / sum + mean * mean / sxx);
}

/// Where the weighted sum of squares, which falls as `between` grows, reaches df.
double paule_mandel(std::span<const double> x, std::span<const double> y,
                    std::span<const double> variances, int df) {
  const auto excess = [&](double between) { return fit_with(x, y, variances, between)->rss - df; };
  double low = 0;
  if (excess(low) <= 0) return 0;
  double high = 0;
  for (const double v : variances) high = std::max(high, v);
  while (excess(high) > 0) {
    low = high;
    high *= 2;
  }
  for (int i = 0; i < 200 && high - low > 1e-15 * high; ++i) {
    const double middle = (low + high) / 2;
    (excess(middle) > 0 ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

std::optional<KnownVarianceLine> fit_known_variances(std::span<const double> x,
                                                     std::span<const double> y,
                                                     std::span<const double> variances) {
  require(variances.size() == x.size(), "a line has one variance per point");
  std::vector<double> weights;
  for (std::size_t i = 0; i < variances.size(); ++i) {
    if (!(variances[i] > 0) || !std::isfinite(variances[i])) {
      throw_data(fmt::format("the variance of point {} is {}", i + 1, variances[i]),
                 "a positive, finite number", "leave out points without a variance");
    }
    weights.push_back(1 / variances[i]);
  }
  auto line = fit_line(x, y, weights);
  if (!line) return std::nullopt;
  KnownVarianceLine fit;
  fit.line = *std::move(line);
  fit.chi2 = fit.line.rss;
  set_absolute_errors(x, variances, 0, fit.intercept_se_absolute, fit.slope_se_absolute);
  if (fit.line.df >= 1) {
    fit.p = chi_squared_upper_p(fit.chi2, fit.line.df);
    fit.between_variance = paule_mandel(x, y, variances, fit.line.df);
  }
  const auto between = fit_with(x, y, variances, fit.between_variance);
  fit.between_intercept = between->coefficients[0];
  fit.between_slope = between->coefficients[1];
  set_absolute_errors(x, variances, fit.between_variance, fit.between_intercept_se,
                      fit.between_slope_se);
  return fit;
}

}  // namespace pg::post
