#include "postprocess/analysis_command.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "base/files.hpp"
#include "postprocess/report/gating_report.hpp"
#include "postprocess/report/plain_text.hpp"
#include "postprocess/results/run_results.hpp"

namespace pg::post {
namespace {

struct Written {
  std::string json;
  std::string text;
};

Written analyse(const std::string& kind, TrialTable table) {
  if (kind == "gating") {
    const GatingAnalysis analysis = analyse_gating(std::move(table));
    const GatingConclusions conclusions = conclude(analysis);
    return {gating_json(analysis, conclusions),
            to_plain_text(gating_document(analysis, conclusions))};
  }
  throw_settings("pgpost compare does no analysis of kind '" + kind + "'", "gating",
                 "--kind gating, or analysis.kind in study.yaml");
}

}  // namespace

std::string analysis_kind(const std::filesystem::path& run) {
  const auto study = read_study(run);
  return study ? study->analysis.kind : config::AnalysisSettings{}.kind;
}

ExitCode compare_runs(const ComparisonRequest& request) {
  TrialTable table = load_trials(request.runs, request.allow_mixed);
  const std::string kind = request.kind.empty() ? table.analysis.kind : request.kind;
  const bool damaged = !table.left_out.empty();
  for (const LeftOut& l : table.left_out) {
    fmt::print(stderr, "pgpost: left out {}: {}\n", l.what, l.reason);
  }
  const Written written = analyse(kind, std::move(table));
  const std::filesystem::path folder = request.runs.front();
  write_file(folder / (kind + ".json"), written.json);
  write_file(folder / (kind + ".txt"), written.text);
  fmt::print("{}", request.format == "json" ? written.json : written.text);
  if (request.format == "text") {
    fmt::print("\nwritten to {}: {}.json, {}.txt\n", folder.string(), kind, kind);
  }
  return damaged ? ExitCode::bad_data : ExitCode::done;
}

}  // namespace pg::post
