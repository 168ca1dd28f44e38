#include "postprocess/results/arms.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"
#include "config/study.hpp"
#include "postprocess/results/run_results.hpp"
#include "record/run_directory.hpp"

namespace pg::post {
namespace {

namespace fs = std::filesystem;
using record::TrialRecord;
using record::TrialStatus;
using record::TrialSummary;

constexpr const char* kSeedPath = "train.seed";
constexpr const char* kCorpusPath = "data.corpus";

TrialRow to_row(const TrialRecord& record, const fs::path& root, Origin origin) {
  const TrialSummary& s = record.summary;
  TrialRow row;
  row.id = s.id;
  row.run = root;
  row.settings = config::read_settings(record.settings_yaml);
  row.status = s.status;
  row.reason = s.reason;
  row.loss = s.final_val_loss;
  row.seed = s.seed;
  row.n_parameters = s.n_parameters;
  row.steps = s.steps;
  row.tokens = s.tokens;
  row.seconds = s.seconds * static_cast<double>(s.team_size);
  row.forward_flops = s.forward_flops;
  row.peak_memory_mb = s.peak_memory_mb;
  row.train_step = record.train_step;
  row.train_loss = record.train_loss;
  row.val_step = record.val_step;
  row.val_loss = record.val_loss;
  row.tails_step = record.tails_step;
  row.gradient_tails = record.gradient_tails;
  row.noise_tails = record.noise_tails;
  row.origin = std::move(origin);
  return row;
}

void read_run(const fs::path& root, TrialTable& table) {
  if (!fs::is_directory(root)) {
    throw_data(fmt::format("there is no run directory {}", root.string()),
               "the folder that pgmpi --run-dir wrote", "pgpost compare RUN_DIR...");
  }
  record::Scan scan = record::scan_trials(record::RunDirectory(root));
  for (const record::DamagedTrial& d : scan.damaged) {
    table.left_out.push_back({(root / d.id).string(), "damaged: " + d.reason});
  }
  std::vector<Origin> origins = read_origins(root, scan.records, table.warnings);
  for (std::size_t i = 0; i < scan.records.size(); ++i) {
    try {
      table.rows.push_back(to_row(scan.records[i], root, std::move(origins[i])));
    } catch (const InvalidInput& error) {
      table.left_out.push_back({(root / scan.records[i].summary.id).string(), error.what()});
    }
  }
}

/// The spelling that setting_values gives this value.
std::string spelled(const std::string& path, const std::string& value) {
  return value_at(config::setting_values(config::with(config::Settings(), path, value)), path);
}

void select(TrialTable& table, const std::vector<std::string>& where) {
  for (const std::string& text : where) {
    const auto condition = split_condition(text);
    const std::string& path = condition.first;
    const std::string value = spelled(path, condition.second);
    std::set<std::string> seen;
    std::erase_if(table.rows, [&](const TrialRow& row) {
      const std::string its = value_at(config::setting_values(row.settings), path);
      seen.insert(its);
      return its != value;
    });
    if (table.rows.empty()) {
      const std::vector<std::string> list(seen.begin(), seen.end());
      throw_data(fmt::format("no trial has {}={}", path, value),
                 "one of the values of the run: " + join(list, ", "), "");
    }
    table.selection += (table.selection.empty() ? "" : " ") + path + "=" + value;
  }
}

}  // namespace

bool TrialRow::usable() const {
  return status == TrialStatus::finished && std::isfinite(loss);
}

bool TrialRow::diverged() const {
  return status == TrialStatus::diverged ||
         (status == TrialStatus::finished && !std::isfinite(loss));
}

std::string TrialRow::name() const {
  return (run / id).string();
}

std::string value_at(const SettingValues& settings, const std::string& path) {
  for (const auto& [p, value] : settings) {
    if (p == path) return value;
  }
  return {};
}

std::vector<Origin> TrialTable::origins() const {
  std::vector<Origin> list;
  for (const TrialRow& row : rows) list.push_back(row.origin);
  return list;
}

namespace {

/// What trials of one arm share.
SettingValues shared_settings(const config::Settings& trial) {
  SettingValues settings = config::setting_values(trial);
  std::erase_if(settings,
                [](const auto& s) { return s.first == kSeedPath || s.first == kCorpusPath; });
  const std::vector<std::string> unused = config::unused_paths(trial);
  for (auto& [path, value] : settings) {
    if (std::find(unused.begin(), unused.end(), path) != unused.end()) value = "unused";
  }
  return settings;
}

std::vector<std::string> axes_around_arms(const config::Study& study) {
  std::vector<std::string> paths;
  if (study.arms.empty()) return paths;
  for (const auto& axis : study.axes) {
    const bool in_an_arm =
        std::any_of(study.arms.begin(), study.arms.end(), [&](const config::ArmSettings& arm) {
          return std::any_of(arm.begin(), arm.end(),
                             [&](const auto& setting) { return setting.first == axis.path; });
        });
    if (axis.path != kSeedPath && !in_an_arm) paths.push_back(axis.path);
  }
  return paths;
}

}  // namespace

TrialTable load_trials(const std::vector<fs::path>& roots, const std::vector<std::string>& where,
                       bool allow_mixed) {
  TrialTable table;
  table.roots = roots;
  bool has_study = false;
  for (const fs::path& root : roots) {
    read_run(root, table);
    if (has_study) continue;
    if (auto study = read_study(root)) {
      table.analysis = study->analysis;
      table.name = study->name;
      table.question = study->question;
      table.base = shared_settings(study->base);
      table.configuration_paths = axes_around_arms(*study);
      has_study = true;
    }
  }
  if (table.rows.empty()) {
    std::string found = "there is no readable trial";
    for (const LeftOut& l : table.left_out) found += "\n  " + l.what + ": " + l.reason;
    throw_data(found, "trials/<id>/metrics.h5, written by pgmpi",
               "pgpost status RUN_DIR says how far a run is");
  }
  select(table, where);
  require_one_origin(table.origins(), allow_mixed, table.warnings);
  return table;
}

std::vector<Arm> make_arms(TrialTable& table) {
  std::vector<Arm> arms;
  std::map<SettingValues, std::size_t> index;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const TrialRow& row = table.rows[i];
    SettingValues settings = shared_settings(row.settings);
    // Where a mixture of corpora was allowed, they are still different arms.
    settings.emplace_back("corpus_sha256", row.origin.corpus_sha256);
    const auto [place, fresh] = index.emplace(settings, arms.size());
    if (fresh) arms.push_back({std::move(settings), {}, row.n_parameters});
    Arm& arm = arms[place->second];
    const auto same = std::find_if(arm.rows.begin(), arm.rows.end(),
                                   [&](std::size_t r) { return table.rows[r].seed == row.seed; });
    if (same != arm.rows.end()) {
      table.left_out.push_back(
          {row.name(), "repeats the settings and the seed of " + table.rows[*same].name()});
      continue;
    }
    arm.rows.push_back(i);
  }
  std::sort(arms.begin(), arms.end(),
            [](const Arm& a, const Arm& b) { return a.settings < b.settings; });
  for (Arm& arm : arms) {
    std::sort(arm.rows.begin(), arm.rows.end(), [&](std::size_t a, std::size_t b) {
      return table.rows[a].seed < table.rows[b].seed;
    });
  }
  return arms;
}

std::vector<std::string> varying_paths(const std::vector<Arm>& arms) {
  std::vector<std::string> paths;
  if (arms.empty()) return paths;
  for (const auto& [path, value] : arms.front().settings) {
    const bool varies = std::any_of(
        arms.begin(), arms.end(),
        [&, p = path, v = value](const Arm& a) { return value_at(a.settings, p) != v; });
    if (varies) paths.push_back(path);
  }
  return paths;
}

std::string label_of(const SettingValues& settings, const std::vector<std::string>& paths) {
  const auto leaf = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
  std::vector<std::string> parts;
  for (const std::string& path : paths) {
    const auto same = std::count_if(paths.begin(), paths.end(), [&](const std::string& other) {
      return leaf(other) == leaf(path);
    });
    parts.push_back((same > 1 ? path : leaf(path)) + "=" + brief(value_at(settings, path)));
  }
  return join(parts, ", ");
}

}  // namespace pg::post
