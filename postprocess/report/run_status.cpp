#include "postprocess/report/run_status.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"

namespace pg::post {
namespace {

namespace fs = std::filesystem;
using record::TrialStatus;

constexpr const char* kGoOn =
    "run the same pgmpi command again: finished trials are kept and skipped";

void read_progress(const fs::path& file, double now_unix, RunStatus& status) {
  const nlohmann::json root = nlohmann::json::parse(read_file(file));
  status.state = root.at("state");
  status.stage = root.value("stage", "");
  status.planned = root.at("planned");
  status.finished = root.at("finished");
  status.diverged = root.at("diverged");
  status.failed = root.at("failed");
  status.tokens_per_s = root.value("tokens_per_s", 0.0);
  status.seconds_left = root.value("seconds_left", -1.0);
  status.seconds_since_update = std::max(0.0, now_unix - root.at("updated_unix").get<double>());
  for (const nlohmann::json& r : root.value("running", nlohmann::json::array())) {
    status.running.push_back({r.at("id"), r.value("rank", std::int64_t{0}),
                              r.value("step", std::int64_t{0}), r.value("steps", std::int64_t{0})});
  }
}

void count_trials(const record::Scan& scan, RunStatus& status) {
  for (const record::TrialRecord& t : scan.records) {
    if (t.summary.status == TrialStatus::finished) ++status.finished;
    if (t.summary.status == TrialStatus::diverged) ++status.diverged;
    if (t.summary.status == TrialStatus::failed) ++status.failed;
  }
}

std::string advice_for(const RunStatus& status, const fs::path& root) {
  if (status.state == "killed") {
    return fmt::format("no sign of life for {}: the run seems to have been killed; {}",
                       duration(status.seconds_since_update), kGoOn);
  }
  if (status.state == "stopped") return kGoOn;
  if (!status.damaged.empty()) {
    return "remove the damaged files and run the same pgmpi command again: those trials are "
           "trained anew";
  }
  if (status.state == "finished") {
    return status.failed > 0 ? "run the same pgmpi command again to try the failed trials anew"
                             : "pgpost fit " + root.string();
  }
  return "";
}

}  // namespace

RunStatus read_status(const fs::path& root, double now_unix) {
  if (!fs::is_directory(root)) {
    throw_data(fmt::format("there is no run directory {}", root.string()),
               "the folder that pgmpi --run-dir wrote", "pgpost status RUN_DIR");
  }
  const record::RunDirectory run(root);
  RunStatus status;
  record::Scan scan = record::scan_trials(run);
  status.damaged = std::move(scan.damaged);
  bool has_progress = fs::exists(run.progress_file());
  if (!has_progress && scan.records.empty() && status.damaged.empty() &&
      !fs::exists(run.study_file())) {
    throw_data(
        fmt::format("{} holds no run: no study.yaml, no progress.json, no trials", root.string()),
        "a run directory of pgmpi", "pgmpi --grid --run-dir " + root.string());
  }
  if (has_progress) {
    try {
      read_progress(run.progress_file(), now_unix, status);
    } catch (const nlohmann::json::exception& error) {
      auto damaged = std::move(status.damaged);
      status = RunStatus{};
      status.damaged = std::move(damaged);
      status.damaged.push_back({"progress.json", run.progress_file(), error.what()});
      has_progress = false;
    }
  }
  if (!has_progress) {
    status.state = "unknown";
    count_trials(scan, status);
  }
  if (status.state == "running" && status.seconds_since_update > kSilenceSeconds) {
    status.state = "killed";
  }
  status.advice = advice_for(status, root);
  return status;
}

std::string status_text(const RunStatus& s) {
  std::string text = "state      " + s.state;
  if (!s.stage.empty()) text += ", stage " + s.stage;
  text += "\n";
  const std::int64_t done = s.finished + s.diverged + s.failed;
  text += fmt::format("trials     {}{} done: {} finished, {} diverged, {} failed; {} running\n",
                      done, s.planned > 0 ? fmt::format(" of {}", s.planned) : "", s.finished,
                      s.diverged, s.failed, s.state == "running" ? s.running.size() : 0);
  if (s.state == "running") {
    if (s.tokens_per_s > 0) text += "speed      " + quantity(s.tokens_per_s) + " tokens/s\n";
    if (s.seconds_left >= 0) text += "time left  " + duration(s.seconds_left) + " in this stage\n";
    for (const RunStatus::Running& r : s.running) {
      text += fmt::format("  rank {:<3} {}  step {} of {}\n", r.rank, r.id, r.step, r.steps);
    }
  }
  if (s.seconds_since_update >= 0) {
    text += "updated    " + duration(s.seconds_since_update) + " ago\n";
  } else {
    text += "updated    not known: there is no readable progress.json; counted from the trials\n";
  }
  for (const record::DamagedTrial& d : s.damaged) {
    text += fmt::format("damaged    {}: {}\n", d.id, d.reason);
  }
  if (!s.advice.empty()) text += "next       " + s.advice + "\n";
  return text;
}

std::string status_json(const RunStatus& s) {
  nlohmann::ordered_json running = nlohmann::ordered_json::array();
  for (const RunStatus::Running& r : s.running) {
    running.push_back({{"id", r.id}, {"rank", r.rank}, {"step", r.step}, {"steps", r.steps}});
  }
  nlohmann::ordered_json damaged = nlohmann::ordered_json::array();
  for (const record::DamagedTrial& d : s.damaged) {
    damaged.push_back({{"id", d.id}, {"reason", d.reason}});
  }
  const auto known = [](bool is_known, double value) {
    return is_known ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
  };
  const nlohmann::ordered_json out = {
      {"state", s.state},
      {"stage", s.stage},
      {"planned",
       s.planned > 0 ? nlohmann::ordered_json(s.planned) : nlohmann::ordered_json(nullptr)},
      {"finished", s.finished},
      {"diverged", s.diverged},
      {"failed", s.failed},
      {"running", running},
      {"tokens_per_s", known(s.tokens_per_s > 0, s.tokens_per_s)},
      {"seconds_left", known(s.seconds_left >= 0, s.seconds_left)},
      {"seconds_since_update", known(s.seconds_since_update >= 0, s.seconds_since_update)},
      {"damaged", damaged},
      {"advice", s.advice}};
  return out.dump(2) + "\n";
}

}  // namespace pg::post
