#include "train/summary_statistics.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.hpp"

namespace pg::train {
namespace {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Number of independent values that n autocorrelated ones are worth, for a first-order process.
double effective_count(std::span<const double> residuals) {
  double variance = 0;
  double covariance = 0;
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    variance += residuals[i] * residuals[i];
    if (i > 0) covariance += residuals[i] * residuals[i - 1];
  }
  const double r1 = variance > 0 ? std::clamp(covariance / variance, 0.0, 0.99) : 0.0;
  return static_cast<double>(residuals.size()) * (1 - r1) / (1 + r1);
}

}  // namespace

WindowStatistics window_statistics(std::span<const double> x, std::span<const double> y) {
  require(!y.empty() && x.size() == y.size(), "a window of at least one value");
  const auto n = static_cast<double>(y.size());
  WindowStatistics result;
  result.mean = mean_of(y);
  std::vector<double> residuals(y.begin(), y.end());
  for (double& r : residuals) r -= result.mean;
  const double tss = std::inner_product(residuals.begin(), residuals.end(), residuals.begin(), 0.0);
  if (y.size() < 2) return result;
  result.sd = std::sqrt(tss / (n - 1));
  if (y.size() < 3) return result;
  result.mean_se = result.sd / std::sqrt(std::max(1.0, effective_count(residuals)));

  const double x_mean = mean_of(x);
  double sxx = 0;
  double sxy = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    sxx += (x[i] - x_mean) * (x[i] - x_mean);
    sxy += (x[i] - x_mean) * (y[i] - result.mean);
  }
  require(sxx > 0, "steps that differ");
  result.drift_per_step = sxy / sxx;
  double rss = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    residuals[i] = y[i] - result.mean - result.drift_per_step * (x[i] - x_mean);
    rss += residuals[i] * residuals[i];
  }
  const double n_eff = effective_count(residuals);
  const double df = std::max(1.0, n_eff - 2);
  // Scaling by n / n_eff turns the variance of independent residuals into that of dependent ones.
  const double se = std::sqrt(rss / (n - 2) / sxx * (n / n_eff));
  if (se > 0 && std::isfinite(se)) {
    const boost::math::students_t t(df);
    result.drift_p =
        2 * boost::math::cdf(boost::math::complement(t, std::abs(result.drift_per_step) / se));
  } else {
    result.drift_p = result.drift_per_step == 0 ? 1 : 0;
  }
  return result;
}

}  // namespace pg::train
