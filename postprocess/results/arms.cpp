#include "postprocess/results/arms.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
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

constexpr const char* kUnknown = "unknown";
constexpr const char* kSeedPath = "train.seed";
constexpr const char* kCorpusPath = "data.corpus";

/// The launches of provenance.json by id; empty where there is no such file.
std::map<std::string, nlohmann::json> read_launches(const fs::path& root, TrialTable& table) {
  std::map<std::string, nlohmann::json> launches;
  const fs::path file = record::RunDirectory(root).provenance_file();
  if (!fs::exists(file)) {
    table.warnings.push_back(root.string() +
                             " has no provenance.json: program and processor are not known.");
    return launches;
  }
  try {
    const nlohmann::json all = nlohmann::json::parse(read_file(file));
    for (const nlohmann::json& launch : all.at("launches")) {
      launches[launch.at("id").get<std::string>()] = launch;
    }
  } catch (const nlohmann::json::exception& error) {
    table.warnings.push_back(file.string() + " is damaged and was not used: " + error.what());
  }
  return launches;
}

TrialRow to_row(const TrialRecord& record, const fs::path& root,
                const std::map<std::string, nlohmann::json>& launches) {
  const TrialSummary& s = record.summary;
  TrialRow row;
  row.id = s.id;
  row.run = root;
  row.settings = config::read_settings(record.settings_yaml);
  row.varied = s.varied;
  row.status = s.status;
  row.reason = s.reason;
  row.loss = s.final_val_loss;
  row.seed = s.seed;
  row.n_parameters = s.n_parameters;
  row.steps = s.steps;
  row.tokens = s.tokens;
  row.seconds = s.seconds;
  row.val_step = record.val_step;
  row.val_loss = record.val_loss;
  row.corpus_sha256 = record.corpus_sha256;
  row.version = row.program_sha256 = row.processor = kUnknown;
  const auto launch = launches.find(s.launch);
  if (launch != launches.end()) {
    row.version = launch->second.value("version", kUnknown);
    row.program_sha256 = launch->second.value("program_sha256", kUnknown);
    row.processor = launch->second.value("processor", kUnknown);
  }
  return row;
}

void read_run(const fs::path& root, TrialTable& table) {
  if (!fs::is_directory(root)) {
    throw_data(fmt::format("there is no run directory {}", root.string()),
               "the folder that pgmpi --run-dir wrote", "pgpost compare RUN_DIR...");
  }
  const auto launches = read_launches(root, table);
  record::Scan scan = record::scan_trials(record::RunDirectory(root));
  for (const record::DamagedTrial& d : scan.damaged) {
    table.left_out.push_back({(root / d.id).string(), "damaged: " + d.reason});
  }
  for (const TrialRecord& record : scan.records) {
    try {
      table.rows.push_back(to_row(record, root, launches));
    } catch (const InvalidInput& error) {
      table.left_out.push_back({(root / record.summary.id).string(), error.what()});
    }
  }
}

std::string brief(const std::string& value) {
  const bool hash = value.size() == 64 && value.find(' ') == std::string::npos;
  return hash ? value.substr(0, 12) + "..." : value;
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

void check_one_origin(TrialTable& table, bool allow_mixed) {
  const std::vector<std::pair<std::string, std::string (*)(const TrialRow&)>> kinds = {
      {"program_sha256", [](const TrialRow& r) { return r.program_sha256; }},
      {"version", [](const TrialRow& r) { return r.version; }},
      {"processor", [](const TrialRow& r) { return r.processor; }},
      {"corpus_sha256", [](const TrialRow& r) { return r.corpus_sha256; }},
      {"train.reproducible", [](const TrialRow& r) { return r.settings.train.reproducible; }}};
  std::vector<std::string> mixed;
  for (const auto& [name, value_of] : kinds) {
    std::map<std::string, std::string> example;
    for (const TrialRow& row : table.rows) example.emplace(value_of(row), row.name());
    std::vector<std::string> parts;
    for (const auto& [value, trial] : example) {
      parts.push_back(fmt::format("{} in {}", brief(value), trial));
      table.provenance.emplace_back(name, value);
    }
    if (parts.size() > 1) mixed.push_back(name + ": " + join(parts, ", "));
  }
  if (mixed.empty()) return;
  const std::string found = "the trials are of mixed origin\n  " + join(mixed, "\n  ");
  if (!allow_mixed) {
    throw_data(found, "one program, version, processor, corpus and mode in one comparison",
               "compare the run directories one by one, or accept the mixture: --allow-mixed");
  }
  table.warnings.push_back(
      "Mixed origin was allowed: differences between arms may be differences "
      "between programs, machines or data. " +
      join(mixed, "; "));
}

TrialTable load_trials(const std::vector<fs::path>& roots, bool allow_mixed) {
  TrialTable table;
  table.roots = roots;
  bool has_study = false;
  for (const fs::path& root : roots) {
    read_run(root, table);
    if (has_study) continue;
    if (auto study = read_study(root)) {
      table.analysis = study->analysis;
      table.question = study->question;
      has_study = true;
    }
  }
  if (table.rows.empty()) {
    std::string found = "there is no readable trial";
    for (const LeftOut& l : table.left_out) found += "\n  " + l.what + ": " + l.reason;
    throw_data(found, "trials/<id>/metrics.h5, written by pgmpi",
               "pgpost status RUN_DIR says how far a run is");
  }
  check_one_origin(table, allow_mixed);
  return table;
}

std::vector<Arm> make_arms(TrialTable& table) {
  std::vector<Arm> arms;
  std::map<SettingValues, std::size_t> index;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const TrialRow& row = table.rows[i];
    SettingValues settings = config::setting_values(row.settings);
    std::erase_if(settings,
                  [](const auto& s) { return s.first == kSeedPath || s.first == kCorpusPath; });
    // Where a mixture of corpora was allowed, they are still different arms.
    settings.emplace_back("corpus_sha256", row.corpus_sha256);
    if (row.settings.gate.unit == "gelu") {
      for (auto& [path, value] : settings) {
        if (path == "gate.alpha") value = "unused";
      }
    }
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
  std::vector<std::string> parts;
  for (const std::string& path : paths) {
    parts.push_back(path + "=" + brief(value_at(settings, path)));
  }
  return join(parts, ", ");
}

}  // namespace pg::post
