#pragma once

#include <span>

// Several independent estimates of one thing: their plain mean, and whether they differ by more
// than their errors.

namespace pg::post {

/// An estimate with its standard error; infinite, or df < 1: no error known.
struct Measured {
  double estimate = 0;
  double se = 0;
  double df = 0;
  [[nodiscard]] bool has_error() const;
};

/// The unweighted mean of independent estimates, with Welch and Satterthwaite's degrees of freedom.
/// No error where one of them has none.
Measured mean_of_independent(std::span<const Measured> parts);

/// Cochran's Q against equal true values, I^2 (Higgins and Thompson 2002) and the variance between
/// the true values (DerSimonian and Laird 1986) with the mean it gives.
struct Heterogeneity {
  std::size_t n = 0;  ///< 0: fewer than two estimates, or one without error
  double q = 0;
  double p = 1;
  double i2 = 0;  ///< share of the scatter that is not error, 0 to 1
  double tau2 = 0;
  double mean = 0;
};
Heterogeneity heterogeneity(std::span<const Measured> parts);

}  // namespace pg::post
