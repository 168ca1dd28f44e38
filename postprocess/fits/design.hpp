#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "postprocess/fits/exponent.hpp"
#include "postprocess/results/run_results.hpp"

namespace pg::post {

/// Two point hypotheses and what it takes to tell them apart.
struct Separation {
  std::string first;
  std::string second;
  double distance = 0;      ///< |beta_1 - beta_2|
  double power = 0;         ///< to reject one when the other is true, two-sided 5 %
  std::size_t designs = 0;  ///< whole designs (all trials) for a power of 80 %; 0: over 100,000
  std::size_t trials = 0;   ///< designs x trials of this one
};

/// What this design could have seen.
struct DesignPower {
  std::string status = "not asked for";  ///< "ok", or why nothing can be said
  double beta_se = 0;                    ///< achieved
  double df = 0;
  double detectable = 0;          ///< smallest |beta - b0| found with a power of 80 %
  std::vector<Separation> pairs;  ///< of neighbouring hypotheses
  std::string caveat;             ///< where more of the same trials would not help
};

/// Of an estimate with `n_points` (cells or optima) and `n_parameters`. `between_batches`: its
/// error is the optima's scatter about the line; more trials of the same batches need not shrink
/// that.
DesignPower design_power(const ExponentEstimate& estimate, std::size_t n_points,
                         std::size_t n_parameters, bool between_batches, std::size_t n_trials,
                         const std::vector<config::Hypothesis>& hypotheses);

/// The joint surface of each seed on its own, and the t interval of their mean: what whole
/// repetitions of the study say, whatever the cells' errors are made of.
ExponentEstimate estimate_per_seed(const RunResults& results, const LossNoise& noise);

}  // namespace pg::post
