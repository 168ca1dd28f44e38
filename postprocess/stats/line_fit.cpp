#include "postprocess/stats/line_fit.hpp"

#include <cmath>
#include <limits>

#include "postprocess/stats/linear_model.hpp"

namespace pg::post {
namespace {

std::optional<LinearFit> line_model(std::span<const double> x, std::span<const double> y,
                                    std::span<const double> weights) {
  Matrix design(x.size(), 2);
  for (std::size_t i = 0; i < x.size(); ++i) {
    design(i, 0) = 1;
    design(i, 1) = x[i];
  }
  return fit_linear(design, y, Constant::present, weights);
}

std::vector<double> without(std::span<const double> values, std::size_t index) {
  std::vector<double> rest(values.begin(), values.end());
  if (!rest.empty()) rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(index));
  return rest;
}

}  // namespace

std::optional<LineFit> fit_line(std::span<const double> x, std::span<const double> y,
                                std::span<const double> weights) {
  const auto model = line_model(x, y, weights);
  if (!model) return std::nullopt;
  LineFit fit;
  fit.n = model->n;
  fit.df = model->df;
  fit.intercept = model->coefficients[0];
  fit.slope = model->coefficients[1];
  fit.intercept_se = model->standard_errors[0];
  fit.slope_se = model->standard_errors[1];
  fit.covariance = model->covariance(0, 1);
  fit.r2 = model->r2;
  fit.adjusted_r2 = model->adjusted_r2;
  fit.s = model->s;
  fit.rss = model->rss;
  fit.slope_ci95 = student_interval(fit.slope, fit.slope_se, fit.df);
  fit.intercept_ci95 = student_interval(fit.intercept, fit.intercept_se, fit.df);
  fit.residuals = model->residuals;
  fit.leverage = model->leverage;
  fit.cooks_distance = model->cooks_distance;
  for (std::size_t i = 0; fit.n > 2 && i < fit.n; ++i) {
    const auto rest = line_model(without(x, i), without(y, i), without(weights, i));
    fit.leave_one_out_slopes.push_back(rest ? rest->coefficients[1]
                                            : std::numeric_limits<double>::infinity());
  }
  return fit;
}

double fixed_slope_rss(std::span<const double> x, std::span<const double> y, double slope) {
  double mean = 0;
  for (std::size_t i = 0; i < x.size(); ++i) mean += y[i] - slope * x[i];
  mean /= static_cast<double>(x.size());
  double rss = 0;
  for (std::size_t i = 0; i < x.size(); ++i) rss += std::pow(y[i] - slope * x[i] - mean, 2);
  return rss;
}

}  // namespace pg::post
