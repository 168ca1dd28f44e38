#pragma once

#include <cstddef>

// What a design could have seen, and what a better one would need. Two-sided t tests; all powers
// are exact for normal errors (noncentral t) and count both sides.

namespace pg::post {

/// Power of a test with `df` degrees of freedom when the true value lies `noncentrality` standard
/// errors from the hypothesis; 0 when df < 1.
double t_power(double noncentrality, double df, double level = 0.05);

/// Power of a one-sample (or paired) t test at `level` for a true mean `effect`, given the sd of
/// one value (of one difference).
double t_test_power(double effect, double sd, std::size_t n, double level = 0.05);
/// The smallest |effect| that n values find with the given power; infinite when n < 2.
double minimum_detectable_effect(double sd, std::size_t n, double power = 0.8, double level = 0.05);
/// The fewest values that find `effect` with the given power; 0 when more than 100,000.
std::size_t values_needed(double effect, double sd, double power = 0.8, double level = 0.05);

/// The smallest |slope - hypothesis| that a fit with this standard error finds with the given
/// power; infinite when df < 1 or the standard error is infinite.
double minimum_detectable_slope_difference(double slope_se, double df, double power = 0.8,
                                           double level = 0.05);
/// How often a whole design (all its `n_points`, fitted with `n_parameters`) must be run so that a
/// slope that is off by `difference` is found with the given power: r runs divide the squared
/// standard error `slope_se` of one run by r and leave r n_points - n_parameters degrees of
/// freedom. 0 when more than 100,000.
std::size_t replicates_needed(double difference, double slope_se, std::size_t n_points,
                              std::size_t n_parameters, double power = 0.8, double level = 0.05);

/// By how much the lowest of k measurements of equal true values lies below that value on average,
/// when each carries independent normal noise of this sd: what choosing the minimum flatters.
double expected_minimum_bias(std::size_t k, double sd);

}  // namespace pg::post
