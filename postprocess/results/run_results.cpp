#include "postprocess/results/run_results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/study.hpp"

namespace pg::post {
namespace {

namespace fs = std::filesystem;
using record::TrialRecord;
using record::TrialStatus;
using record::TrialSummary;

constexpr const char* kBatchPath = "train.batch";
constexpr const char* kLrPath = "optimizer.lr";
constexpr const char* kSeedPath = "train.seed";

bool is_cell_path(const std::string& path) {
  return path == kBatchPath || path == kLrPath || path == kSeedPath;
}

bool matches(const TrialSummary& s, const std::string& path, const std::string& value) {
  for (const auto& [varied_path, varied_value] : s.varied) {
    if (varied_path == path) return varied_value == value;
  }
  return false;
}

void select(RunResults& results, const std::vector<std::string>& where) {
  for (const std::string& condition : where) {
    const auto [path, value] = split_condition(condition);
    std::set<std::string> seen;
    for (const TrialRecord& t : results.trials) {
      for (const auto& [p, v] : t.summary.varied) seen.insert(p + "=" + v);
    }
    std::erase_if(results.trials, [&, p = path, v = value](const TrialRecord& t) {
      return !matches(t.summary, p, v);
    });
    if (results.trials.empty()) {
      const std::vector<std::string> known(seen.begin(), seen.end());
      const auto near = nearest_word(condition, known);
      throw_data(fmt::format("no trial has {}", condition), "one of: " + join(known, ", "),
                 near ? "--where " + *near : "--where with one of these");
    }
  }
  results.selection = join(where, ", ");
}

/// A setting that is neither batch, lr nor seed, and that differs between trials of one batch.
void refuse_other_axes(const RunResults& results) {
  std::map<std::string, std::map<std::int64_t, std::set<std::string>>> values;
  for (const TrialRecord& t : results.trials) {
    for (const auto& [path, value] : t.summary.varied) {
      if (!is_cell_path(path)) values[path][t.summary.batch].insert(value);
    }
  }
  for (const auto& [path, by_batch] : values) {
    for (const auto& [batch, seen] : by_batch) {
      if (seen.size() < 2) continue;
      const std::vector<std::string> list(seen.begin(), seen.end());
      throw_data(fmt::format("the trials vary {} too ({})", path, join(list, ", ")),
                 "one scaling law at a time: only batch, learning rate and seed vary",
                 fmt::format("--where {}={}", path, list.front()));
    }
  }
}

/// The anchor of the selected trials in transfer.json: {"trials": [{id, anchor, anchor_lr}]}.
void read_transfer_anchor(RunResults& results) {
  const fs::path file = results.root / "transfer.json";
  if (!fs::exists(file)) return;
  std::set<std::string> ids;
  for (const TrialRecord& t : results.trials) ids.insert(t.summary.id);
  try {
    const nlohmann::json root = nlohmann::json::parse(read_file(file));
    for (const nlohmann::json& entry : root.at("trials")) {
      if (entry.at("anchor") != "optimum" || !ids.contains(entry.at("id"))) continue;
      const double lr = entry.at("anchor_lr");
      if (lr > 0) results.transfer_optimum_lr = lr;
    }
  } catch (const nlohmann::json::exception& error) {
    results.damaged.push_back({"transfer.json", file, error.what()});
  }
}

std::vector<double> distinct_lrs(std::vector<double> lrs) {
  std::sort(lrs.begin(), lrs.end());
  lrs.erase(std::unique(lrs.begin(), lrs.end(), same_lr), lrs.end());
  return lrs;
}

struct Plan {
  std::set<std::int64_t> batches;
  std::vector<double> lrs;
};

/// The grid's batches and learning rates: study.yaml's axes and whatever was seen.
Plan grid_plan(const RunResults& results) {
  Plan plan;
  for (const config::Axis& axis : results.study.axes) {
    for (const std::string& value : axis.values) {
      if (axis.path == kBatchPath) {
        if (const auto batch = parse_integer(value)) plan.batches.insert(*batch);
      } else if (axis.path == kLrPath) {
        if (const auto lr = parse_real(value)) plan.lrs.push_back(*lr);
      }
    }
  }
  for (const TrialRecord& t : results.trials) {
    if (t.summary.stage != "grid") continue;
    plan.batches.insert(t.summary.batch);
    plan.lrs.push_back(t.summary.lr);
  }
  plan.lrs = distinct_lrs(std::move(plan.lrs));
  return plan;
}

bool wanted(const std::string& stage, Stages stages) {
  if (stage == "grid") return true;
  return stages == Stages::all || (stages == Stages::grid_and_refine && stage == "refine");
}

Cell& cell_at(BatchCells& row, double lr, const std::string& stage) {
  for (Cell& cell : row.cells) {
    if (same_lr(cell.lr, lr)) return cell;
  }
  Cell fresh;
  fresh.batch = row.batch;
  fresh.lr = lr;
  fresh.stage = stage;
  row.cells.push_back(std::move(fresh));
  return row.cells.back();
}

void summarise(Cell& cell, const std::vector<TrialRecord>& trials) {
  std::vector<double> losses;
  double se_squares = 0;
  bool diverged = false;
  for (const std::size_t index : cell.trials) {
    const TrialSummary& s = trials[index].summary;
    const bool finished = s.status == TrialStatus::finished;
    if (s.status == TrialStatus::diverged || (finished && !std::isfinite(s.final_val_loss))) {
      diverged = true;
      continue;
    }
    if (!finished) continue;
    losses.push_back(s.final_val_loss);
    se_squares += s.final_val_loss_se * s.final_val_loss_se;
    cell.converged = cell.converged && s.converged;
    cell.clip_fraction += s.clip_fraction;
    cell.epochs = std::max(cell.epochs, s.epochs);
  }
  cell.n_seeds = static_cast<int>(losses.size());
  if (!losses.empty()) {
    const double n = static_cast<double>(losses.size());
    for (const double loss : losses) cell.loss += loss / n;
    double squares = 0;
    for (const double loss : losses) squares += (loss - cell.loss) * (loss - cell.loss);
    if (losses.size() > 1) cell.seed_sd = std::sqrt(squares / (n - 1));
    cell.eval_se = std::sqrt(se_squares / n);
    cell.clip_fraction /= n;
    cell.state = CellState::usable;
  }
  if (diverged) cell.state = CellState::diverged;
}

}  // namespace

std::int64_t count_planned_trials(const RunResults& results) {
  const Plan plan = grid_plan(results);
  std::set<std::uint64_t> seeds;
  std::size_t seed_axis = 0;
  for (const config::Axis& axis : results.study.axes) {
    if (axis.path == kSeedPath) seed_axis = axis.values.size();
  }
  for (const TrialRecord& t : results.trials) seeds.insert(t.summary.seed);
  const std::size_t n_seeds = std::max({seed_axis, seeds.size(), std::size_t{1}});
  return static_cast<std::int64_t>(plan.batches.size() * plan.lrs.size() * n_seeds);
}

bool same_lr(double a, double b) {
  return std::abs(a - b) <= kSameLr * std::max(a, b);
}

std::optional<config::Study> read_study(const fs::path& root) {
  const record::RunDirectory run(root);
  if (!fs::exists(run.study_file())) return std::nullopt;
  try {
    return config::load_study(run.study_file(), {});
  } catch (const InvalidInput& error) {
    // Settings in a run directory were not typed by the user of pgpost: they are data (65).
    throw_data(error.what(), "the study.yaml that pgmpi wrote",
               "pgmpi and pgpost of the same version, or move the file away: pgpost then takes its "
               "default analysis");
  }
}

std::pair<std::string, std::string> split_condition(const std::string& condition) {
  const std::size_t equals = condition.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw_settings("--where " + condition + " is no condition", "path=value",
                   "--where gate.alpha=0.5");
  }
  return {condition.substr(0, equals), condition.substr(equals + 1)};
}

