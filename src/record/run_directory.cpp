#include "record/run_directory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <tuple>

#include "base/csv.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"

namespace pg::record {
namespace {

int stage_rank(const std::string& stage) {
  if (stage == "grid") return 0;
  return stage == "refine" ? 1 : 2;
}

}  // namespace

void remove_unfinished(const RunDirectory& run) {
  remove_pending(run.root());
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(run.trials_folder(), ignored)) {
    remove_pending(entry.path());
  }
}

Scan scan_trials(const RunDirectory& run) {
  Scan scan;
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(run.trials_folder(), failure)) {
    const std::string id = entry.path().filename().string();
    const auto file = run.metrics_file(id);
    if (!std::filesystem::exists(file, failure)) continue;
    try {
      scan.records.push_back(read_trial(file));
    } catch (
        const InvalidInput& error) {  // what cannot be read at all is no statement on its content
      scan.damaged.push_back({id, file, error.what()});
    }
  }
  const auto key = [](const TrialRecord& r) {
    return std::tuple(stage_rank(r.summary.stage), r.summary.id);
  };
  std::sort(scan.records.begin(), scan.records.end(),
            [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::sort(scan.damaged.begin(), scan.damaged.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  return scan;
}

void write_results_csv(const std::filesystem::path& file, const std::vector<TrialSummary>& rows) {
  CsvTable table;
  table.columns = {"id", "stage", "status"};
  if (!rows.empty()) {
    for (const auto& [path, value] : rows.front().varied) table.columns.push_back(path);
  }
  for (const char* name : {"batch",
                           "lr",
                           "seed",
                           "n_parameters",
                           "steps",
                           "tokens",
                           "epochs",
                           "final_val_loss",
                           "final_val_loss_se",
                           "n_tail_evals",
                           "best_val_loss",
                           "final_train_loss",
                           "train_loss_sd",
                           "drift_per_step",
                           "drift_p",
                           "converged",
                           "clip_fraction",
                           "seconds",
                           "tokens_per_s",
                           "forward_flops",
                           "peak_fraction",
                           "peak_memory_mb",
                           "predicted_memory_mb",
                           "inference_s",
                           "plain_operators",
                           "team_size",
                           "reproducible",
                           "parameter_hash",
                           "launch",
                           "reason"}) {
    table.columns.emplace_back(name);
  }
  for (const TrialSummary& s : rows) {
    require(s.varied.size() == rows.front().varied.size(), "the same varied settings in all rows");
    std::vector<std::string> cells = {s.id, s.stage, to_string(s.status)};
    for (const auto& [path, value] : s.varied) cells.push_back(value);
    // A diverged trial has no loss, nor has a window whose steps were all skipped: an empty cell,
    // not a number that a reader might average.
    const auto loss = [&](double value) {
      const bool has = s.status == TrialStatus::finished && !std::isnan(value);
      return has ? shortest(value) : std::string();
    };
    const double rate = s.seconds > 0 ? static_cast<double>(s.tokens) / s.seconds : 0;
    for (std::string cell : {std::to_string(s.batch),
                             shortest(s.lr),
                             std::to_string(s.seed),
                             std::to_string(s.n_parameters),
                             std::to_string(s.steps),
                             std::to_string(s.tokens),
                             fmt::format("{:.4g}", s.epochs),
                             loss(s.final_val_loss),
                             loss(s.final_val_loss_se),
                             std::to_string(s.n_tail_evals),
                             loss(s.best_val_loss),
                             loss(s.final_train_loss),
                             loss(s.train_loss_sd),
                             loss(s.drift_per_step),
                             loss(s.drift_p),
                             std::string(s.converged ? "true" : "false"),
                             fmt::format("{:.4f}", s.clip_fraction),
                             fmt::format("{:.2f}", s.seconds),
                             fmt::format("{:.0f}", rate),
                             fmt::format("{:.6g}", s.forward_flops),
                             fmt::format("{:.3g}", s.peak_fraction),
                             fmt::format("{:.1f}", s.peak_memory_mb),
                             fmt::format("{:.1f}", s.predicted_memory_mb),
                             fmt::format("{:.3g}", s.inference_s),
                             s.plain_operators,
                             std::to_string(s.team_size),
                             s.reproducible,
                             s.parameter_hash,
                             s.launch,
                             s.reason}) {
      cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  write_file(file, to_csv(table));
}

}  // namespace pg::record
