#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/parabola.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "config/study.hpp"
#include "record/run_directory.hpp"

namespace pg::test {

/// A loss surface with a known exponent: L = floor(B) + curvature u^2 + skew max(0, u)^3 with
/// u = ln(lr) - ln(lr_at_64) - beta ln(B / 64) - scatter z(B), z standard normal per batch; trials
/// with u > diverges_above diverge.
struct SyntheticSurface {
  double beta = 2.0 / 3;
  double lr_at_64 = 1e-3;
  double curvature = 0.02;
  double skew = 0;
  double noise = 0;
  double scatter = 0;
  double diverges_above = INFINITY;
  std::vector<std::int64_t> batches = {8, 16, 32, 64, 128, 256, 512};
  std::vector<double> rates = {3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2};
  std::vector<std::uint64_t> seeds = {42};
  std::uint64_t noise_seed = 1;
};

inline double surface_u(const SyntheticSurface& s, std::int64_t batch, double lr) {
  const random::Stream shift(s.noise_seed, random::Purpose::test, 1);
  return std::log(lr / s.lr_at_64) - s.beta * std::log(static_cast<double>(batch) / 64) -
         s.scatter * shift.normal(static_cast<std::uint64_t>(batch));
}

inline record::TrialRecord synthetic_trial(const SyntheticSurface& s, const std::string& stage,
                                           std::int64_t batch, double lr, std::uint64_t seed) {
  const double u = surface_u(s, batch, lr);
  const double up = std::max(0.0, u);
  record::TrialRecord t;
  record::TrialSummary& m = t.summary;
  m.stage = stage;
  m.batch = batch;
  m.lr = lr;
  m.seed = seed;
  m.varied = {{"train.batch", std::to_string(batch)}, {"optimizer.lr", shortest(lr)}};
  if (s.seeds.size() > 1) m.varied.emplace_back("train.seed", std::to_string(seed));
  m.id = "b" + std::string(4 - std::to_string(batch).size(), '0') + std::to_string(batch) + "_lr" +
         shortest(lr) + "_s" + std::to_string(seed);
  const random::Stream noise(s.noise_seed, random::Purpose::test, random::name_hash(m.id));
  const double floor = 1.45 + 0.9 * std::pow(static_cast<double>(batch), -0.3);
  m.final_val_loss =
      floor + s.curvature * u * u + s.skew * up * up * up + s.noise * noise.normal(0);
  m.final_val_loss_se = s.noise / 2;
  m.n_tail_evals = 10;
  m.best_val_loss = m.final_val_loss - s.noise;
  m.final_train_loss = m.final_val_loss - 0.05;
  m.train_loss_sd = 0.005;
  m.converged = true;
  m.clip_fraction = 0.1;
  m.n_parameters = 135808;
  m.steps = 5000;
  m.tokens = 5000 * batch * 256;
  m.epochs = static_cast<double>(m.tokens) / 1e9;
  m.seconds = 12;
  m.parameter_hash = std::string(64, 'a');
  m.launch = "launch-1";
  t.settings_yaml = "train:\n  steps: 5000\n";
  t.corpus_sha256 = std::string(64, 'c');
  const bool diverged = u > s.diverges_above;
  if (diverged) {
    m.status = record::TrialStatus::diverged;
    m.reason = "the training loss was not finite at step 812";
    m.steps = 812;
  }
  const double speed = 900 * std::exp(-0.5 * u);
  for (std::int64_t step = 250; step <= m.steps; step += 250) {
    const double share = std::exp(-static_cast<double>(step) / speed);
    t.val_step.push_back(step);
    t.val_loss.push_back(m.final_val_loss + 2.4 * share +
                         s.noise * noise.normal(static_cast<std::uint64_t>(step)));
    t.train_step.push_back(step);
    t.train_loss.push_back(t.val_loss.back() - 0.05);
    t.grad_norm.push_back(0.7);
    t.lr.push_back(lr);
  }
  return t;
}

inline void write_synthetic_trial(const std::filesystem::path& root, const SyntheticSurface& s,
                                  const std::string& stage, std::int64_t batch, double lr) {
  const record::RunDirectory run(root);
  for (const std::uint64_t seed : s.seeds) {
    const record::TrialRecord trial = synthetic_trial(s, stage, batch, lr, seed);
    const auto file = run.metrics_file(trial.summary.id);
    if (!std::filesystem::exists(file)) record::write_trial(file, trial);
  }
}

/// study.yaml and the grid's trials.
inline void write_synthetic_grid(const std::filesystem::path& root, const SyntheticSurface& s) {
  config::Study study;
  study.name = "synthetic";
  study.question = "Does pgpost find the exponent that this surface was made with?";
  study.axes = {{"train.batch", {}}, {"optimizer.lr", {}}};
  for (const std::int64_t b : s.batches) study.axes[0].values.push_back(std::to_string(b));
  for (const double lr : s.rates) study.axes[1].values.push_back(shortest(lr));
  if (s.seeds.size() > 1) {
    study.axes.push_back({"train.seed", {}});
    for (const auto seed : s.seeds) study.axes[2].values.push_back(std::to_string(seed));
  }
  write_file(root / "study.yaml", config::print_study(study));
  for (const std::int64_t b : s.batches) {
    for (const double lr : s.rates) write_synthetic_trial(root, s, "grid", b, lr);
  }
}

/// Two refine rounds around each batch's true optimum, and the transfer trials of both rules from
/// both anchors.
inline void write_synthetic_later_stages(const std::filesystem::path& root,
                                         const SyntheticSurface& s) {
  const double at_256 = s.lr_at_64 * std::pow(4.0, s.beta);
  std::string list;
  for (const std::int64_t b : s.batches) {
    const double ratio = static_cast<double>(b) / 256;
    const double best = at_256 * std::pow(ratio, s.beta);
    for (std::size_t i = 0; i + 1 < s.rates.size(); ++i) {
      const double middle =
          *parse_real(fmt::format("{:.4g}", std::sqrt(s.rates[i] * s.rates[i + 1])));
      if (std::abs(std::log(middle / best)) < 1.2)
        write_synthetic_trial(root, s, "refine", b, middle);
    }
    for (const auto& [anchor, lr] : {std::pair("given", 1e-3), std::pair("optimum", at_256)}) {
      for (const double beta : {2.0 / 3, 0.5}) {
        const double rate = lr * std::pow(ratio, beta);
        write_synthetic_trial(root, s, "transfer", b, rate);
        list += fmt::format("{}{{\"id\": \"{}\", \"anchor\": \"{}\", \"anchor_lr\": {}}}",
                            list.empty() ? "" : ",\n",
                            synthetic_trial(s, "transfer", b, rate, s.seeds[0]).summary.id, anchor,
                            shortest(lr));
      }
    }
  }
  write_file(root / "transfer.json", "{\"format_version\": 1, \"trials\": [\n" + list + "]}\n");
}

}  // namespace pg::test