RunResults load_results(const fs::path& root, const std::vector<std::string>& where,
                        bool allow_mixed) {
  if (!fs::is_directory(root)) {
    throw_data(fmt::format("there is no run directory {}", root.string()),
               "the folder that pgmpi --run-dir wrote", "pgpost fit RUN_DIR");
  }
  const record::RunDirectory run(root);
  RunResults results;
  results.root = root;
  if (auto study = read_study(root)) {
    results.study = *std::move(study);
    results.has_study_file = true;
  }
  if (results.has_study_file && results.study.analysis.kind != "batch_scaling") {
    throw_data(fmt::format("{} has analysis.kind: {}", run.study_file().string(),
                           results.study.analysis.kind),
               "batch_scaling: a batch x learning-rate grid",
               "set analysis.kind in that file if the study is one, or use pgpost compare");
  }
  record::Scan scan = record::scan_trials(run);
  results.trials = std::move(scan.records);
  results.damaged = std::move(scan.damaged);
  std::erase_if(results.trials, [&](const TrialRecord& t) {
    if (t.summary.batch >= 1 && t.summary.lr > 0 && std::isfinite(t.summary.lr)) return false;
    results.damaged.push_back({t.summary.id, run.metrics_file(t.summary.id),
                               "its batch or learning rate is not above zero"});
    return true;
  });
  if (results.trials.empty()) {
    std::string found = fmt::format("{} holds no readable trial", root.string());
    for (const auto& d : results.damaged) found += "\n  damaged: " + d.reason;
    throw_data(found, "trials/<id>/metrics.h5, written by pgmpi",
               "pgpost status " + root.string() + " says how far the run is");
  }
  select(results, where);
  refuse_other_axes(results);
  results.origins = read_origins(root, results.trials, results.origin_warnings);
  require_one_origin(results.origins, allow_mixed, results.origin_warnings);
  read_transfer_anchor(results);
  results.planned_grid_trials = count_planned_trials(results);
  return results;
}

