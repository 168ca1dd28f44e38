#include <cmath>
#include <limits>
#include <numeric>

#include "postprocess/stats/least_squares.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The rss with one parameter held and the others refitted from `guess`, which follows.
double held_rss(const LeastSquaresProblem& problem, std::size_t index, double value,
                std::vector<double>& guess) {
  std::vector<double> all(problem.p);
  const auto fill = [&](std::span<const double> rest) {
    for (std::size_t j = 0, k = 0; j < problem.p; ++j) all[j] = j == index ? value : rest[k++];
  };
  LeastSquaresProblem held;
  held.n = problem.n;
  held.p = problem.p - 1;
  if (held.p == 0) {
    std::vector<double> r(problem.n);
    fill({});
    problem.residuals(all, r);
    return std::inner_product(r.begin(), r.end(), r.begin(), 0.0);
  }
  held.residuals = [&](std::span<const double> rest, std::span<double> r) {
    fill(rest);
    problem.residuals(all, r);
  };
  if (problem.jacobian) {
    held.jacobian = [&](std::span<const double> rest, Matrix& jacobian) {
      fill(rest);
      Matrix full(problem.n, problem.p);
      problem.jacobian(all, full);
      for (std::size_t i = 0; i < problem.n; ++i) {
        for (std::size_t j = 0, k = 0; j < problem.p; ++j) {
          if (j != index) jacobian(i, k++) = full(i, j);
        }
      }
    };
  }
  for (std::size_t j = 0; j < problem.p; ++j) {
    if (j == index) continue;
    if (!problem.lower.empty()) held.lower.push_back(problem.lower[j]);
    if (!problem.upper.empty()) held.upper.push_back(problem.upper[j]);
  }
  const NonlinearFit fit = fit_least_squares(held, guess);
  guess = fit.b;
  return fit.rss;
}

}  // namespace

Interval profile_interval(const LeastSquaresProblem& problem, const NonlinearFit& fit,
                          std::size_t index, double level) {
  Interval interval{-kInfinity, kInfinity};
  if (!fit.ok() || fit.df < 1 || !(fit.s > 0)) return interval;
  const double t = student_quantile((1 + level) / 2, fit.df);
  const double limit = fit.rss + t * t * fit.s * fit.s;
  const double se = fit.standard_errors[index];
  for (const double direction : {-1.0, 1.0}) {
    const double bound = direction < 0 ? (problem.lower.empty() ? -kInfinity : problem.lower[index])
                                       : (problem.upper.empty() ? kInfinity : problem.upper[index]);
    std::vector<double> guess;
    for (std::size_t j = 0; j < problem.p; ++j) {
      if (j != index) guess.push_back(fit.b[j]);
    }
    double inside = 0;  // distances from the estimate, in standard errors
    double outside = t;
    std::vector<double> outer_guess = guess;
    bool found = false;
    while (outside <= 1e3) {
      double value = fit.b[index] + direction * outside * se;
      const bool beyond = direction * (value - bound) > 0;
      if (beyond) value = bound;
      const double rss = held_rss(problem, index, value, outer_guess);
      if (!(rss < limit)) {
        if (beyond) outside = std::abs(bound - fit.b[index]) / se;
        found = true;
        break;
      }
      if (beyond) break;
      inside = outside;
      guess = outer_guess;
      outside *= 1.5;
    }
    if (!found) continue;
    for (int i = 0; i < 60 && outside - inside > 1e-10 * outside; ++i) {
      const double middle = (inside + outside) / 2;
      std::vector<double> own = guess;
      const double rss = held_rss(problem, index, fit.b[index] + direction * middle * se, own);
      if (rss < limit) {
        inside = middle;
        guess = std::move(own);
      } else {
        outside = middle;
      }
    }
    (direction < 0 ? interval.low : interval.high) =
        fit.b[index] + direction * (inside + outside) / 2 * se;
  }
  return interval;
}

}  // namespace pg::post
