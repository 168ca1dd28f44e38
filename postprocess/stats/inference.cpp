#include "postprocess/stats/inference.hpp"

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/tools/toms748_solve.hpp>
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

double normal_quantile(double p) {
  return boost::math::quantile(boost::math::normal(), p);
}

double fisher_quantile(double p, double d1, double d2) {
  return boost::math::quantile(boost::math::fisher_f(d1, d2), p);
}

double fisher_upper_quantile(double q, double d1, double d2) {
  return boost::math::quantile(complement(boost::math::fisher_f(d1, d2), q));
}

double chi_squared_upper_p(double x, double df) {
  if (std::isinf(x)) return 0;
  return boost::math::cdf(complement(boost::math::chi_squared(df), x));
}

double fisher_upper_p(double f, double d1, double d2) {
  if (std::isinf(f)) return 0;
  return boost::math::cdf(complement(boost::math::fisher_f(d1, d2), f));
}

namespace {

// Boost.Math's series are exact up to here; from here on T is the noncentrality over a chi.
constexpr double kLargestNoncentrality = 1000;

/// P(T <= t), or P(T > t) if `upper`, for a noncentrality beyond the largest.
double far_noncentral_t_p(double t, double df, double noncentrality, bool upper) {
  if (noncentrality < 0) return far_noncentral_t_p(-t, df, -noncentrality, !upper);
  if (t <= 0) return upper ? 1 : 0;
  const boost::math::chi_squared chi(df);
  const double at = df * std::pow(noncentrality / t, 2);
  return upper ? boost::math::cdf(chi, at) : boost::math::cdf(complement(chi, at));
}

}  // namespace

double noncentral_t_p(double t, double df, double noncentrality) {
  if (std::isinf(t)) return t > 0 ? 1 : 0;
  if (std::abs(noncentrality) > kLargestNoncentrality)
    return far_noncentral_t_p(t, df, noncentrality, false);
  const boost::math::non_central_t distribution(df, noncentrality);
  return std::clamp(boost::math::cdf(distribution, t), 0.0, 1.0);
}

double noncentral_t_upper_p(double t, double df, double noncentrality) {
  if (std::isinf(t)) return t > 0 ? 0 : 1;
  if (std::abs(noncentrality) > kLargestNoncentrality)
    return far_noncentral_t_p(t, df, noncentrality, true);
  const boost::math::non_central_t distribution(df, noncentrality);
  return std::clamp(boost::math::cdf(complement(distribution, t)), 0.0, 1.0);
}

double noncentrality_at(double t, double df, double p) {
  // P(T <= t) falls as the noncentrality grows; 5 |t| + 10 is beyond any 99.9 % end, df = 1 too.
  const double reach = 5 * std::abs(t) + 10;
  const auto distance = [&](double noncentrality) {
    return noncentral_t_p(t, df, noncentrality) - p;
  };
  std::uintmax_t iterations = 200;
  const auto [low, high] = boost::math::tools::toms748_solve(
      distance, -reach, reach, boost::math::tools::eps_tolerance<double>(48), iterations);
  return (low + high) / 2;
}

Interval student_interval(double estimate, double se, double df, double level) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (!(df >= 1) || !std::isfinite(se)) return {-kInfinity, kInfinity};
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

std::optional<double> gaussian_log_likelihood(double rss, std::size_t n) {
  if (!(rss > 0)) return std::nullopt;
  const double size = static_cast<double>(n);
  return -size / 2 * (std::log(2 * std::numbers::pi * rss / size) + 1);
}

std::optional<double> gaussian_aic(double rss, std::size_t n, int k) {
  const auto log_likelihood = gaussian_log_likelihood(rss, n);
  if (!log_likelihood) return std::nullopt;
  return 2.0 * k - 2 * *log_likelihood;
}

std::optional<double> gaussian_bic(double rss, std::size_t n, int k) {
  const auto log_likelihood = gaussian_log_likelihood(rss, n);
  if (!log_likelihood) return std::nullopt;
  return k * std::log(static_cast<double>(n)) - 2 * *log_likelihood;
}

std::optional<double> gaussian_aicc(double rss, std::size_t n, int k) {
  const double size = static_cast<double>(n);
  const auto aic = gaussian_aic(rss, n, k);
  if (size <= k + 1 || !aic) return std::nullopt;
  return *aic + 2.0 * k * (k + 1) / (size - k - 1);
}

}  // namespace pg::post
