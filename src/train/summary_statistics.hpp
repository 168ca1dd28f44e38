#pragma once

#include <span>

namespace pg::train {

/// What the end of a loss curve says, with the dependence between neighbours taken into account.
struct WindowStatistics {
  double mean = 0;
  double sd = 0;              ///< of single values, n - 1
  double mean_se = 0;         ///< of the mean, with n_eff = n (1 - r1) / (1 + r1)
  double drift_per_step = 0;  ///< least-squares slope
  double drift_p = 1;         ///< two-sided p of slope 0 (t test with n_eff of the residuals)
};

/// `x` are the steps, ascending. The lag-1 autocorrelation r1 is estimated and kept in [0, 0.99].
/// Fewer than 3 values: mean and sd only.
WindowStatistics window_statistics(std::span<const double> x, std::span<const double> y);

}  // namespace pg::train
