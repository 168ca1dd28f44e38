#include "postprocess/stats/comparisons.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.hpp"
#include "postprocess/stats/univariate.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Mean and variance of a sample. A spread within the rounding errors of its values is none: the
/// differences of equal pairs must not look like a measurement of great precision.
struct Moments {
  double n = 0;
  double mean = 0;
  double variance = 0;  ///< with n - 1; 0 when n < 2
};

double largest(std::span<const double> values) {
  double size = 0;
  for (const double v : values) size = std::max(size, std::abs(v));
  return size;
}

Moments moments_of(std::span<const double> values, double size) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw_data(fmt::format("value {} of a sample is {}", i + 1, values[i]), "finite values",
                 "leave out what diverged before comparing, and say so");
    }
  }
  Moments m;
  m.n = static_cast<double>(values.size());
  if (values.empty()) return m;
  m.mean = mean(values);  // exact: the same in any order of the values
  if (values.size() < 2) return m;
  const double sd = standard_deviation(values);
  m.variance = sd <= 1e-14 * size ? 0 : sd * sd;
  return m;
}

Moments moments_of(std::span<const double> values) {
  return moments_of(values, largest(values));
}

std::vector<double> differences_of(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) {
    throw_data(fmt::format("a paired comparison of {} values with {} values", x.size(), y.size()),
               "two samples of the same seeds in the same order",
               "compare the seeds that both settings have, or use an unpaired test");
  }
  std::vector<double> differences(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) differences[i] = x[i] - y[i];
  return differences;
}

MeanTest finish(std::string method, std::size_t n, double estimate, double squared_se, double df) {
  MeanTest test;
  test.method = std::move(method);
  test.n = n;
  test.estimate = estimate;
  test.se = kInfinity;
  test.ci95 = {-kInfinity, kInfinity};
  if (!(squared_se > 0)) return test;
  test.se = std::sqrt(squared_se);
  test.df = df;
  test.t = estimate / test.se;
  test.p = student_two_sided_p(test.t, df);
  test.ci95 = student_interval(estimate, test.se, df);
  return test;
}

MeanTest one_sample(std::string method, const Moments& m) {
  return finish(std::move(method), static_cast<std::size_t>(m.n), m.mean,
                m.n < 2 ? 0 : m.variance / m.n, m.n - 1);
}

Moments moments_of_differences(std::span<const double> x, std::span<const double> y) {
  return moments_of(differences_of(x, y), std::max(largest(x), largest(y)));
}

/// g and its interval for t = d / unit with df degrees of freedom.
EffectSize effect_size(double d, double unit, double df) {
  EffectSize effect;
  effect.ci95 = {-kInfinity, kInfinity};
  if (!std::isfinite(d) || df < 1) return effect;
  // Hedges' exact factor, not his approximation 1 - 3 / (4 df - 1). It is 0 at one degree of
  // freedom, where d has no mean.
  effect.g = d * std::exp(std::lgamma(df / 2) - std::lgamma((df - 1) / 2)) / std::sqrt(df / 2);
  const double t = d / unit;
  effect.ci95 = {noncentrality_at(t, df, 0.975) * unit, noncentrality_at(t, df, 0.025) * unit};
  return effect;
}

/// Ranks of |d|, the mean rank for ties, doubled so that they are whole numbers.
std::vector<std::size_t> doubled_ranks(const std::vector<double>& d) {
  std::vector<std::size_t> order(d.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return std::abs(d[a]) < std::abs(d[b]); });
  std::vector<std::size_t> ranks(d.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first + 1;
    while (end < order.size() && std::abs(d[order[end]]) == std::abs(d[order[first]])) ++end;
    for (std::size_t i = first; i < end; ++i) ranks[order[i]] = first + 1 + end;
    first = end;
  }
  return ranks;
}

/// P(sum of the ranks that come up <= value), each rank with probability one half.
double rank_sum_p(const std::vector<std::size_t>& ranks, std::size_t value) {
  const std::size_t total = std::accumulate(ranks.begin(), ranks.end(), std::size_t{0});
  std::vector<double> probability{1.0};
  probability.resize(total + 1);
  std::size_t reached = 0;
  for (const std::size_t rank : ranks) {
    reached += rank;
    for (std::size_t sum = reached + 1; sum-- > 0;) {
      probability[sum] = (probability[sum] + (sum >= rank ? probability[sum - rank] : 0)) / 2;
    }
  }
  double below = 0;
  for (std::size_t sum = 0; sum <= std::min(value, total); ++sum) below += probability[sum];
  return below;
}

double normal_rank_p(const std::vector<std::size_t>& ranks, double v) {
  double mean = 0;
  double variance = 0;  // a quarter of the squared ranks: ties are in it
  for (const std::size_t doubled : ranks) {
    const double rank = static_cast<double>(doubled) / 2;
    mean += rank / 2;
    variance += rank * rank / 4;
  }
  const double z = std::max(0.0, std::abs(v - mean) - 0.5) / std::sqrt(variance);
  return std::min(1.0, 2 * boost::math::cdf(complement(boost::math::normal(), z)));
}

}  // namespace

MeanTest mean_test(std::span<const double> values) {
  return one_sample("one-sample t", moments_of(values));
}

MeanTest paired_test(std::span<const double> x, std::span<const double> y) {
  return one_sample("paired t", moments_of_differences(x, y));
}

