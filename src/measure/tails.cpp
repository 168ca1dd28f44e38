#include "measure/tails.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/quadrature/gauss_kronrod.hpp>
#include <boost/math/special_functions/digamma.hpp>
#include <boost/math/special_functions/erf.hpp>
#include <boost/math/special_functions/expint.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <boost/math/special_functions/trigamma.hpp>
#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

#include "base/error.hpp"
#include "base/exact_sum.hpp"

namespace pg::measure {
namespace {

constexpr std::size_t kMinPoints = 5;

/// Checks that all are finite; returns how many are not zero.
std::size_t count_nonzero(std::span<const float> x) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i])) {
      throw NumericalError({fmt::format("coordinate {} of {} is {}", i, x.size(), x[i]),
                            "finite numbers",
                            "measure tails before the gradient overflows, or skip this step"});
    }
    if (x[i] != 0) ++n;
  }
  return n;
}

/// Sums over the coordinates that are not zero of what `terms` gives for each, N numbers. Two
/// levels keep rounding below 1e-11 relative for 1e8 terms of one sign.
template <std::size_t N, typename Terms>
std::array<double, N> sums(std::span<const float> x, Terms&& terms) {
  constexpr std::size_t kBlock = 4096;
  std::array<double, N> total{};
  while (!x.empty()) {
    const auto block = x.first(std::min(kBlock, x.size()));
    std::array<double, N> part{};
    for (const float value : block) {
      if (value == 0) continue;
      const std::array<double, N> term = terms(static_cast<double>(value));
      for (std::size_t i = 0; i < N; ++i) part[i] += term[i];
    }
    for (std::size_t i = 0; i < N; ++i) total[i] += part[i];
    x = x.subspan(block.size());
  }
  return total;
}

std::vector<float> nonzero_magnitudes(std::span<const float> x, std::size_t n) {
  std::vector<float> magnitudes;
  magnitudes.reserve(n);
  for (const float value : x) {
    if (value != 0) magnitudes.push_back(std::abs(value));
  }
  return magnitudes;
}

void require_ratio(double k_ratio) {
  require(k_ratio > 0 && k_ratio < 1, "a fraction of the coordinates between 0 and 1");
}

std::size_t hill_count(std::size_t n, double k_ratio) {
  return std::max(kMinPoints, static_cast<std::size_t>(k_ratio * static_cast<double>(n)));
}

/// `largest`: magnitudes among which are the k + 1 largest; reordered so that these come first.
std::optional<HillEstimate> hill_of_largest(std::span<float> largest, std::size_t k) {
  if (largest.size() <= k) return std::nullopt;
  const auto threshold = largest.begin() + static_cast<std::ptrdiff_t>(k);
  std::nth_element(largest.begin(), threshold, largest.end(), std::greater<>());
  const double u = *threshold;
  // nth_element leaves the k largest in an order that depends on the input's: hence the exact sum.
  ExactSum logs;
  for (const float value : largest.first(k)) logs.add(std::log(value / u));
  const double sum = logs.value();
  if (!(sum > 0)) return std::nullopt;
  const auto count = static_cast<double>(k);
  return HillEstimate{count / sum, std::sqrt(count) / sum, k};
}

/// Shape whose (E|x|)^2 / E x^2 is `ratio`, within the limits of ggd_shape (S. G. Mallat, IEEE
/// Trans. PAMI 11, 674, 1989); the ratio grows with the shape from 0 to 3/4.
double moment_shape(double ratio) {
  double low = std::log(kGgdMinShape);
  double high = std::log(kGgdMaxShape);
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    const double z = std::exp(-middle);
    const double there = std::exp(2 * boost::math::lgamma(2 * z) - boost::math::lgamma(z) -
                                  boost::math::lgamma(3 * z));
    (there < ratio ? low : high) = middle;
  }
  return std::exp((low + high) / 2);
}

struct ShapeScore {
  double value;          ///< positive below the maximum of the likelihood
  double slope;          ///< d value / d shape
  double log_rel_scale;  ///< ln of scale / largest magnitude, at this shape
};

