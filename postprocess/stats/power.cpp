#include "postprocess/stats/power.hpp"

#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "postprocess/stats/inference.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kMost = 100'000;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The smallest n in [first, kMost] for which `enough` holds, which it keeps doing from there on.
std::size_t fewest(std::size_t first, const std::function<bool(std::size_t)>& enough) {
  if (!enough(kMost)) return 0;
  std::size_t low = first;
  std::size_t high = kMost;
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (enough(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// The noncentrality at which a test reaches `power`, by bisection: power grows with it.
double noncentrality_needed(double df, double power, double level) {
  double low = 0;
  double high = 1;
  while (t_power(high, df, level) < power) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (t_power(middle, df, level) < power ? low : high) = middle;
  }
  return high;
}

}  // namespace

double t_power(double noncentrality, double df, double level) {
  if (!(df >= 1)) return 0;
  if (std::isinf(noncentrality)) return 1;
  const double critical = student_quantile(1 - level / 2, df);
  return noncentral_t_upper_p(critical, df, noncentrality) +
         noncentral_t_p(-critical, df, noncentrality);
}

double t_test_power(double effect, double sd, std::size_t n, double level) {
  if (n < 2) return 0;
  if (effect == 0) return level;
  const auto size = static_cast<double>(n);
  return t_power(effect / sd * std::sqrt(size), size - 1, level);
}

double minimum_detectable_effect(double sd, std::size_t n, double power, double level) {
  if (n < 2) return kInfinity;
  const auto size = static_cast<double>(n);
  return minimum_detectable_slope_difference(sd / std::sqrt(size), size - 1, power, level);
}

std::size_t values_needed(double effect, double sd, double power, double level) {
  return fewest(2, [&](std::size_t n) { return t_test_power(effect, sd, n, level) >= power; });
}

double minimum_detectable_slope_difference(double slope_se, double df, double power, double level) {
  if (!(df >= 1) || !std::isfinite(slope_se)) return kInfinity;
  return slope_se * noncentrality_needed(df, power, level);
}

std::size_t replicates_needed(double difference, double slope_se, std::size_t n_points,
                              std::size_t n_parameters, double power, double level) {
  return fewest(1, [&](std::size_t runs) {
    const auto r = static_cast<double>(runs);
    const double df = r * static_cast<double>(n_points) - static_cast<double>(n_parameters);
    return t_power(difference / slope_se * std::sqrt(r), df, level) >= power;
  });
}

double expected_minimum_bias(std::size_t k, double sd) {
  if (k < 2) return 0;
  // E max = integral of x k phi(x) Phi(x)^(k-1); the trapezoid rule on a smooth, vanishing
  // integrand is exact to rounding.
  const boost::math::normal normal;
  constexpr double kStep = 1.0 / 64;
  double sum = 0;
  for (int i = -12 * 64; i <= 12 * 64; ++i) {
    const double x = i * kStep;
    sum += x * static_cast<double>(k) * boost::math::pdf(normal, x) *
           std::pow(boost::math::cdf(normal, x), static_cast<double>(k - 1));
  }
  return sum * kStep * sd;
}

}  // namespace pg::post
