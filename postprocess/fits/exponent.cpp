#include "postprocess/fits/exponent.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "postprocess/stats/inference.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const Cell* argmin(const BatchCells& row) {
  const Cell* best = nullptr;
  for (const Cell& cell : row.cells) {
    if (cell.state == CellState::usable && (best == nullptr || cell.loss < best->loss))
      best = &cell;
  }
  return best;
}

}  // namespace

double ExponentEstimate::ln_lr_at(double batch) const {
  return ln_c + beta * std::log(batch);
}

Interval ExponentEstimate::band_at(double batch) const {
  const double x = std::log(batch);
  const double variance = ln_c_se * ln_c_se + 2 * x * covariance + x * x * beta_se * beta_se;
  return student_interval(ln_lr_at(batch), std::sqrt(std::max(0.0, variance)), df);
}

ExponentEstimate fit_exponent(std::string name, std::string label,
                              const std::vector<LinePoint>& points, bool weighted, LineFit* line) {
  ExponentEstimate estimate;
  estimate.name = std::move(name);
  estimate.label = std::move(label);
  std::vector<double> x;
  std::vector<double> y;
  std::vector<double> weights;
  for (const LinePoint& point : points) {
    estimate.batches.push_back(point.batch);
    x.push_back(std::log(static_cast<double>(point.batch)));
    y.push_back(point.ln_lr);
    if (weighted) weights.push_back(1 / (point.ln_lr_se * point.ln_lr_se));
  }
  if (std::any_of(weights.begin(), weights.end(), [](double w) { return !std::isfinite(w); })) {
    estimate.status = "not possible: the noise of the loss is not known";
    return estimate;
  }
  const auto fit = fit_line(x, y, weights);
  if (!fit || fit->n < 3) {
    estimate.status =
        fmt::format("not possible: {} batches, a slope with an interval needs 3", points.size());
    return estimate;
  }
  if (std::all_of(y.begin(), y.end(), [&](double v) { return v == y.front(); })) {
    // The residuals are zero because the grid is coarse, not because the slope is known.
    estimate.status = "not resolved: all batches have the same learning rate";
    return estimate;
  }
  estimate.status = "ok";
  estimate.beta = fit->slope;
  estimate.beta_se = fit->slope_se;
  estimate.beta_ci95 = fit->slope_ci95;
  estimate.df = fit->df;
  estimate.ln_c = fit->intercept;
  estimate.ln_c_se = fit->intercept_se;
  estimate.covariance = fit->covariance;
  estimate.r2 = fit->r2;
  estimate.n_cells = points.size();
  if (line != nullptr) *line = *fit;
  return estimate;
}

ExponentEstimate propagate_errors(const ExponentEstimate& line,
                                  const std::vector<LinePoint>& points, int noise_df) {
  ExponentEstimate estimate = line;
  estimate.name = "ols_propagated";
  estimate.label = "line, from the optima's own errors";
  if (!line.ok()) return estimate;
  double mean = 0;
  for (const LinePoint& p : points) mean += std::log(static_cast<double>(p.batch));
  mean /= static_cast<double>(points.size());
  double sxx = 0;
  for (const LinePoint& p : points)
    sxx += std::pow(std::log(static_cast<double>(p.batch)) - mean, 2);
  // beta = sum w_i y_i and ln C = sum v_i y_i.
  double var_beta = 0;
  double var_ln_c = 0;
  estimate.covariance = 0;
  for (const LinePoint& p : points) {
    if (p.ln_lr_se <= 0) {
      estimate.status = "not possible: the noise of the loss is not known";
      return estimate;
    }
    const double w = (std::log(static_cast<double>(p.batch)) - mean) / sxx;
    const double v = 1 / static_cast<double>(points.size()) - mean * w;
    const double variance = p.ln_lr_se * p.ln_lr_se;
    var_beta += w * w * variance;
    var_ln_c += v * v * variance;
    estimate.covariance += v * w * variance;
  }
  estimate.beta_se = std::sqrt(var_beta);
  estimate.ln_c_se = std::sqrt(var_ln_c);
  if (noise_df > 0) estimate.df = noise_df;
  estimate.beta_ci95 = student_interval(estimate.beta, estimate.beta_se, estimate.df);
  return estimate;
}

std::vector<ArgminRegion> argmin_regions(const std::vector<BatchCells>& grid) {
  std::vector<ArgminRegion> regions;
  for (const BatchCells& row : grid) {
    const Cell* best = argmin(row);
    if (best == nullptr) continue;
    ArgminRegion region{row.batch, -kInfinity, kInfinity};
    for (const Cell& cell : row.cells) {
      if (cell.state == CellState::missing || cell.lr == best->lr) continue;
      const double middle = std::log(cell.lr * best->lr) / 2;
      if (cell.lr < best->lr) region.ln_low = std::max(region.ln_low, middle);
      if (cell.lr > best->lr) region.ln_high = std::min(region.ln_high, middle);
    }
    regions.push_back(region);
  }
  return regions;
}

IdentifiedSet identified_set(const std::vector<ArgminRegion>& regions) {
  IdentifiedSet set{false, {-kInfinity, kInfinity}, regions.size()};
  // low_i <= ln C + beta x_i and ln C + beta x_j <= high_j give beta (x_j - x_i) <= high_j - low_i.
  for (const ArgminRegion& i : regions) {
    for (const ArgminRegion& j : regions) {
      const double distance =
          std::log(static_cast<double>(j.batch)) - std::log(static_cast<double>(i.batch));
      const double limit = (j.ln_high - i.ln_low) / distance;
      if (distance > 0) set.beta.high = std::min(set.beta.high, limit);
      if (distance < 0) set.beta.low = std::max(set.beta.low, limit);
    }
  }
  // A single slope is a line along the edges of cells: it passes through the inside of none.
  constexpr double kNarrowest = 1e-9;
  set.feasible = regions.size() >= 2 && set.beta.low + kNarrowest < set.beta.high;
  return set;
}

std::vector<LinePoint> argmin_points(const std::vector<BatchCells>& grid) {
  std::vector<LinePoint> points;
  for (const BatchCells& row : grid) {
    if (const Cell* best = argmin(row)) points.push_back({row.batch, std::log(best->lr), 0});
  }
  return points;
}

}  // namespace pg::post
