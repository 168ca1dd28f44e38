#pragma once

#include <span>

namespace pg::post {

/// The arithmetic mean, from an exact sum: correct to the last bit or the one before it. NaN for
/// no values.
double mean(std::span<const double> values);

/// The sample standard deviation (denominator n - 1), from exact sums of the deviations and their
/// squares about the mean. NaN for fewer than two values.
double standard_deviation(std::span<const double> values);

/// sum (y_i - m)(y_{i+1} - m) / sum (y_i - m)^2 with m the mean of all (NIST's definition). NaN
/// for fewer than two values or where all are equal: it is not defined there.
double lag1_autocorrelation(std::span<const double> values);

}  // namespace pg::post
