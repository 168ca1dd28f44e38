#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"

// pgpost fit, plot, report and compare: what run directories show. One path for every kind of
// analysis; the kind is that of study.yaml.

namespace pg::post {

struct RunRequest {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path output;  ///< empty: the run directory; several runs need one
  std::string kind;              ///< empty: analysis.kind of the first run's study.yaml
  std::vector<std::string> where;
  bool allow_mixed = false;
  bool json = false;
  bool strict = false;  ///< 65 if anything is in doubt: a status, a warning, a trial left out
};

/// Where results go: --output, else the run directory, or a folder of its own in it for a selection
/// ("where optimizer.lr=0.001"). Throws InvalidInput (settings): several runs and no --output.
std::filesystem::path output_of(const RunRequest& request, const std::string& selection);

/// Analyses, draws, writes JSON, RESULTS.md and report.html, and prints text or JSON.
ExitCode fit_runs(const RunRequest& request);
/// Draws the plots only.
ExitCode plot_runs(const RunRequest& request);
/// Writes all but the plots.
ExitCode report_runs(const RunRequest& request);

}  // namespace pg::post
