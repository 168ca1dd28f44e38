#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "postprocess/stats/least_squares.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The others' values at a distance from the estimate in standard errors, and their change with it.
struct Path {
  double distance = 0;
  std::vector<double> rest, slope;

  [[nodiscard]] std::vector<double> ahead(double at) const {
    std::vector<double> b = rest;
    for (std::size_t j = 0; j < b.size(); ++j) b[j] += slope[j] * (at - distance);
    return b;
  }
  void go(double at, const std::vector<double>& b) {
    for (std::size_t j = 0; j < b.size(); ++j) slope[j] = (b[j] - rest[j]) / (at - distance);
    rest = b;
    distance = at;
  }
};

/// The least rss with one parameter held, and the others' values there. The start is
/// where the path points to, or else where it was.
double held_rss(const LeastSquaresProblem& problem, std::size_t index, double value,
                double distance, const Path& path, std::vector<double>& rest) {
  std::vector<double> all(problem.p);
  const auto fill = [&](std::span<const double> others) {
    for (std::size_t j = 0, k = 0; j < problem.p; ++j) all[j] = j == index ? value : others[k++];
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
  held.residuals = [&](std::span<const double> others, std::span<double> r) {
    fill(others);
    problem.residuals(all, r);
  };
  if (problem.jacobian) {
    held.jacobian = [&](std::span<const double> others, Matrix& jacobian) {
      fill(others);
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
  double rss = kInfinity;
  for (const std::vector<double>& start : {path.ahead(distance), path.rest}) {
    NonlinearFit fit = fit_least_squares(held, start);
    if (fit.rss < rss) {
      rss = fit.rss;
      rest = std::move(fit.b);
    }
    if (fit.ok()) break;
  }
  return rss;
}

}  // namespace

Interval profile_interval(const LeastSquaresProblem& problem, const NonlinearFit& fit,
                          std::size_t index, double level) {
  Interval interval{-kInfinity, kInfinity};
  if (!fit.ok() || fit.df < 1 || !(fit.s > 0)) return interval;
  const double t = student_quantile((1 + level) / 2, fit.df);
  const double se = fit.standard_errors[index];
  for (const double direction : {-1.0, 1.0}) {
    const double bound = direction < 0 ? (problem.lower.empty() ? -kInfinity : problem.lower[index])
                                       : (problem.upper.empty() ? kInfinity : problem.upper[index]);
    Path path;
    for (std::size_t j = 0; j < problem.p; ++j) {
      if (j == index) continue;
      path.rest.push_back(fit.b[j]);
      path.slope.push_back(direction * fit.covariance(j, index) / se);
    }
    std::vector<double> rest;
    // The root of F, less its quantile's: a straight line in the distance if the law is linear.
    const auto excess = [&](double distance) {
      double value = fit.b[index] + direction * distance * se;
      if (direction * (value - bound) > 0) value = bound;
      const double rise = held_rss(problem, index, value, distance, path, rest) - fit.rss;
      return std::sqrt(std::max(0.0, rise)) / fit.s - t;
    };
    const double last = std::min(1e3, std::abs(bound - fit.b[index]) / se);
    double inside = -t;  // excess at the path's distance
    double at = std::min(t, last);
    double outside = excess(at);
    while (outside < 0 && at < last) {
      path.go(at, rest);
      inside = outside;
      at = std::min(1.5 * at, last);
      outside = excess(at);
    }
    if (outside < 0) continue;
    // False position with the Illinois rule: an end that stays counts half. Bisection where the
    // model has no value at the outer end.
    double jump = outside;
    int side = 0;
    for (int i = 0; i < 100 && jump > 1e-10 * t && at - path.distance > 1e-12 * at; ++i) {
      const double share = std::isfinite(outside) ? inside / (inside - outside) : 0.5;
      const double middle = path.distance + share * (at - path.distance);
      const double z = excess(middle);
      if (z < -1e-10 * t) {
        path.go(middle, rest);
        inside = z;
        if (side < 0) outside /= 2;
        side = -1;
      } else {
        at = middle;
        outside = jump = z;
        if (side > 0) inside /= 2;
        side = 1;
      }
    }
    // A refit that leaps over the limit has lost its way: no end was found. Without a value beyond,
    // the end is that of the model's domain.
    if (std::isfinite(jump) && jump > 1e-6 * t) continue;
    (direction < 0 ? interval.low : interval.high) = fit.b[index] + direction * at * se;
  }
  return interval;
}

}  // namespace pg::post
