#include "postprocess/stats/line_fit.hpp"

#include <algorithm>
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

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double hc3_slope_se(std::span<const double> x, std::span<const double> weights,
                    const LinearFit& model) {
  if (model.df < 1) return kInfinity;
  const auto weight = [&](std::size_t i) { return weights.empty() ? 1.0 : weights[i]; };
  double sum = 0;
  double mean = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += weight(i);
    mean += weight(i) * x[i];
  }
  mean /= sum;
  double sxx = 0;
  double meat = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double lever = weight(i) * (x[i] - mean);
    const double spare = 1 - model.leverage[i];
    if (spare <= 1e-12) return kInfinity;
    sxx += lever * (x[i] - mean);
    meat += std::pow(lever * model.residuals[i] / spare, 2);
  }
  return std::sqrt(meat) / sxx;
}

double durbin_watson(std::span<const double> residuals) {
  double squares = 0;
  double steps = 0;
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    squares += residuals[i] * residuals[i];
    if (i > 0) steps += std::pow(residuals[i] - residuals[i - 1], 2);
  }
  return squares > 0 ? steps / squares : 2;
}

double jackknife_se(std::span<const double> slopes) {
  if (slopes.empty()) return kInfinity;
  const double n = static_cast<double>(slopes.size());
  double mean = 0;
  for (const double b : slopes) mean += b / n;
  if (!std::isfinite(mean)) return kInfinity;
  double squares = 0;
  for (const double b : slopes) squares += std::pow(b - mean, 2);
  return std::sqrt((n - 1) / n * squares);
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
    fit.leave_one_out_slopes.push_back(rest ? rest->coefficients[1] : kInfinity);
  }
  fit.slope_se_hc3 = hc3_slope_se(x, weights, *model);
  fit.durbin_watson = durbin_watson(fit.residuals);
  fit.jackknife_se = jackknife_se(fit.leave_one_out_slopes);
  return fit;
}

Interval line_band(const LineFit& fit, double x, Band band, double level) {
  if (fit.df < 1) return {-kInfinity, kInfinity};
  double variance = fit.intercept_se * fit.intercept_se + 2 * x * fit.covariance +
                    x * x * fit.slope_se * fit.slope_se;
  if (band == Band::prediction) variance += fit.s * fit.s;
  const double factor = band == Band::simultaneous
                            ? std::sqrt(2 * fisher_quantile(level, 2, fit.df))
                            : student_quantile((1 + level) / 2, fit.df);
  const double middle = fit.intercept + fit.slope * x;
  const double half = factor * std::sqrt(std::max(0.0, variance));
  return {middle - half, middle + half};
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
