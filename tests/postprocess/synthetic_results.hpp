#pragma once

#include "postprocess/results/run_results.hpp"
#include "postprocess/synthetic_run.hpp"

namespace pg::test {

inline void add_trial(post::RunResults& results, const SyntheticSurface& s,
                      const std::string& stage, std::int64_t batch, double lr) {
  for (const std::uint64_t seed : s.seeds) {
    results.trials.push_back(synthetic_trial(s, stage, batch, lr, seed));
  }
}

/// The grid of a surface without touching a disk.
inline post::RunResults synthetic_results(const SyntheticSurface& s) {
  post::RunResults results;
  for (const std::int64_t b : s.batches) {
    for (const double lr : s.rates) add_trial(results, s, "grid", b, lr);
  }
  return results;
}

/// A grid from a table of losses: rows are batches; infinity is a diverged trial, NaN a failed one.
inline post::RunResults results_from_table(const std::vector<std::int64_t>& batches,
                                           const std::vector<double>& rates,
                                           const std::vector<std::vector<double>>& losses) {
  post::RunResults results;
  const SyntheticSurface surface;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    for (std::size_t j = 0; j < rates.size(); ++j) {
      auto trial = synthetic_trial(surface, "grid", batches[i], rates[j], 42);
      trial.summary.final_val_loss = losses[i][j];
      trial.summary.final_val_loss_se = 0;
      if (std::isinf(losses[i][j])) trial.summary.status = record::TrialStatus::diverged;
      if (std::isnan(losses[i][j])) trial.summary.status = record::TrialStatus::failed;
      results.trials.push_back(std::move(trial));
    }
  }
  return results;
}

}  // namespace pg::test