MeanTest welch_test(std::span<const double> x, std::span<const double> y) {
  const Moments a = moments_of(x);
  const Moments b = moments_of(y);
  const bool measured = a.n >= 2 && b.n >= 2;
  const double va = measured ? a.variance / a.n : 0;
  const double vb = measured ? b.variance / b.n : 0;
  const double df = (va + vb) * (va + vb) / (va * va / (a.n - 1) + vb * vb / (b.n - 1));
  const double difference = a.n > 0 && b.n > 0 ? a.mean - b.mean : 0;
  return finish("Welch t", x.size() + y.size(), difference, va + vb, df);
}

Equivalence equivalence_test(double estimate, double se, double df, double target, double margin) {
  Equivalence test;
  test.margin = margin;
  test.ci90 = {-kInfinity, kInfinity};
  if (!(df >= 1) || !std::isfinite(se) || se <= 0) return test;
  test.p_lower = student_upper_p((estimate - (target - margin)) / se, df);
  test.p_upper = student_upper_p(((target + margin) - estimate) / se, df);
  test.p = std::max(test.p_lower, test.p_upper);
  test.ci90 = student_interval(estimate, se, df, 0.90);
  return test;
}

Equivalence equivalence_test(const MeanTest& test, double margin) {
  return equivalence_test(test.estimate, test.se, test.df, 0, margin);
}

SignedRankTest signed_rank_test(std::span<const double> differences) {
  constexpr std::size_t kMostExact = 50;
  std::vector<double> d;
  for (const double difference : differences) {
    if (std::isnan(difference)) {
      throw_data("a difference is not a number", "numbers",
                 "leave out what diverged before comparing, and say so");
    }
    if (difference != 0) d.push_back(difference);
  }
  SignedRankTest test;
  test.n = d.size();
  if (d.empty()) return test;
  const std::vector<std::size_t> ranks = doubled_ranks(d);
  std::size_t positive = 0;
  std::size_t total = 0;
  for (std::size_t i = 0; i < d.size(); ++i) {
    total += ranks[i];
    if (d[i] > 0) positive += ranks[i];
  }
  test.v = static_cast<double>(positive) / 2;
  test.exact = d.size() <= kMostExact;
  if (test.exact) {  // the distribution is symmetric: twice the smaller tail
    test.p = std::min(1.0, 2 * rank_sum_p(ranks, std::min(positive, total - positive)));
  } else {
    test.p = normal_rank_p(ranks, test.v);
  }
  return test;
}

std::vector<double> benjamini_hochberg(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double lowest = 1;
  for (std::size_t rank = p.size(); rank-- > 0;) {
    const double factor = static_cast<double>(p.size()) / static_cast<double>(rank + 1);
    lowest = std::min(lowest, factor * p[order[rank]]);
    adjusted[order[rank]] = lowest;
  }
  return adjusted;
}

EffectSize hedges_g_paired(std::span<const double> x, std::span<const double> y) {
  const Moments m = moments_of_differences(x, y);
  const double d = m.variance > 0 ? m.mean / std::sqrt(m.variance) : kInfinity;
  return effect_size(d, 1 / std::sqrt(m.n), m.n - 1);
}

EffectSize hedges_g(std::span<const double> x, std::span<const double> y) {
  const Moments a = moments_of(x);
  const Moments b = moments_of(y);
  const double df = a.n + b.n - 2;
  const double pooled = ((a.n - 1) * a.variance + (b.n - 1) * b.variance) / df;
  const bool measured = a.n >= 1 && b.n >= 1 && df >= 1 && pooled > 0;
  const double d = measured ? (a.mean - b.mean) / std::sqrt(pooled) : kInfinity;
  return effect_size(d, std::sqrt(1 / a.n + 1 / b.n), df);
}

SeriesMean series_mean(std::span<const double> series) {
  const Moments m = moments_of(series);
  SeriesMean result;
  result.n = series.size();
  result.mean = m.mean;
  result.se = kInfinity;
  result.ci95 = {-kInfinity, kInfinity};
  if (!(m.variance > 0)) return result;
  const std::size_t n = series.size();
  const auto covariance = [&](std::size_t lag) {
    double sum = 0;
    for (std::size_t i = lag; i < n; ++i) sum += (series[i] - m.mean) * (series[i - lag] - m.mean);
    return sum / m.n;
  };
  const double variance = covariance(0);
  // Sums of two neighbouring autocovariances of a reversible chain are positive and fall: stop
  // where the estimates no longer are, and let none exceed the one before it. Geyer stops at 0; at
  // half the error that such a sum has in white noise the intervals come closer to their level.
  const double least = 0.5 * variance * std::sqrt(2 / m.n);
  double sum = -variance;  // of the autocovariances of all lags, both signs
  double lags = -1;
  double previous = kInfinity;
  for (std::size_t lag = 0; lag + 1 < n; lag += 2) {
    const double pair = covariance(lag) + covariance(lag + 1);
    if (pair <= least) break;
    previous = std::min(previous, pair);
    sum += 2 * previous;
    lags += 4;
  }
  if (sum < variance) {  // values that alternate are taken for independent ones
    sum = variance;
    lags = 1;
  }
  // Each estimated autocovariance is too small by the variance of the mean, lags times in all.
  lags = std::min(lags, m.n - 1);
  const double squared_se = sum / m.n / (1 - lags / m.n);
  result.se = std::sqrt(squared_se);
  result.n_effective = m.variance / squared_se;
  // A sum of w estimated covariances of n values is as uncertain as a variance with n / w degrees
  // of freedom (Priestley 1981, 6.2.4).
  result.ci95 = student_interval(m.mean, result.se, std::min(result.n_effective - 1, m.n / lags));
  return result;
}

}  // namespace pg::post
