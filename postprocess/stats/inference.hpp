#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

// Quantiles, tail probabilities, and the tests that pgpost prints. Distributions are Boost.Math's.

namespace pg::post {

/// A confidence interval; infinite ends mean that the data do not bound it.
struct Interval {
  double low = 0;
  double high = 0;
  [[nodiscard]] bool contains(double value) const { return low <= value && value <= high; }
  [[nodiscard]] bool within(double lower, double upper) const {
    return low > lower && high < upper;
  }
  [[nodiscard]] bool finite() const;
  [[nodiscard]] double width() const { return high - low; }
};

/// Student's t: the point below which a share `p` in (0, 1) lies; df >= 1.
double student_quantile(double p, double df);
/// P(|T| >= |t|), 0 for infinite t.
double student_two_sided_p(double t, double df);
/// P(T >= t).
double student_upper_p(double t, double df);
/// P(F >= f) with d1 and d2 degrees of freedom.
double fisher_upper_p(double f, double d1, double d2);

/// estimate -+ t_{df, (1 + level) / 2} * se; the whole line when df < 1 or se is infinite.
Interval student_interval(double estimate, double se, int df, double level = 0.95);

/// Holm's step-down adjustment (Holm 1979): family-wise error without independence.
std::vector<double> holm(std::span<const double> p);

/// Two one-sided t tests (Schuirmann 1987): the p-value against "the value differs from `target`
/// by `margin` or more"; 1 when df < 1 or se is 0: nothing was measured about the error.
double equivalence_p(double estimate, double se, int df, double target, double margin);

/// A paired sign-flip test, exact over all 2^n sign patterns; n <= kMostPairs.
inline constexpr std::size_t kMostPairs = 20;
struct SignFlipTest {
  int n = 0;
  double p = 1;           ///< two-sided
  double smallest_p = 1;  ///< the least p that n pairs can give: 2 / 2^n
  double mean_difference = 0;
};
SignFlipTest sign_flip_test(std::span<const double> differences);

/// Akaike's criterion with the small-sample term for Gaussian least squares; `k` counts the
/// coefficients and sigma. Nothing when n <= k + 1 or rss is zero: not defined.
std::optional<double> gaussian_aicc(double rss, std::size_t n, int k);

}  // namespace pg::post
