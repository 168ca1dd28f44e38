#include "postprocess/fits/chinchilla.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "postprocess/fits/chinchilla_surface.hpp"
#include "postprocess/fits/law_shape.hpp"
#include "postprocess/stats/minimize.hpp"

namespace pg::post {
namespace {

using Kind = Reported::Kind;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kRefinedStarts = 5;
constexpr double kSmallGradient = 1e-6;
constexpr double kAgreement = 1e-8;  // of two polished values, relative

std::string design_problem(const LawData& data) {
  if (data.size() < 6) return fmt::format("{} points, but five parameters", data.size());
  for (std::size_t v = 0; v < 2; ++v) {
    const std::size_t distinct = n_distinct(data.x[v]);
    if (distinct >= 3) continue;
    const char* name = v == 0 ? "N" : "D";
    const char* term = v == 0 ? "A / N^alpha" : "B / D^beta";
    return distinct == 1
               ? fmt::format("{} is the same in all points: {} is then part of E", name, term)
               : fmt::format("{} has 2 distinct values, but {} and E need at least 3", name, term);
  }
  double sums[5] = {};
  double mean[2] = {};
  const double n = static_cast<double>(data.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    for (std::size_t v = 0; v < 2; ++v) mean[v] += std::log(data.x[v][i]) / n;
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    const double u = std::log(data.x[0][i]) - mean[0];
    const double w = std::log(data.x[1][i]) - mean[1];
    sums[0] += u * u;
    sums[1] += w * w;
    sums[2] += u * w;
  }
  if (sums[2] * sums[2] > 0.9999 * sums[0] * sums[1]) {
    return "N and D vary as one (one is a power of the other): their terms cannot be told apart";
  }
  return "";
}

// ---- polishing ----

/// The optimum of a Huber objective near b, or the best that was found.
struct Polished {
  std::vector<double> b;
  double value = kInfinity;
  bool small_gradient = false;
};

Polished polish_huber(const ChinchillaSurface& surface, std::vector<double> b, double delta) {
  constexpr int kRounds = 6;
  Polished best{b, surface.huber(b, delta, {}), false};
  for (int round = 0; round < kRounds; ++round) {
    best.small_gradient = surface.relative_gradient(best.b, delta) < kSmallGradient;
    if (best.small_gradient) break;
    const auto whiten = surface.whitening(best.b);
    if (!whiten) break;
    const double unit = static_cast<double>(surface.size()) / best.value;
    const std::vector<double> origin = best.b;
    const auto place = [&](std::span<const double> z) {
      std::vector<double> at = origin;
      for (std::size_t i = 0; i < at.size(); ++i) {
        for (std::size_t j = 0; j < at.size(); ++j) at[i] += (*whiten)(i, j) * z[j];
      }
      return at;
    };
    Objective scaled;
    scaled.p = origin.size();
    scaled.value = [&](std::span<const double> z, std::span<double> gradient) {
      std::array<double, 5> natural = {};
      const double value = surface.huber(
          place(z), delta, gradient.empty() ? std::span<double>() : std::span<double>(natural));
      for (std::size_t j = 0; j < gradient.size(); ++j) {
        gradient[j] = 0;
        for (std::size_t i = 0; i < natural.size(); ++i)
          gradient[j] += unit * (*whiten)(i, j) * natural[i];
      }
      return unit * value;
    };
    const Minimum minimum = minimize_bfgs(scaled, std::vector<double>(scaled.p, 0.0), 1e-11);
    const std::vector<double> at = place(minimum.x);
    const double value = surface.huber(at, delta, {});
    if (!(value < best.value)) break;
    best.b = at;
    best.value = value;
  }
  best.small_gradient = surface.relative_gradient(best.b, delta) < kSmallGradient;
  return best;
}

/// The best few places to begin at, each refined by reweighted Gauss-Newton steps.
std::vector<std::vector<double>> refined_starts(const ChinchillaSurface& surface,
                                                std::span<const double> start, double delta) {
  std::vector<std::vector<double>> places;
  if (!start.empty()) {
    places.emplace_back(start.begin(), start.end());
  } else {
    places = surface.best_of_grid(kRefinedStarts);
  }
  for (auto& b : places) b = surface.reweighted(b, delta);
  std::stable_sort(places.begin(), places.end(), [&](const auto& x, const auto& y) {
    return surface.huber(x, delta, {}) < surface.huber(y, delta, {});
  });
  return places;
}

void fit_huber(const ChinchillaSurface& surface, double delta, std::span<const double> start,
               LawFit& fit) {
  const auto places = refined_starts(surface, start, delta);
  Polished best;
  for (std::size_t i = 0; i < std::min<std::size_t>(2, places.size()); ++i) {
    const Polished polished = polish_huber(surface, places[i], delta);
    if (polished.value < best.value) best = polished;
  }
  fit.internal = best.b;
  if (surface.exact(best.b)) {
    fit.status = FitStatus::converged;
    return;
  }
  if (!best.small_gradient) {
    fit.status = FitStatus::not_converged;
    fit.detail = fmt::format("the gradient is {:.1e} of its terms' size at the best point",
                             surface.relative_gradient(best.b, delta));
    return;
  }
  if (start.empty()) {
    const auto whiten = surface.whitening(best.b);
    std::vector<double> aside = best.b;
    for (std::size_t i = 0; whiten && i < aside.size(); ++i) {  // two residual sds along each axis
      for (std::size_t j = 0; j < aside.size(); ++j)
        aside[i] += 2 * surface.residual_sd(best.b) * (*whiten)(i, j);
    }
    const Polished again = polish_huber(surface, surface.reweighted(aside, delta), delta);
    if (again.value < best.value) fit.internal = again.b;
    if (std::abs(again.value - best.value) > kAgreement * best.value) {
      fit.status = FitStatus::not_converged;
      fit.detail =
          fmt::format("two polishes disagree: {:.10g} and {:.10g}", best.value, again.value);
      return;
    }
  }
  fit.status = FitStatus::converged;
}

void fit_absolute(const ChinchillaSurface& surface, std::span<const double> start, LawFit& fit) {
  std::vector<double> b;
  if (start.empty()) {
    b = polish_huber(surface, refined_starts(surface, start, 1e-3).front(), 1e-3).b;
  } else {
    b.assign(start.begin(), start.end());
  }
  for (const double delta : {1e-3, 1e-4, 1e-5}) b = surface.reweighted(b, delta);
  const auto vertex = surface.least_absolute(b);
  fit.internal = vertex.b;
  if (vertex.proven || surface.exact(vertex.b)) {
    fit.status = FitStatus::converged;
    return;
  }
  fit.status = FitStatus::not_converged;
  fit.detail = "no five points were found that the best surface passes through";
}

// ---- laws ----

std::vector<Reported> reported() {
  return {
      {"A", Kind::exponential, 0},
      {"B", Kind::exponential, 1},
      {"E", Kind::exponential, 2},
      {"alpha", Kind::same, 3},
      {"beta", Kind::same, 4},
      {"a_opt", Kind::derived, 0, [](std::span<const double> b) { return b[4] / (b[3] + b[4]); }}};
}

Shape squares_shape() {
  Shape s;
  s.formula = "L = E + A / N^alpha + B / D^beta";
  s.variables = {"N", "D"};
  s.internal_names = {"a", "b", "e", "alpha", "beta"};
  s.reported = reported();
  s.rivals = {"chinchilla_nls", "chinchilla_lad"};
  s.fewest_points = 6;
  s.fewest_distinct = 3;
  s.profile = true;
  s.model = [](std::span<const double> b, std::span<const double> x, std::span<double> gradient) {
    return chinchilla_ln_loss(b, std::log(x[0]), std::log(x[1]), gradient);
  };
  s.starts = [](const LawData& data) {
    const ChinchillaSurface surface(data);
    auto starts = surface.best_of_grid(kRefinedStarts);
    for (auto& b : starts) b = surface.reweighted(b, kInfinity);
    return starts;
  };
  return s;
}

Law chinchilla_law(const std::string& name, const std::string& about,
                   const ChinchillaObjective& objective) {
  Shape shape = squares_shape();
  shape.name = name;
  shape.about = about;
  Law law = make_law(shape);
  law.fit = [objective](const LawData& data, std::span<const double> start) {
    return fit_chinchilla(data, objective, start);
  };
  return law;
}

const char* law_name(ChinchillaObjective::Kind kind) {
  if (kind == ChinchillaObjective::Kind::huber) return "chinchilla";
  return kind == ChinchillaObjective::Kind::absolute ? "chinchilla_lad" : "chinchilla_nls";
}

/// Least squares' errors do not hold for the other objectives.
void withdraw_errors(LawFit& fit) {
  fit.covariance = Matrix();
  fit.cooks_distance.clear();
  for (LawParameter& p : fit.parameters) {
    p.se = kInfinity;
    p.ci95 = {-kInfinity, kInfinity};
    p.ci_method = "bootstrap only";
  }
}

}  // namespace

LawFit fit_chinchilla(const LawData& data, const ChinchillaObjective& objective,
                      std::span<const double> start) {
  const Law& law = find_law(law_name(objective.kind));
  check_domain(data, law.name, true, true);
  if (const std::string problem = design_problem(data); !problem.empty()) {
    return no_fit(law, data, FitStatus::not_identifiable, problem);
  }
  if (objective.kind == ChinchillaObjective::Kind::squares) {
    Shape shape = squares_shape();
    shape.name = law.name;
    LawFit fit = make_law(shape).fit(data, start);
    return fit;
  }
  LawFit fit = no_fit(law, data, FitStatus::not_converged, "");
  const ChinchillaSurface surface(data);
  const bool huber = objective.kind == ChinchillaObjective::Kind::huber;
  if (huber) {
    fit_huber(surface, objective.delta, start, fit);
  } else {
    fit_absolute(surface, start, fit);
  }
  complete_fit(law, reported(), data, fit);
  withdraw_errors(fit);
  if (huber) {
    fit.objective_name = fmt::format("sum of Huber({:g})", objective.delta);
    fit.objective = surface.huber(fit.internal, objective.delta, {});
  } else {
    fit.objective_name = "sum of absolute values";
    fit.objective = surface.absolute(fit.internal);
    if (fit.ok() && data.weights.empty() && fit.objective > 0) {  // the Laplace density's
      const double n = static_cast<double>(fit.n);
      const double k = 6;
      fit.log_likelihood = -n * (std::log(2 * fit.objective / n) + 1);
      fit.aic = 2 * k - 2 * *fit.log_likelihood;
      fit.bic = k * std::log(n) - 2 * *fit.log_likelihood;
      if (n > k + 1) fit.aicc = *fit.aic + 2 * k * (k + 1) / (n - k - 1);
    }
  }
  return fit;
}

std::vector<Law> chinchilla_laws() {
  using K = ChinchillaObjective::Kind;
  return {chinchilla_law("chinchilla",
                         "Hoffmann et al. 2022, approach 3: the sum of Huber(1e-3) on ln L; errors "
                         "by bootstrap",
                         {K::huber, 1e-3}),
          chinchilla_law("chinchilla_lad",
                         "the same surface by least absolute errors of ln L (the row that "
                         "Besiroglu et al. 2024 report)",
                         {K::absolute, 0}),
          chinchilla_law("chinchilla_nls", "the same surface by least squares of ln L",
                         {K::squares, 0})};
}

}  // namespace pg::post