/// The scale is replaced by its maximum, scale^shape = shape / n sum |x|^shape. Magnitudes are
/// relative to the largest, so that no power overflows and the sums are at least 1.
ShapeScore shape_score(std::span<const float> x, std::size_t n, double log_max, double shape) {
  const auto [s0, s1, s2] = sums<3>(x, [&](double value) {
    const double l = std::log(std::abs(value)) - log_max;
    const double weight = std::exp(shape * l);
    return std::array{weight, weight * l, weight * l * l};
  });
  const double z = 1 / shape;
  const double psi = boost::math::digamma(z);
  const double mean_log = s1 / s0;
  const double log_power = std::log(shape * s0 / static_cast<double>(n));
  ShapeScore score{};
  score.value = 1 + z * psi - mean_log + z * log_power;
  score.slope = -z * z * (z * boost::math::trigamma(z) + psi) - (s2 / s0 - mean_log * mean_log) +
                z * (z + mean_log) - z * z * log_power;
  score.log_rel_scale = z * log_power;
  return score;
}

/// With u = |x/scale|^shape ~ Gamma(z), z = 1/shape, the information on the shape that is left
/// after the scale is estimated is z^2 [var(u ln u) - cov(u, u ln u)^2 / var u] a coordinate.
double shape_error(double shape, std::size_t n) {
  const double z = 1 / shape;
  const double information = z * z * z * ((1 + z) * boost::math::trigamma(1 + z) - 1);
  return 1 / std::sqrt(information * static_cast<double>(n));
}

std::optional<GgdEstimate> ggd_of(std::span<const float> x, std::size_t n) {
  if (n < kMinPoints) return std::nullopt;
  double max = 0;
  for (const float value : x) max = std::max(max, static_cast<double>(std::abs(value)));
  const double log_max = std::log(max);
  const auto [m1, m2] = sums<2>(x, [&](double value) {
    const double relative = std::abs(value) / max;
    return std::array{relative, relative * relative};
  });
  double shape = moment_shape(m1 * m1 / (m2 * static_cast<double>(n)));
  double low = kGgdMinShape;
  double high = kGgdMaxShape;
  for (int i = 0; i < 200; ++i) {
    const ShapeScore score = shape_score(x, n, log_max, shape);
    const bool upwards = score.value > 0;
    if (upwards ? shape > 0.99 * kGgdMaxShape : shape < 1.01 * kGgdMinShape) return std::nullopt;
    (upwards ? low : high) = shape;
    double next = shape - score.value / score.slope;
    if (std::abs(next - shape) <= 1e-10 * shape && score.slope < 0) {
      return GgdEstimate{shape, shape_error(shape, n), std::exp(score.log_rel_scale) * max};
    }
    // Not Newton where the score is not falling, nor past what is known, nor far at once.
    if (!(score.slope < 0) || !(next > low) || !(next < high)) next = std::sqrt(low * high);
    shape = std::clamp(next, shape / 2, shape * 2);
  }
  return std::nullopt;
}

std::optional<LogMomentEstimate> log_moment_of(std::span<const float> x, std::size_t n,
                                               std::size_t block_size) {
  if (block_size == 0) block_size = static_cast<std::size_t>(std::sqrt(static_cast<double>(n)));
  if (block_size < 2 || n / block_size < 2) return std::nullopt;
  const auto size = static_cast<double>(block_size);
  // One number a block, ln|Y| - mean ln|X|: their scatter holds the covariance of the two means.
  std::size_t n_blocks = 0;
  double mean = 0;
  double squares = 0;
  std::size_t filled = 0;
  double sum = 0;
  double logs = 0;
  for (const float value : x) {
    if (value == 0) continue;
    sum += value;
    logs += std::log(std::abs(static_cast<double>(value)));
    if (++filled < block_size) continue;
    if (sum != 0) {
      const double growth = std::log(std::abs(sum)) - logs / size;
      const double difference = growth - mean;
      mean += difference / static_cast<double>(++n_blocks);
      squares += difference * (growth - mean);
    }
    filled = 0;
    sum = 0;
    logs = 0;
  }
  if (n_blocks < 2 || !(mean > 0)) return std::nullopt;
  const double alpha = std::log(size) / mean;
  const auto blocks = static_cast<double>(n_blocks);
  const double mean_se = std::sqrt(squares / (blocks - 1) / blocks);
  return LogMomentEstimate{alpha, alpha * mean_se / mean, block_size, n_blocks};
}