std::vector<BatchCells> cell_table(const RunResults& results, Stages stages) {
  std::map<std::int64_t, BatchCells> rows;
  const Plan plan = grid_plan(results);
  for (const std::int64_t batch : plan.batches) {
    BatchCells& row = rows[batch];
    row.batch = batch;
    for (const double lr : plan.lrs) cell_at(row, lr, "grid");
  }
  for (std::size_t i = 0; i < results.trials.size(); ++i) {
    const TrialSummary& s = results.trials[i].summary;
    if (!wanted(s.stage, stages)) continue;
    BatchCells& row = rows[s.batch];
    row.batch = s.batch;
    Cell& cell = cell_at(row, s.lr, s.stage);
    // A transfer trial may repeat a grid trial; one seed counts once.
    const bool repeated = std::any_of(cell.trials.begin(), cell.trials.end(), [&](std::size_t t) {
      return results.trials[t].summary.seed == s.seed;
    });
    if (!repeated) cell.trials.push_back(i);
  }
  std::vector<BatchCells> table;
  for (auto& [batch, row] : rows) {
    for (Cell& cell : row.cells) summarise(cell, results.trials);
    std::sort(row.cells.begin(), row.cells.end(),
              [](const Cell& a, const Cell& b) { return a.lr < b.lr; });
    table.push_back(std::move(row));
  }
  return table;
}

const Cell* find_cell(const std::vector<BatchCells>& table, std::int64_t batch, double lr) {
  for (const BatchCells& row : table) {
    if (row.batch != batch) continue;
    for (const Cell& cell : row.cells) {
      if (same_lr(cell.lr, lr)) return &cell;
    }
  }
  return nullptr;
}

double grid_step(const std::vector<BatchCells>& grid) {
  std::vector<double> steps;
  for (const BatchCells& row : grid) {
    for (std::size_t i = 1; i < row.cells.size(); ++i) {
      if (row.cells[i].stage == "grid" && row.cells[i - 1].stage == "grid") {
        steps.push_back(std::log(row.cells[i].lr / row.cells[i - 1].lr));
      }
    }
  }
  if (steps.empty()) return std::log(10.0) / 2;
  std::nth_element(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2),
                   steps.end());
  return steps[steps.size() / 2];
}

}  // namespace pg::post
