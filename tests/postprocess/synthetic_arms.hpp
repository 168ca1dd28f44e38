#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "postprocess/results/arms.hpp"

namespace pg::test {

/// Trials with a known truth: loss = base(size) (1 + effect(size, alpha)) + seed effect (shared by
/// the arms of a size) + noise.
struct SyntheticArms {
  std::vector<std::int64_t> widths = {32, 64, 128};
  std::vector<double> alphas = {0, 0.25, 0.5, 0.75, 1};
  std::vector<std::uint64_t> seeds = {1, 2, 3, 4, 5};
  std::vector<std::string> architectures = {"nano"};
  std::function<double(double ln_n, double alpha)> effect = [](double, double) { return 0.0; };
  double seed_sd = 0.05;
  double noise = 0.005;
  std::uint64_t noise_seed = 1;
};

inline std::int64_t synthetic_size(std::int64_t width) {
  return 12 * 4 * width * width;
}

/// The loss falls as 3 exp(-t / (T / 6)) on top of the final one, over 50 evaluations.
inline void add_curve(post::TrialRow& row) {
  row.val_step.clear();
  row.val_loss.clear();
  for (std::int64_t step = 100; step <= 5000; step += 100) {
    row.val_step.push_back(step);
    row.val_loss.push_back(
        row.loss + 3 * (std::exp(-static_cast<double>(step) / 833) - std::exp(-5000.0 / 833)));
  }
}

inline post::TrialRow synthetic_row(const std::string& architecture, std::int64_t width,
                                    std::uint64_t seed) {
  post::TrialRow row;
  row.run = "run";
  row.settings.model.arch = architecture;
  row.settings.model.d_model = width;
  row.settings.train.seed = seed;
  row.seed = seed;
  row.n_parameters = synthetic_size(width);
  row.steps = 5000;
  row.tokens = 5000 * 64 * 256;
  row.seconds = 100;
  return row;
}

/// The vanilla arm and one anchored arm per alpha, at every width, architecture and seed.
inline post::TrialTable synthetic_arms(const SyntheticArms& s) {
  post::TrialTable table;
  table.analysis.kind = "gating";
  for (const std::string& architecture : s.architectures) {
    for (const std::int64_t width : s.widths) {
      const double ln_n = std::log(static_cast<double>(synthetic_size(width)));
      const double base = 6 - 0.2 * ln_n;
      for (const std::uint64_t seed : s.seeds) {
        const random::Stream stream(
            s.noise_seed, random::Purpose::test,
            random::name_hash(architecture) + 1000 * static_cast<std::uint64_t>(width) + seed);
        const double shared = s.seed_sd * stream.normal(0);
        for (std::size_t arm = 0; arm <= s.alphas.size(); ++arm) {
          post::TrialRow row = synthetic_row(architecture, width, seed);
          double effect = 0;
          if (arm > 0) {
            row.settings.gate = {"paglu", "anchored", s.alphas[arm - 1]};
            effect = s.effect(ln_n, s.alphas[arm - 1]);
          }
          row.id = architecture + "_d" + std::to_string(width) + "_a" + std::to_string(arm) + "_s" +
                   std::to_string(seed);
          row.loss = base * (1 + effect) + shared + s.noise * stream.normal(arm + 1);
          row.origin = {.trial = row.name(),
                        .launch = "launch-1",
                        .version = "1",
                        .program_sha256 = std::string(64, 'p'),
                        .processor = "a processor",
                        .corpus_sha256 = std::string(64, 'c'),
                        .reproducible = "strict"};
          add_curve(row);
          table.rows.push_back(std::move(row));
        }
      }
    }
  }
  return table;
}

}  // namespace pg::test
