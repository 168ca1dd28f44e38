#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "comm/watchdog.hpp"
#include "config/settings.hpp"
#include "study/crew.hpp"

namespace pg::study {

struct RunOptions {
  std::filesystem::path run_directory;
  std::string command_line;  ///< for the provenance
  /// Every running trial is saved by then.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  bool restart_damaged = false;  ///< a trial whose generations are all damaged starts from zero
  comm::Watchdog* watchdog = nullptr;  ///< asked whether a SIGTERM means a dead rank; may be null
};

/// Runs a study on all ranks, stage by stage (grid, refine, transfer), or goes on with the one that
/// the run directory holds: finished and diverged trials are skipped, failed and damaged ones are
/// trained again. Collective. Returns done, failed_trials or stopped on every rank.
/// Throws InvalidInput (settings) if the directory holds another study or the ranks disagree,
/// InvalidInput (data) for a bad corpus, IoError.
ExitCode run_study(const config::Study& study, const RunOptions& options, const Crew::Ranks& ranks);

}  // namespace pg::study
