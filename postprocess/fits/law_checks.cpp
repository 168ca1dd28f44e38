#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "postprocess/fits/law_shape.hpp"

namespace pg::post {
namespace {

// Residuals this small against the response are rounding: there is nothing to test in them.
constexpr double kExact = 1e-10;

std::vector<double> point(const LawData& data, std::size_t i) {
  std::vector<double> x;
  for (const auto& column : data.x) x.push_back(column[i]);
  return x;
}

std::string name_of(const LawData& data, std::size_t i) {
  return i < data.labels.size() ? data.labels[i] : fmt::format("point {}", i + 1);
}

bool exact(const LawFit& fit) {
  double largest = 0;
  for (const double value : fit.fitted) largest = std::max(largest, std::abs(value));
  return fit.s <= kExact * largest;
}

/// The square of a variable (of its logarithm where that exists) about its mean.
std::vector<double> bend(const std::vector<double>& x) {
  const bool positive = std::all_of(x.begin(), x.end(), [](double v) { return v > 0; });
  std::vector<double> z = x;
  double mean = 0;
  for (double& v : z) {
    if (positive) v = std::log(v);
    mean += v / static_cast<double>(x.size());
  }
  for (double& v : z) v = (v - mean) * (v - mean);
  return z;
}

/// F test of a quadratic term added to the linearised law: exact for laws that are linear in their
/// parameters.
void warn_of_curvature(const Law& law, const LawData& data, LawFit& fit) {
  const std::size_t p = fit.internal.size();
  const int df = fit.df - 1;
  if (df < 1 || exact(fit)) return;
  std::vector<double> row(p);
  for (std::size_t v = 0; v < data.x.size(); ++v) {
    Matrix design(fit.n, p + 1);
    const std::vector<double> square = bend(data.x[v]);
    for (std::size_t i = 0; i < fit.n; ++i) {
      law.response(fit.internal, point(data, i), row);
      for (std::size_t j = 0; j < p; ++j) design(i, j) = row[j];
      design(i, p) = square[i];
    }
    const auto bent = fit_linear(design, fit.residuals, Constant::present, data.weights);
    if (!bent || bent->rss <= 0) continue;  // the law holds the term already
    const double f = (fit.rss - bent->rss) / (bent->rss / df);
    const double probability = fisher_upper_p(std::max(0.0, f), 1, df);
    if (probability < 0.05) {
      fit.warnings.push_back(
          fmt::format("the residuals are curved in {}: F(1, {}) = {:.3g}, p = {:.2g}; the form of "
                      "the law is in doubt, whatever R2 says",
                      law.variables[v], df, f, probability));
    }
  }
}

/// Lack of fit against the scatter of points repeated at the same variables.
void warn_of_misfit(const LawData& data, LawFit& fit) {
  if (!data.weights.empty() || exact(fit)) return;
  std::map<std::vector<double>, std::vector<double>> repeated;
  for (std::size_t i = 0; i < fit.n; ++i) repeated[point(data, i)].push_back(fit.residuals[i]);
  double pure = 0;
  for (const auto& [x, residuals] : repeated) {
    double mean = 0;
    for (const double r : residuals) mean += r / static_cast<double>(residuals.size());
    for (const double r : residuals) pure += (r - mean) * (r - mean);
  }
  const int pure_df = static_cast<int>(fit.n - repeated.size());
  const int misfit_df = fit.df - pure_df;
  if (pure_df < 1 || misfit_df < 1 || pure <= 0) return;
  const double f = ((fit.rss - pure) / misfit_df) / (pure / pure_df);
  const double probability = fisher_upper_p(std::max(0.0, f), misfit_df, pure_df);
  if (probability < 0.05) {
    fit.warnings.push_back(fmt::format(
        "lack of fit: the means of repeated points scatter about the law more than the repeats do, "
        "F({}, {}) = {:.3g}, p = {:.2g}",
        misfit_df, pure_df, f, probability));
  }
}

void warn_of_influence(const LawData& data, LawFit& fit) {
  if (exact(fit)) return;
  std::string names;
  for (std::size_t i = 0; i < fit.cooks_distance.size(); ++i) {
    if (fit.cooks_distance[i] <= 1) continue;
    names += fmt::format("{}{} (Cook's distance {:.2f})", names.empty() ? "" : ", ",
                         name_of(data, i), fit.cooks_distance[i]);
  }
  if (!names.empty()) fit.warnings.push_back("the fit hangs on single points: " + names);
}

LawData without(const LawData& data, const std::vector<bool>& out) {
  LawData rest;
  rest.x.resize(data.x.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (out[i]) continue;
    for (std::size_t v = 0; v < data.x.size(); ++v) rest.x[v].push_back(data.x[v][i]);
    rest.y.push_back(data.y[i]);
    if (!data.weights.empty()) rest.weights.push_back(data.weights[i]);
    if (!data.labels.empty()) rest.labels.push_back(data.labels[i]);
  }
  return rest;
}

/// Of a refit, at a point that it did not see.
std::optional<double> error_at(const LawFit& refit, const LawData& data, std::size_t i) {
  const double y = predict(refit, point(data, i));
  const double error = refit.response == kLnY ? std::log(y / data.y[i]) : y - data.y[i];
  if (!std::isfinite(error)) return std::nullopt;
  return error;
}

void hold_out_largest(const Law& law, const LawData& data, HeldOut& held) {
  double top = 0;
  std::vector<double> size(data.size(), 1.0);
  for (std::size_t i = 0; i < data.size(); ++i) {
    for (const double x : point(data, i)) size[i] *= x;
    if (i == 0 || size[i] > top) top = size[i];
  }
  std::vector<bool> out(data.size(), false);
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (size[i] < top) continue;
    out[i] = true;
    held.largest.push_back(i);
  }
  const LawFit refit = law.fit(without(data, out), {});
  if (!refit.ok()) {
    held.largest_status = to_string(refit.status) + ": " + refit.detail;
    return;
  }
  for (const std::size_t i : held.largest) {
    if (const auto error = error_at(refit, data, i)) held.largest_errors.push_back(*error);
  }
}

}  // namespace

void add_warnings(const Law& law, const LawData& data, LawFit& fit) {
  warn_of_curvature(law, data, fit);
  warn_of_misfit(data, fit);
  warn_of_influence(data, fit);
}

HeldOut hold_out(const LawFit& fit, const LawData& data) {
  const Law& law = find_law(fit.law);
  HeldOut held;
  held.errors.resize(data.size());
  if (!fit.ok()) {
    held.largest_status = to_string(fit.status);
    return held;
  }
  double sum = 0;
  std::size_t n = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    std::vector<bool> out(data.size(), false);
    out[i] = true;
    const LawFit refit = law.fit(without(data, out), fit.internal);
    if (refit.ok()) held.errors[i] = error_at(refit, data, i);
    if (held.errors[i]) {
      sum += *held.errors[i] * *held.errors[i];
      ++n;
    } else {
      ++held.n_failed;
    }
  }
  if (n > 0) held.rms = std::sqrt(sum / static_cast<double>(n));
  hold_out_largest(law, data, held);
  return held;
}

}  // namespace pg::post