std::optional<KurtosisEstimate> kurtosis_of(std::span<const float> x, std::size_t n) {
  if (n < kMinPoints) return std::nullopt;
  const auto count = static_cast<double>(n);
  const double mean = sums<1>(x, [](double value) { return std::array{value}; })[0] / count;
  const double variance =
      sums<1>(x, [&](double value) { return std::array{(value - mean) * (value - mean)}; })[0] /
      count;
  const double sd = std::sqrt(variance);
  // The mean of equal coordinates is wrong by its rounding alone.
  if (!(sd > 1e-10 * std::abs(mean))) return std::nullopt;
  const auto [m3, m4] = sums<2>(x, [&](double value) {
    const double z = (value - mean) / sd;
    return std::array{z * z * z, z * z * z * z};
  });
  const double skewness = m3 / count;
  const double kurtosis = m4 / count;
  const double influence = sums<1>(x, [&](double value) {
    const double z = (value - mean) / sd;
    const double d = z * z * z * z - 2 * kurtosis * z * z + kurtosis - 4 * skewness * z;
    return std::array{d * d};
  })[0];
  return KurtosisEstimate{kurtosis - 3, std::sqrt(influence) / count};
}

}  // namespace

std::optional<HillEstimate> hill(std::span<const float> x, double k_ratio) {
  require_ratio(k_ratio);
  const std::size_t n = count_nonzero(x);
  std::vector<float> magnitudes = nonzero_magnitudes(x, n);
  return hill_of_largest(magnitudes, hill_count(n, k_ratio));
}

double hill_of_laplace(double k_ratio) {
  require_ratio(k_ratio);
  return k_ratio / boost::math::expint(1, -std::log(k_ratio));
}

double hill_of_gaussian(double k_ratio) {
  require_ratio(k_ratio);
  const double u = std::numbers::sqrt2 * boost::math::erfc_inv(k_ratio);
  // t = u e^s makes the integrand smooth for every u; beyond t = 39 nothing is left of it.
  const auto tail = [&](double s) {
    return boost::math::erfc(u * std::exp(s) / std::numbers::sqrt2) / k_ratio;
  };
  const double end = std::log(std::max(39.0, 2 * u) / u);
  return 1 / boost::math::quadrature::gauss_kronrod<double, 31>::integrate(tail, 0, end, 15, 1e-12);
}

std::optional<GgdEstimate> ggd_shape(std::span<const float> x) {
  return ggd_of(x, count_nonzero(x));
}

std::optional<LogMomentEstimate> log_moment_alpha(std::span<const float> x,
                                                  std::size_t block_size) {
  require(block_size != 1, "blocks of at least two coordinates");
  return log_moment_of(x, count_nonzero(x), block_size);
}

std::optional<KurtosisEstimate> excess_kurtosis(std::span<const float> x) {
  return kurtosis_of(x, count_nonzero(x));
}

TailEstimates tail_estimates(std::span<const float> x) {
  TailEstimates result;
  result.n = count_nonzero(x);
  result.n_zeros = x.size() - result.n;
  {
    std::vector<float> magnitudes = nonzero_magnitudes(x, result.n);
    std::span<float> largest = magnitudes;
    for (std::size_t i = kHillRatios.size();
         i-- > 0;) {  // each among the largest of the one before
      const std::size_t k = hill_count(result.n, kHillRatios[i]);
      result.hill[i] = hill_of_largest(largest, k);
      largest = largest.first(std::min(largest.size(), k + 1));
    }
  }
  result.ggd = ggd_of(x, result.n);
  result.log_moment = log_moment_of(x, result.n, 0);
  result.kurtosis = kurtosis_of(x, result.n);
  return result;
}

}  // namespace pg::measure
