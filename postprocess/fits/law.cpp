#include "postprocess/fits/law.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/text.hpp"
#include "postprocess/fits/law_shape.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Law> all_laws() {
  std::vector<Law> all = power_laws();
  for (auto topic : {batch_laws, loss_laws, chinchilla_laws}) {
    for (Law& law : topic()) all.push_back(std::move(law));
  }
  return all;
}

Interval on_scale_of_y(const LawFit& fit, double centre, double half) {
  if (!std::isfinite(half)) return {fit.response == kLnY ? 0 : -kInfinity, kInfinity};
  if (fit.response == kLnY) return {std::exp(centre - half), std::exp(centre + half)};
  return {centre - half, centre + half};
}

/// AICc of the density of y.
std::optional<double> aicc_of_y(const LawFit& fit, const LawData& data) {
  if (!fit.ok() || !fit.aicc) return std::nullopt;
  double jacobian = 0;
  if (fit.response == kLnY) {
    for (const double y : data.y) jacobian += std::log(y);
  }
  return *fit.aicc + 2 * jacobian;
}

}  // namespace

const LawParameter& LawFit::parameter(const std::string& name) const {
  for (const LawParameter& p : parameters) {
    if (p.name == name) return p;
  }
  throw InternalError({"the law " + law + " has no parameter " + name, "", "please report this"});
}

const std::vector<Law>& laws() {
  static const std::vector<Law> all = all_laws();
  return all;
}

const Law& find_law(const std::string& name) {
  std::vector<std::string> names;
  for (const Law& law : laws()) {
    if (law.name == name) return law;
    names.push_back(law.name);
  }
  const auto near = nearest_word(name, names);
  throw_settings("there is no law '" + name + "'", "one of: " + join(names, ", "),
                 near ? "'" + *near + "'" : "pgpost fit --model list");
}

LawFit fit_law(const std::string& name, const LawData& data) {
  const Law& law = find_law(name);
  if (data.x.size() != law.variables.size()) {
    throw_settings(fmt::format("{} variables for the law {}", data.x.size(), name),
                   fmt::format("{}: {}", law.variables.size(), join(law.variables, ", ")),
                   "give as many columns to --x");
  }
  return law.fit(data, {});
}

double predict(const LawFit& fit, std::span<const double> x) {
  const double response = find_law(fit.law).response(fit.internal, x, {});
  return fit.response == kLnY ? std::exp(response) : response;
}

LawBand band_at(const LawFit& fit, std::span<const double> x) {
  const std::size_t p = fit.internal.size();
  require(p > 0, "a band needs a fitted law");
  std::vector<double> gradient(p);
  const double centre = find_law(fit.law).response(fit.internal, x, gradient);
  LawBand band;
  band.y = fit.response == kLnY ? std::exp(centre) : centre;
  double mean_half = kInfinity;
  double prediction_half = kInfinity;
  double simultaneous_half = kInfinity;
  if (fit.ok() && fit.covariance.rows() == p && fit.df > 0) {
    double variance = 0;
    for (std::size_t i = 0; i < p; ++i) {
      for (std::size_t j = 0; j < p; ++j)
        variance += gradient[i] * fit.covariance(i, j) * gradient[j];
    }
    variance = std::max(0.0, variance);
    const double t = student_quantile(0.975, fit.df);
    mean_half = t * std::sqrt(variance);
    prediction_half = t * std::sqrt(variance + fit.s * fit.s);
    const double f = fisher_quantile(0.95, static_cast<double>(p), fit.df);
    simultaneous_half = std::sqrt(static_cast<double>(p) * f * variance);
  }
  band.mean95 = on_scale_of_y(fit, centre, mean_half);
  band.prediction95 = on_scale_of_y(fit, centre, prediction_half);
  band.simultaneous95 = on_scale_of_y(fit, centre, simultaneous_half);
  return band;
}

std::vector<Rival> compare_laws(const std::vector<std::string>& names, const LawData& data) {
  std::vector<Rival> rivals;
  double best = kInfinity;
  for (const std::string& name : names) {
    Rival rival{fit_law(name, data), std::nullopt, kInfinity, 0};
    rival.aicc = aicc_of_y(rival.fit, data);
    if (rival.aicc) best = std::min(best, *rival.aicc);
    rivals.push_back(std::move(rival));
  }
  const auto n_defined = std::count_if(rivals.begin(), rivals.end(),
                                       [](const Rival& rival) { return rival.aicc.has_value(); });
  double sum = 0;
  for (Rival& rival : rivals) {
    if (!rival.aicc || n_defined < 2) continue;  // one alone is compared with nothing
    rival.delta_aicc = *rival.aicc - best;
    rival.weight = std::exp(-rival.delta_aicc / 2);
    sum += rival.weight;
  }
  for (Rival& rival : rivals) {
    if (sum > 0) rival.weight /= sum;
  }
  std::stable_sort(rivals.begin(), rivals.end(),
                   [](const Rival& a, const Rival& b) { return a.delta_aicc < b.delta_aicc; });
  return rivals;
}

}  // namespace pg::post
