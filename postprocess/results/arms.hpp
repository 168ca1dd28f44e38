#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "postprocess/results/origin.hpp"
#include "record/trial_record.hpp"

// Run directories as one table of trials with any settings, and the arms in it: all seeds of one
// configuration.

namespace pg::post {

/// (path, value), in the order of the settings.
using SettingValues = std::vector<std::pair<std::string, std::string>>;
/// The value at a path; empty where there is none.
std::string value_at(const SettingValues& settings, const std::string& path);

/// One trial. Losses in nats per token.
struct TrialRow {
  std::string id;
  std::filesystem::path run;
  config::Settings settings;
  record::TrialStatus status = record::TrialStatus::finished;
  std::string reason;  ///< why it did not finish
  double loss = 0;     ///< final validation loss
  std::uint64_t seed = 0;
  std::int64_t n_parameters = 0;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double seconds = 0;         ///< of all ranks of its team together
  double forward_flops = 0;   ///< of a target; 0: not recorded
  double peak_memory_mb = 0;  ///< likewise
  std::vector<std::int64_t> train_step;
  std::vector<double> train_loss;
  std::vector<std::int64_t> val_step;
  std::vector<double> val_loss;
  std::vector<std::int64_t> tails_step;  ///< as in record::TrialRecord; empty: none were recorded
  std::vector<double> gradient_tails;
  std::vector<double> noise_tails;
  Origin origin;

  /// Finished with a finite loss.
  [[nodiscard]] bool usable() const;
  /// Diverged, or finished without a finite loss.
  [[nodiscard]] bool diverged() const;
  [[nodiscard]] std::string name() const;  ///< run/id
};

/// Trials of one or more run directories.
struct TrialTable {
  std::vector<std::filesystem::path> roots;
  std::string selection;  ///< "optimizer.lr=0.001" when only a part of the trials was asked for
  std::string name;       ///< of the first study.yaml; as is the question
  std::string question;
  config::AnalysisSettings analysis;
  SettingValues base;  ///< of the first study.yaml, as those of an Arm; its corpus aside
  /// The axes of a study that names arms, the seed aside: each point of them is a configuration.
  std::vector<std::string> configuration_paths;
  std::vector<TrialRow> rows;
  std::vector<LeftOut> left_out;                      ///< damaged files
  std::vector<std::string> warnings;                  ///< mixed or unknown provenance
  [[nodiscard]] std::vector<Origin> origins() const;  ///< one for each row
};

/// Reads the trials of all run directories; the analysis settings are those of the first one that
/// has a study.yaml. `where` ("path=value", repeatable) keeps the trials with these settings.
/// Throws InvalidInput (data) where a folder is absent, no trial can be read or is selected, or
/// the trials are of mixed origin (see require_one_origin); settings for a path that is none.
TrialTable load_trials(const std::vector<std::filesystem::path>& roots,
                       const std::vector<std::string>& where, bool allow_mixed);

/// Trials with equal settings apart from train.seed (and the place of the corpus file).
struct Arm {
  SettingValues settings;         ///< without seed and place; those of a vanilla gate are "unused"
  std::vector<std::size_t> rows;  ///< into TrialTable::rows, by rising seed; one per seed
  std::int64_t n_parameters = 0;  ///< of the first trial
};
/// By settings, whatever the order of the table. A second trial of the same settings and seed is
/// added to `left_out`.
std::vector<Arm> make_arms(TrialTable& table);

/// Paths whose values differ between the arms.
std::vector<std::string> varying_paths(const std::vector<Arm>& arms);

/// "d_model=64, alpha=0.5": the values at these paths, each by the last part of its path where no
/// other one has the same.
std::string label_of(const SettingValues& settings, const std::vector<std::string>& paths);

}  // namespace pg::post
