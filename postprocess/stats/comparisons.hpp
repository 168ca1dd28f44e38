#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "postprocess/stats/inference.hpp"

// Means and differences of means. Samples are plain spans of finite values; anything else throws
// InvalidInput (data). A sample that tells nothing about its error (fewer than two values, or all
// equal) has df = 0, an infinite standard error and interval, and p = 1.

namespace pg::post {

/// A mean or a difference of means with its t interval.
struct MeanTest {
  std::string method;  ///< "one-sample t", "paired t", "Welch t"
  std::size_t n = 0;   ///< values, pairs, or values of both samples
  double estimate = 0;
  double se = 0;
  double df = 0;  ///< 0: no error known (one value); then se is infinite and p = 1
  double t = 0;
  double p = 1;  ///< two-sided, against 0
  Interval ci95 = {};
};
MeanTest mean_test(std::span<const double> values);
/// x_i - y_i of the same seeds and data order; equal lengths.
MeanTest paired_test(std::span<const double> x, std::span<const double> y);
/// mean(x) - mean(y), unequal variances (Welch 1947, Satterthwaite's degrees of freedom).
MeanTest welch_test(std::span<const double> x, std::span<const double> y);

/// Two one-sided t tests (Schuirmann 1987) of "the value differs from `target` by `margin` or
/// more". All p are 1 where the error is not known (df < 1, or se not above 0).
struct Equivalence {
  double margin = 0;
  double p_lower = 1;  ///< against value <= target - margin
  double p_upper = 1;  ///< against value >= target + margin
  double p = 1;        ///< the larger
  Interval ci90 = {};  ///< of the value
  [[nodiscard]] bool equivalent(double level = 0.05) const { return p < level; }
};
Equivalence equivalence_test(double estimate, double se, double df, double target, double margin);
/// Of a mean or a difference of means with 0.
Equivalence equivalence_test(const MeanTest& test, double margin);

/// Wilcoxon's signed-rank test, zeros dropped: exact, ties included, up to 50 differences; beyond
/// that normal with continuity and tie corrections.
struct SignedRankTest {
  std::size_t n = 0;  ///< differences that are not zero
  double v = 0;       ///< sum of the positive ranks
  double p = 1;       ///< two-sided
  bool exact = true;
};
SignedRankTest signed_rank_test(std::span<const double> differences);

/// Benjamini and Hochberg 1995: false discovery rate, for exploration.
std::vector<double> benjamini_hochberg(std::span<const double> p);

/// A standardised difference with small-sample correction (Hedges 1981), and the interval of the
/// true standardised difference from the noncentral t distribution (exact for normal values).
/// Paired: of the differences (d_z); unpaired: pooled sd. g = 0 with an infinite interval where
/// there is no spread to measure in.
struct EffectSize {
  double g = 0;
  Interval ci95 = {};
};
EffectSize hedges_g_paired(std::span<const double> x, std::span<const double> y);
EffectSize hedges_g(std::span<const double> x, std::span<const double> y);

/// The mean of a stationary, autocorrelated series, e.g. a loss tail: standard error from the
/// effective sample size n / (1 + 2 sum rho_k) with Geyer's (1992) initial monotone positive
/// sequence, corrected for the estimated mean; never more than n values' worth. A mean of fewer
/// than about ten effective values is covered less often than its interval says.
struct SeriesMean {
  std::size_t n = 0;
  double mean = 0;
  double se = 0;
  double n_effective = 0;
  Interval ci95 = {};  ///< t with n_effective - 1 degrees of freedom, or fewer (see the code)
};
SeriesMean series_mean(std::span<const double> series);

}  // namespace pg::post
