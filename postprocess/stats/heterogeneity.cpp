#include "postprocess/stats/heterogeneity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "postprocess/stats/inference.hpp"

namespace pg::post {

bool Measured::has_error() const {
  return df >= 1 && se > 0 && std::isfinite(se);
}

Measured mean_of_independent(std::span<const Measured> parts) {
  Measured mean{.estimate = 0, .se = std::numeric_limits<double>::infinity(), .df = 0};
  const auto n = static_cast<double>(parts.size());
  double variance = 0;
  double denominator = 0;
  bool known = !parts.empty();
  for (const Measured& part : parts) {
    mean.estimate += part.estimate / n;
    known = known && part.has_error();
    const double v = part.se * part.se / (n * n);
    variance += v;
    denominator += v * v / part.df;
  }
  if (!known) return mean;
  mean.se = std::sqrt(variance);
  mean.df = variance * variance / denominator;
  return mean;
}

Heterogeneity heterogeneity(std::span<const Measured> parts) {
  Heterogeneity h;
  if (parts.size() < 2 ||
      !std::all_of(parts.begin(), parts.end(), [](const Measured& m) { return m.has_error(); })) {
    return h;
  }
  h.n = parts.size();
  double w = 0;
  double w2 = 0;
  double fixed = 0;
  for (const Measured& m : parts) {
    const double weight = 1 / (m.se * m.se);
    w += weight;
    w2 += weight * weight;
    fixed += weight * m.estimate;
  }
  fixed /= w;
  for (const Measured& m : parts) {
    h.q += (m.estimate - fixed) * (m.estimate - fixed) / (m.se * m.se);
  }
  const auto df = static_cast<double>(parts.size() - 1);
  h.p = chi_squared_upper_p(h.q, df);
  h.i2 = h.q > df ? (h.q - df) / h.q : 0;
  h.tau2 = std::max(0.0, (h.q - df) / (w - w2 / w));
  double total = 0;
  for (const Measured& m : parts) {
    const double weight = 1 / (m.se * m.se + h.tau2);
    total += weight;
    h.mean += weight * m.estimate;
  }
  h.mean /= total;
  return h;
}

}  // namespace pg::post
