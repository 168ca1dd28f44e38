#include "postprocess/stats/ratio.hpp"

#include <cmath>
#include <limits>

namespace pg::post {

Interval fieller_interval(double a, double b, double var_a, double var_b, double covariance,
                          double df, double level) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Interval everything{-kInfinity, kInfinity};
  if (df < 1) return everything;
  const double t = student_quantile((1 + level) / 2, df);
  // (a - r b)^2 <= t^2 (var_a - 2 r cov + r^2 var_b) is quadratic in r.
  const double square = b * b - t * t * var_b;
  const double linear = a * b - t * t * covariance;
  const double constant = a * a - t * t * var_a;
  const double root = linear * linear - square * constant;
  if (!(square > 0) || !(root >= 0)) return everything;
  const double reach = std::sqrt(root);
  return {(linear - reach) / square, (linear + reach) / square};
}

Interval mean_ratio_interval(std::span<const double> x, std::span<const double> y, double level) {
  const double n = static_cast<double>(x.size());
  double mean_x = 0;
  double mean_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    mean_x += x[i] / n;
    mean_y += y[i] / n;
  }
  double xx = 0;
  double yy = 0;
  double xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  const double scale = n * (n - 1);
  return fieller_interval(mean_x, mean_y, xx / scale, yy / scale, xy / scale, n - 1, level);
}

}  // namespace pg::post
