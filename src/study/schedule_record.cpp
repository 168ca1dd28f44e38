#include "study/schedule_record.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/text.hpp"

namespace pg::study {

void record_schedule(const record::RunDirectory& run, const std::string& launch,
                     const std::string& stage, const std::vector<const Trial*>& trials, int n_ranks,
                     const StageReport& report) {
  nlohmann::json schedule = {{"format_version", 1}, {"stages", nlohmann::json::array()}};
  if (std::filesystem::exists(run.schedule_file())) {
    // A view for people: a damaged one is made anew and stops nothing.
    auto old = nlohmann::json::parse(read_file(run.schedule_file()), nullptr, false);
    if (old.is_object() && old.contains("stages") && old["stages"].is_array()) schedule = old;
  }
  nlohmann::json placements = nlohmann::json::array();
  for (const scheduler::Timeline::Bar& bar : report.bars) {
    placements.push_back({{"id", trials[bar.job]->id},
                          {"first_rank", bar.first_rank},
                          {"team_size", bar.size},
                          {"start_s", bar.start_s},
                          {"end_s", bar.end_s}});
  }
  schedule["stages"].push_back({{"stage", stage},
                                {"launch", launch},
                                {"n_ranks", n_ranks},
                                {"complete", report.complete},
                                {"n_left_out", report.n_left_out},
                                {"predicted_makespan_s", report.predicted_s},
                                {"predicted_efficiency", report.predicted_efficiency},
                                {"makespan_s", report.makespan_s},
                                {"efficiency", report.efficiency},
                                {"placements", placements}});
  write_file(run.schedule_file(), schedule.dump(2) + "\n");
}

std::string outcome_text(const std::string& stage, const StageReport& report, int n_ranks) {
  std::string text = fmt::format(
      "{}: took {} on {} rank{} ({} was predicted), efficiency {:.3f} ({:.3f} was predicted)",
      stage, duration(report.makespan_s), n_ranks, n_ranks == 1 ? "" : "s",
      duration(report.predicted_s), report.efficiency, report.predicted_efficiency);
  if (report.n_left_out > 0) {
    text += fmt::format(
        "\n{}: {} trials were not started, because none of them would have ended "
        "before the deadline",
        stage, report.n_left_out);
  }
  return text;
}

}  // namespace pg::study
