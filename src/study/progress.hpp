#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/board.hpp"
#include "record/run_directory.hpp"

namespace pg::study {

/// Counts of a study, as they stand.
struct Tally {
  std::int64_t planned = 0;  ///< known so far; later stages may add trials
  std::int64_t finished = 0;
  std::int64_t diverged = 0;
  std::int64_t failed = 0;
};

/// Tells the person in front how far the study is: one live line on a terminal, a line now and then
/// in a log, and progress.json for `pgpost status`. Rank 0 owns the only one.
class ProgressReport {
 public:
  ProgressReport(record::RunDirectory run, bool on_terminal);

  /// A new list of trials starts: `ids` by ticket, `tokens` that all of them train on; `before` is
  /// the tally without them, except that `planned` counts them.
  void start_stage(const std::string& stage, std::vector<std::string> ids, std::int64_t tokens,
                   const Tally& before);
  /// Whether update() would do something; so that the statuses are fetched only then.
  [[nodiscard]] bool due() const;
  void update(const std::vector<comm::RankStatus>& statuses);
  /// The last word: "finished" or "stopped".
  void close(const std::string& state, const Tally& tally);
  /// Prints a line of text without spoiling the live line.
  void say(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  struct Speed {
    std::int64_t tokens_done = 0;
    double tokens_per_s = 0;
    double seconds_left = -1;  ///< unknown
  };
  void write_json(const std::string& state, const std::vector<comm::RankStatus>& statuses,
                  const Tally& tally, const Speed& speed);

  record::RunDirectory run_;
  bool on_terminal_;
  std::string stage_;
  std::vector<std::string> ids_;
  std::int64_t tokens_total_ = 0;
  Tally before_;
  Clock::time_point started_;
  Clock::time_point last_line_;
  Clock::time_point last_json_;
  bool live_line_ = false;
};

/// Whether a person watches this program's error stream; looks through mpirun, which gives its
/// ranks pipes whatever its own output is.
bool stderr_is_watched();

}  // namespace pg::study
