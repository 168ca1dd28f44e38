#pragma once

#include <span>

#include "postprocess/stats/inference.hpp"

namespace pg::post {

/// The set of ratios a / b that a t test does not reject (Fieller 1954), for estimates with the
/// given variances and covariance. Its interval where it is one; the whole line where b is not
/// distinguishable from zero (the set is then the outside of an interval, or everything).
Interval fieller_interval(double a, double b, double var_a, double var_b, double covariance,
                          double df, double level = 0.95);

/// mean(x) / mean(y) of pairs, by Fieller with n - 1 degrees of freedom. The whole line below two
/// pairs.
Interval mean_ratio_interval(std::span<const double> x, std::span<const double> y,
                             double level = 0.95);

}  // namespace pg::post
