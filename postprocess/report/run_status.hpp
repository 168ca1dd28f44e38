#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "record/run_directory.hpp"

namespace pg::post {

/// How far a run is, from progress.json and the trial files.
struct RunStatus {
  std::string state;  ///< running, stopped, finished, killed (running, but silent), unknown
  std::string stage;
  std::int64_t planned = 0;  ///< 0: not known
  std::int64_t finished = 0;
  std::int64_t diverged = 0;
  std::int64_t failed = 0;
  struct Running {
    std::string id;
    std::int64_t rank = 0;
    std::int64_t step = 0;
    std::int64_t steps = 0;
  };
  std::vector<Running> running;
  double tokens_per_s = 0;                    ///< 0: not known
  double seconds_left = -1;                   ///< negative: not known
  double seconds_since_update = -1;           ///< negative: there is no progress.json
  std::vector<record::DamagedTrial> damaged;  ///< trials, or progress.json itself
  std::string advice;                         ///< how to go on; empty when there is nothing to do
};

/// A run whose progress.json says "running" but has been silent for this long was killed.
inline constexpr double kSilenceSeconds = 60;

/// `now_unix` is the present time. Throws InvalidInput (data) when the folder is missing or holds
/// no run.
RunStatus read_status(const std::filesystem::path& root, double now_unix);

std::string status_text(const RunStatus& status);
std::string status_json(const RunStatus& status);

}  // namespace pg::post
