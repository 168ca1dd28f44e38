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
/// The point below which a share `p` of the standard normal lies.
double normal_quantile(double p);
/// The point below which a share `p` of F with d1 and d2 degrees of freedom lies, and the point
/// above which a share `q` lies: exact for small q, where 1 - q is not.
double fisher_quantile(double p, double d1, double d2);
double fisher_upper_quantile(double q, double d1, double d2);
/// P(X >= x) of chi-squared with df >= 1 degrees of freedom.
double chi_squared_upper_p(double x, double df);
/// P(F >= f) with d1 and d2 degrees of freedom.
double fisher_upper_p(double f, double d1, double d2);

/// P(T <= t) and P(T > t) of the noncentral t distribution. Beyond a noncentrality of 1000 the
/// numerator's own scatter is left out: a relative error below 1e-3 in t.
double noncentral_t_p(double t, double df, double noncentrality);
double noncentral_t_upper_p(double t, double df, double noncentrality);
/// The noncentrality under which `t` lies at the quantile `p` of its distribution.
double noncentrality_at(double t, double df, double p);

/// estimate -+ t_{df, (1 + level) / 2} * se; the whole line when df < 1 or se is infinite.
Interval student_interval(double estimate, double se, double df, double level = 0.95);

/// Holm's step-down adjustment (Holm 1979): family-wise error without independence.
std::vector<double> holm(std::span<const double> p);

/// A paired sign-flip test, exact over all 2^n sign patterns; n <= kMostPairs.
inline constexpr std::size_t kMostPairs = 20;
struct SignFlipTest {
  int n = 0;
  double p = 1;           ///< two-sided
  double smallest_p = 1;  ///< the least p that n pairs can give: 2 / 2^n
  double mean_difference = 0;
};
SignFlipTest sign_flip_test(std::span<const double> differences);

/// Of Gaussian least squares at its maximum, -n/2 (ln(2 pi rss / n) + 1), and the criteria of
/// Akaike and Schwarz from it; `k` counts the coefficients and sigma (R's convention; statsmodels
/// leaves sigma out). Nothing when rss is zero: not bounded.
std::optional<double> gaussian_log_likelihood(double rss, std::size_t n);
std::optional<double> gaussian_aic(double rss, std::size_t n, int k);
std::optional<double> gaussian_bic(double rss, std::size_t n, int k);

/// Akaike's criterion with the small-sample term for Gaussian least squares; `k` counts the
/// coefficients and sigma. Nothing when n <= k + 1 or rss is zero: not defined.
std::optional<double> gaussian_aicc(double rss, std::size_t n, int k);

}  // namespace pg::post
