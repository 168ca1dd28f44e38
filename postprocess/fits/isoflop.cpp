#include "postprocess/fits/isoflop.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "postprocess/stats/linear_model.hpp"
#include "postprocess/stats/ratio.hpp"

namespace pg::post {
namespace {

/// Sets of indices whose ln C agree: the window that holds the most is a budget, and so on.
std::vector<std::vector<std::size_t>> find_budgets(const std::vector<double>& ln_c) {
  const double half = std::log1p(kBudgetWidth);
  std::vector<bool> taken(ln_c.size(), false);
  std::vector<std::vector<std::size_t>> budgets;
  for (;;) {
    std::vector<std::size_t> fullest;
    for (const double middle : ln_c) {
      std::vector<std::size_t> inside;
      for (std::size_t i = 0; i < ln_c.size(); ++i) {
        if (!taken[i] && std::abs(ln_c[i] - middle) <= half) inside.push_back(i);
      }
      if (inside.size() > fullest.size()) fullest = std::move(inside);
    }
    if (fullest.size() < kFewestPoints) return budgets;
    for (const std::size_t i : fullest) taken[i] = true;
    budgets.push_back(std::move(fullest));
  }
}

void fit_parabola(const std::vector<double>& ln_n, std::span<const double> losses,
                  IsoflopBudgetFit& b) {
  Matrix x(b.points.size(), 3);
  std::vector<double> y;
  for (const std::size_t i : b.points) {
    b.centre += ln_n[i] / static_cast<double>(b.points.size());
  }
  for (std::size_t row = 0; row < b.points.size(); ++row) {
    const double u = ln_n[b.points[row]] - b.centre;
    x(row, 0) = 1;
    x(row, 1) = u;
    x(row, 2) = u * u;
    y.push_back(losses[b.points[row]]);
  }
  const auto fit = fit_linear(x, y, Constant::present);
  if (!fit) {
    b.status = "fewer than three sizes";
    return;
  }
  b.level = fit->coefficients[0];
  b.slope = fit->coefficients[1];
  b.curvature = fit->coefficients[2];
  if (!(b.curvature > 0)) {
    b.status = "no minimum: the losses are not convex in ln N";
    return;
  }
  const double u = -b.slope / (2 * b.curvature);
  b.ln_best_n = b.centre + u;
  if (b.ln_best_n < ln_n[b.points.front()] || b.ln_best_n > ln_n[b.points.back()]) {
    b.status = "the minimum lies beyond the sizes that were run";
    return;
  }
  const double v11 = fit->covariance(1, 1);
  const double v22 = fit->covariance(2, 2);
  const double v12 = fit->covariance(1, 2);
  const Interval ci = fieller_interval(-b.slope, 2 * b.curvature, v11, 4 * v22, -2 * v12, fit->df);
  if (!ci.finite()) {
    b.status = "the minimum is not determined: its interval is not bounded";
    return;
  }
  b.ln_best_n_ci95 = {b.centre + ci.low, b.centre + ci.high};
  b.ln_best_n_se =
      std::sqrt(std::max(0.0, v11 + 4 * u * u * v22 + 4 * u * v12)) / (2 * b.curvature);
}

}  // namespace

double IsoflopBudgetFit::loss_at(double ln_n) const {
  const double u = ln_n - centre;
  return level + slope * u + curvature * u * u;
}

double IsoflopFit::best_n(double flops) const {
  return std::exp(line->intercept + line->slope * std::log(flops));
}

IsoflopFit fit_isoflop(std::span<const double> n_parameters, std::span<const double> tokens,
                       std::span<const double> losses) {
  std::vector<double> ln_n;
  std::vector<double> ln_c;
  for (std::size_t i = 0; i < n_parameters.size(); ++i) {
    ln_n.push_back(std::log(n_parameters[i]));
    ln_c.push_back(std::log(6 * n_parameters[i] * tokens[i]));
  }
  IsoflopFit result;
  result.n_unused = ln_c.size();
  for (std::vector<std::size_t>& points : find_budgets(ln_c)) {
    IsoflopBudgetFit b;
    double sum = 0;
    for (const std::size_t i : points) sum += ln_c[i];
    b.flops = std::exp(sum / static_cast<double>(points.size()));
    std::stable_sort(points.begin(), points.end(),
                     [&](std::size_t i, std::size_t j) { return ln_n[i] < ln_n[j]; });
    b.points = std::move(points);
    result.n_unused -= b.points.size();
    fit_parabola(ln_n, losses, b);
    result.budgets.push_back(std::move(b));
  }
  std::stable_sort(result.budgets.begin(), result.budgets.end(),
                   [](const auto& a, const auto& b) { return a.flops < b.flops; });
  std::vector<double> x;
  std::vector<double> y;
  for (const IsoflopBudgetFit& b : result.budgets) {
    if (!b.ok()) continue;
    x.push_back(std::log(b.flops));
    y.push_back(b.ln_best_n);
  }
  if (x.size() >= 2) result.line = fit_line(x, y);
  if (!result.line) result.status = "fewer than two budgets have a minimum among their sizes";
  return result;
}

}  // namespace pg::post
