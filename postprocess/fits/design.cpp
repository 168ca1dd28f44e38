#include "postprocess/fits/design.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "postprocess/stats/comparisons.hpp"
#include "postprocess/stats/power.hpp"

namespace pg::post {

DesignPower design_power(const ExponentEstimate& estimate, std::size_t n_points,
                         std::size_t n_parameters, bool between_batches, std::size_t n_trials,
                         const std::vector<config::Hypothesis>& hypotheses) {
  DesignPower design;
  design.status = estimate.status;
  if (!estimate.ok()) return design;
  if (!(estimate.beta_se > 0) || !std::isfinite(estimate.beta_se)) {
    design.status = "not possible: the estimate has no standard error";
    return design;
  }
  design.beta_se = estimate.beta_se;
  design.df = estimate.df;
  design.detectable = minimum_detectable_slope_difference(estimate.beta_se, estimate.df);
  std::vector<config::Hypothesis> sorted = hypotheses;
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.beta < b.beta; });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    Separation pair;
    pair.first = sorted[i - 1].name;
    pair.second = sorted[i].name;
    pair.distance = sorted[i].beta - sorted[i - 1].beta;
    if (pair.distance <= 0) continue;
    pair.power = t_power(pair.distance / estimate.beta_se, estimate.df);
    pair.designs = replicates_needed(pair.distance, estimate.beta_se, n_points, n_parameters);
    pair.trials = pair.designs * n_trials;
    design.pairs.push_back(std::move(pair));
  }
  if (between_batches) {
    design.caveat =
        "The error is the scatter of the optima about the line, not the noise of the losses: more "
        "seeds of the same grid help only as far as that scatter is noise. More batch sizes do.";
  }
  return design;
}

ExponentEstimate estimate_per_seed(const RunResults& results, const LossNoise& noise) {
  ExponentEstimate estimate;
  estimate.name = "joint_surface_per_seed";
  estimate.label = "joint surfaces, one for each seed";
  std::set<std::uint64_t> seeds;
  for (const record::TrialRecord& t : results.trials) seeds.insert(t.summary.seed);
  if (seeds.size() < 2) {
    estimate.status = "not possible: one seed";
    return estimate;
  }
  std::vector<double> betas;
  std::vector<double> ln_cs;
  for (const std::uint64_t seed : seeds) {
    RunResults own;
    own.study = results.study;
    for (const record::TrialRecord& t : results.trials) {
      if (t.summary.seed != seed) continue;
      record::TrialRecord light;  // cells need no time series
      light.summary = t.summary;
      own.trials.push_back(std::move(light));
    }
    const std::vector<BatchCells> cells = cell_table(own, Stages::grid_and_refine);
    const double step = grid_step(cell_table(own, Stages::grid));
    std::vector<Optimum> optima = find_optima(cells, noise, noise, step);
    std::erase_if(optima, [](const Optimum& o) { return o.state != OptimumState::bracketed; });
    const SurfaceFit surface = fit_surface("", "", cells, optima, step);
    if (!surface.estimate.ok()) {
      estimate.status = fmt::format("not possible: seed {}: {}", seed, surface.estimate.status);
      return estimate;
    }
    betas.push_back(surface.estimate.beta);
    ln_cs.push_back(surface.estimate.ln_c);
    estimate.batches = surface.estimate.batches;
    estimate.n_cells += surface.estimate.n_cells;
  }
  const MeanTest beta = mean_test(betas);
  const MeanTest ln_c = mean_test(ln_cs);
  estimate.status = "ok";
  estimate.beta = beta.estimate;
  estimate.beta_se = beta.se;
  estimate.beta_ci95 = beta.ci95;
  estimate.df = static_cast<int>(beta.df);
  estimate.ln_c = ln_c.estimate;
  estimate.ln_c_se = ln_c.se;
  for (std::size_t i = 0; i < betas.size(); ++i) {
    estimate.covariance += (betas[i] - beta.estimate) * (ln_cs[i] - ln_c.estimate) /
                           (static_cast<double>(betas.size()) * beta.df);
  }
  return estimate;
}

}  // namespace pg::post
