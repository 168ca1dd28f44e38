#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "postprocess/stats/inference.hpp"
#include "postprocess/stats/linear_model.hpp"

namespace pg::post {

/// How an optimiser ended. Only `converged` gives numbers that may be published.
enum class FitStatus {
  converged,
  not_moved,         ///< it ended where it began, and not because the start was the optimum
  not_converged,     ///< out of iterations, or no further descent while the gradient is not small
  rank_deficient,    ///< the data do not determine all parameters (Jacobian's rank)
  bound_active,      ///< a parameter lies on its bound: its error is not known
  not_identifiable,  ///< known before the fit: too few points, or a variable that does not vary
};
std::string to_string(FitStatus status);

/// r(b), n residuals of p parameters; the fit minimises sum r^2. Weights, where there are any, are
/// already in r (times sqrt(w)).
struct LeastSquaresProblem {
  std::size_t n = 0;
  std::size_t p = 0;
  /// Fills r (length n) at b (length p). A point outside the model's domain gives a NaN or an
  /// infinity: the optimiser takes it for infinitely bad and steps back.
  std::function<void(std::span<const double> b, std::span<double> r)> residuals;
  /// Fills dr_i / db_j (n x p). Empty: central differences of fourth order.
  std::function<void(std::span<const double> b, Matrix& jacobian)> jacobian;
  std::vector<double> lower;  ///< empty: unbounded; else p values, -infinity allowed
  std::vector<double> upper;
};

struct NonlinearFit {
  FitStatus status = FitStatus::not_converged;
  std::string detail;  ///< what exactly happened, for people; empty when converged
  std::vector<double> b;
  std::vector<double> standard_errors;  ///< infinite unless converged with df >= 1
  Matrix covariance;                    ///< s^2 (J'J)^-1; empty unless converged with df >= 1
  double rss = 0;
  double s = 0;  ///< sqrt(rss / df)
  int df = 0;
  int iterations = 0;
  /// Largest cosine between the residuals and a column of the Jacobian: 0 at an optimum.
  double gradient_cosine = 0;
  double condition = 0;  ///< of the Jacobian with columns scaled to length 1
  [[nodiscard]] bool ok() const { return status == FitStatus::converged; }
};

/// Levenberg-Marquardt (More 1978) on a Householder QR, bounds by projection.
NonlinearFit fit_least_squares(const LeastSquaresProblem& problem, std::span<const double> start);

/// The best converged fit from several starts (lowest rss; the first of equals); if none converged,
/// the one with the lowest rss and its status.
NonlinearFit fit_from_starts(const LeastSquaresProblem& problem,
                             const std::vector<std::vector<double>>& starts);

/// The profile interval of parameter `index`: where F(1, df) = (rss(b) - rss) / s^2 with the others
/// refitted crosses its `level` quantile (Bates and Watts 1988, 6.1). An end that is not found
/// within the bounds or 1e3 standard errors, or that a refit leaps over, is infinite.
Interval profile_interval(const LeastSquaresProblem& problem, const NonlinearFit& fit,
                          std::size_t index, double level = 0.95);

}  // namespace pg::post
