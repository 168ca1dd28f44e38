#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "config/study.hpp"
#include "postprocess/synthetic_arms.hpp"
#include "record/run_directory.hpp"

namespace pg::test {

/// Trials of a table as a run directory on disk; `program` is in its provenance.json.
inline void write_arms(const std::filesystem::path& root, const post::TrialTable& table,
                       const std::string& kind, const std::string& program) {
  config::Study study;
  study.name = kind;
  study.analysis.kind = kind;
  study.refine.enabled = study.transfer.enabled = false;
  write_file(root / "study.yaml", config::print_study(study));
  const nlohmann::json launch = {{"id", "launch-1"},
                                 {"version", "1"},
                                 {"program_sha256", program},
                                 {"processor", "a processor"}};
  const nlohmann::json provenance = {
      {"launches", nlohmann::json::array({launch})},
      {"corpus", {{"alphabet_size", 65}, {"n_train_tokens", 81920000}}}};
  write_file(root / "provenance.json", provenance.dump());
  for (const post::TrialRow& row : table.rows) {
    record::TrialRecord trial;
    trial.summary.id = row.id;
    trial.summary.stage = "grid";
    trial.summary.status = row.status;
    trial.summary.reason = row.reason;
    trial.summary.batch = 64;
    trial.summary.lr = 1e-3;
    trial.summary.seed = row.seed;
    trial.summary.n_parameters = row.n_parameters;
    trial.summary.steps = row.steps;
    trial.summary.tokens = row.tokens;
    trial.summary.seconds = row.seconds;
    trial.summary.final_val_loss = row.loss;
    trial.summary.launch = "launch-1";
    trial.settings_yaml = config::print_settings(row.settings);
    trial.corpus_sha256 = row.origin.corpus_sha256;
    trial.val_step = row.val_step;
    trial.val_loss = row.val_loss;
    record::write_trial(record::RunDirectory(root).metrics_file(row.id), trial);
  }
}

/// Vanilla networks on a grid of widths and depths: loss = 6 - 0.15 ln N + noise.
inline post::TrialTable synthetic_sizes(const std::vector<std::int64_t>& widths,
                                        const std::vector<std::int64_t>& depths,
                                        const std::vector<std::uint64_t>& seeds) {
  post::TrialTable table;
  for (const std::int64_t width : widths) {
    for (const std::int64_t depth : depths) {
      for (const std::uint64_t seed : seeds) {
        post::TrialRow row = synthetic_row("nano", width, seed);
        row.settings.model.n_layers = depth;
        row.n_parameters = 12 * depth * width * width + 65 * width;
        row.seconds = 1e-4 * static_cast<double>(row.n_parameters);
        row.id = "d" + std::to_string(width) + "_l" + std::to_string(depth) + "_s" +
                 std::to_string(seed);
        const random::Stream noise(seed, random::Purpose::test, random::name_hash(row.id));
        row.loss =
            6 - 0.15 * std::log(static_cast<double>(row.n_parameters)) + 0.004 * noise.normal(0);
        row.origin.corpus_sha256 = std::string(64, 'c');
        add_curve(row);
        table.rows.push_back(std::move(row));
      }
    }
  }
  return table;
}

}  // namespace pg::test
