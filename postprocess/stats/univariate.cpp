#include "postprocess/stats/univariate.hpp"

#include <cmath>
#include <limits>

#include "base/exact_sum.hpp"

namespace pg::post {
namespace {

constexpr double kNotDefined = std::numeric_limits<double>::quiet_NaN();

/// The mean, and what its rounding left: the mean of the deviations from it.
struct SplitMean {
  double mean = 0;
  double rest = 0;
};

SplitMean split_mean(std::span<const double> values) {
  const double n = static_cast<double>(values.size());
  ExactSum sum;
  for (const double y : values) sum.add(y);
  SplitMean split{sum.value() / n, 0};
  ExactSum deviations;
  for (const double y : values) deviations.add(y - split.mean);
  split.rest = deviations.value() / n;
  return split;
}

double square_sum(std::span<const double> values, const SplitMean& centre) {
  ExactSum sum;
  for (const double y : values) sum.add(std::pow((y - centre.mean) - centre.rest, 2));
  return sum.value();
}

}  // namespace

double mean(std::span<const double> values) {
  if (values.empty()) return kNotDefined;
  const SplitMean split = split_mean(values);
  return split.mean + split.rest;
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return kNotDefined;
  const double n = static_cast<double>(values.size());
  return std::sqrt(square_sum(values, split_mean(values)) / (n - 1));
}

double lag1_autocorrelation(std::span<const double> values) {
  if (values.size() < 2) return kNotDefined;
  const SplitMean centre = split_mean(values);
  const double squares = square_sum(values, centre);
  if (squares == 0) return kNotDefined;
  const auto deviation = [&](std::size_t i) { return (values[i] - centre.mean) - centre.rest; };
  ExactSum products;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) products.add(deviation(i) * deviation(i + 1));
  return products.value() / squares;
}

}  // namespace pg::post
