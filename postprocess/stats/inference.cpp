#include "postprocess/stats/inference.hpp"

#include <algorithm>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/error.hpp"

namespace pg::post {

using boost::math::complement;

bool Interval::finite() const {
  return std::isfinite(low) && std::isfinite(high);
}

double student_quantile(double p, double df) {
  return boost::math::quantile(boost::math::students_t(df), p);
}

double student_upper_p(double t, double df) {
  if (std::isinf(t)) return t > 0 ? 0 : 1;
  return boost::math::cdf(complement(boost::math::students_t(df), t));
}

double student_two_sided_p(double t, double df) {
  return std::min(1.0, 2 * student_upper_p(std::abs(t), df));
}

double fisher_upper_p(double f, double d1, double d2) {
  if (std::isinf(f)) return 0;
  return boost::math::cdf(complement(boost::math::fisher_f(d1, d2), f));
}

Interval student_interval(double estimate, double se, int df, double level) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (df < 1 || !std::isfinite(se)) return {-kInfinity, kInfinity};
  const double half = student_quantile((1 + level) / 2, df) * se;
  return {estimate - half, estimate + half};
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double highest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double factor = static_cast<double>(p.size() - rank);
    highest = std::max(highest, std::min(1.0, factor * p[order[rank]]));
    adjusted[order[rank]] = highest;
  }
  return adjusted;
}

double equivalence_p(double estimate, double se, int df, double target, double margin) {
  if (df < 1 || !std::isfinite(se) || se <= 0) return 1;
  const double above_lower = student_upper_p((estimate - (target - margin)) / se, df);
  const double below_upper = student_upper_p(((target + margin) - estimate) / se, df);
  return std::max(above_lower, below_upper);
}

SignFlipTest sign_flip_test(std::span<const double> differences) {
  const std::size_t n = differences.size();
  require(n <= kMostPairs, "an exact sign-flip test has at most 20 pairs");
  SignFlipTest test;
  test.n = static_cast<int>(n);
  if (n == 0) return test;
  const double observed = std::accumulate(differences.begin(), differences.end(), 0.0);
  double scale = 0;
  for (const double d : differences) scale += std::abs(d);
  // Sums that are equal in exact arithmetic must count as equal whatever the order of adding.
  const double threshold = std::abs(observed) - 1e-12 * scale;
  const std::uint64_t patterns = std::uint64_t{1} << n;
  std::uint64_t as_extreme = 0;
  for (std::uint64_t pattern = 0; pattern < patterns; ++pattern) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i)
      sum += (pattern >> i & 1) ? -differences[i] : differences[i];
    if (std::abs(sum) >= threshold) ++as_extreme;
  }
  test.p = static_cast<double>(as_extreme) / static_cast<double>(patterns);
  test.smallest_p = std::min(1.0, 2.0 / static_cast<double>(patterns));
  test.mean_difference = observed / static_cast<double>(n);
  return test;
}

std::optional<double> gaussian_aicc(double rss, std::size_t n, int k) {
  const double size = static_cast<double>(n);
  if (size <= k + 1 || rss <= 0) return std::nullopt;
  const double log_likelihood = -size / 2 * (std::log(2 * std::numbers::pi * rss / size) + 1);
  return 2.0 * k - 2 * log_likelihood + 2.0 * k * (k + 1) / (size - k - 1);
}

}  // namespace pg::post
