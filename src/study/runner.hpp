#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "comm/communicator.hpp"
#include "config/settings.hpp"

namespace pg::study {

struct RunOptions {
  std::filesystem::path run_directory;
  std::string command_line;  ///< for the provenance
};

/// Runs a study on all ranks, stage by stage (grid, refine, transfer), or goes on with the one that
/// the run directory holds: finished and diverged trials are skipped, failed and damaged ones are
/// trained again. Collective. Returns done, failed_trials or stopped on every rank.
/// Throws InvalidInput (settings) if the directory holds another study or the ranks disagree,
/// InvalidInput (data) for a bad corpus, IoError.
ExitCode run_study(const config::Study& study, const RunOptions& options,
                   const comm::Communicator& world);

}  // namespace pg::study
