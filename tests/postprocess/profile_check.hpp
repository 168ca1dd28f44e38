#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "postprocess/fits/law.hpp"

// Profile intervals against their definition, without the code that finds them.

namespace pg::test {

/// The least sum of squares with one optimised value held, by walks of several paces to where it is
/// held; derivatives by differences.
inline double held_rss(const post::LawFit& fit, const post::LawData& data, std::size_t index,
                       double value) {
  const post::Law& law = post::find_law(fit.law);
  std::vector<double> all = fit.internal;
  std::vector<double> rest;
  for (std::size_t j = 0; j < all.size(); ++j) {
    if (j != index) rest.push_back(all[j]);
  }
  post::LeastSquaresProblem problem;
  problem.n = data.size();
  problem.p = rest.size();
  double held = value;
  problem.residuals = [&](std::span<const double> b, std::span<double> r) {
    for (std::size_t j = 0, k = 0; j < all.size(); ++j) all[j] = j == index ? held : b[k++];
    for (std::size_t i = 0; i < data.size(); ++i) {
      std::vector<double> x;
      for (const auto& column : data.x) x.push_back(column[i]);
      const double y = fit.response == "ln y" ? std::log(data.y[i]) : data.y[i];
      r[i] = y - law.response(all, x, {});
    }
  };
  double rss = std::numeric_limits<double>::infinity();
  const std::vector<double> start = rest;
  for (const int steps : {1, 2, 5, 10, 40}) {
    rest = start;
    post::NonlinearFit found;
    for (int step = 1; step <= steps; ++step) {
      held = fit.internal[index] + (value - fit.internal[index]) * step / steps;
      found = post::fit_least_squares(problem, rest);
      rest = found.b;
    }
    rss = std::min(rss, found.rss);
  }
  return rss;
}

/// Each finite end of the first parameters (one per optimised value, in their order) is where
/// F(1, n - p) reaches its quantile; beyond an end that is not finite it does not. Returns the
/// number of ends of the second kind.
inline std::size_t check_profile(const post::LawFit& fit, const post::LawData& data,
                                 double tolerance = 1e-6) {
  BOOST_REQUIRE(fit.ok());
  BOOST_REQUIRE(fit.df >= 1);
  const double f = post::fisher_quantile(0.95, 1, fit.df);
  std::size_t open = 0;
  for (std::size_t j = 0; j < fit.internal.size(); ++j) {
    const post::LawParameter& p = fit.parameters[j];
    const bool exponential = p.ci_method == "exp of profile";
    BOOST_TEST((exponential || p.ci_method == "profile"), p.name << " by " << p.ci_method);
    for (const double end : {p.ci95.low, p.ci95.high}) {
      const double at = exponential ? std::log(end) : end;
      if (std::isfinite(at)) {
        const double ratio = held_rss(fit, data, j, at) / (fit.rss * (1 + f / fit.df));
        BOOST_TEST(std::abs(ratio - 1) < tolerance, p.name << " at " << end << ": " << ratio);
        continue;
      }
      ++open;
      const std::string words = "do not bound " + p.name;
      BOOST_TEST(std::any_of(fit.warnings.begin(), fit.warnings.end(), [&](const std::string& w) {
        return w.find(words) != std::string::npos;
      }));
      for (const double steps : {3.0, 10.0}) {
        const double se = std::sqrt(fit.covariance(j, j));
        const double far = fit.internal[j] + (at < 0 ? -steps : steps) * se;
        BOOST_TEST(held_rss(fit, data, j, far) < fit.rss * (1 + f / fit.df));
      }
    }
  }
  return open;
}

}  // namespace pg::test
