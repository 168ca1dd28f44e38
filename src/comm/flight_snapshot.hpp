#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/fixed_text.hpp"
#include "comm/process_state.hpp"

// What a FlightRecorder held at one moment, of this process or of another, and the words for it.

namespace pg::comm {

enum class RankState : std::uint64_t { starting, idle, training, saving, ended };

/// Whether somebody was already told why a rank ended, so that it is said once.
enum class Said : std::uint64_t {
  nothing,
  failure,   ///< its own failure, by the rank itself or by another one on its behalf
  followed,  ///< it only left because of another rank
};

struct Collective {
  std::uint64_t sequence = 0;  ///< counts the collectives of this process from 1 on
  FixedText<32> operation;
  std::int64_t bytes = 0;
  int first_rank = 0;  ///< of the team, in the world
  int size = 0;        ///< of the team
  int waits_for = -1;  ///< a rank of the world; -1: nobody in particular
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;  ///< 0: still in it
};

/// Plain data, without pointers. Times are of the monotonic clock of the machine it came from.
struct Snapshot {
  int rank = 0;
  int n_ranks = 1;
  std::int64_t pid = 0;
  std::uint64_t process_start = 0;
  std::uint64_t boot = 0;
  std::uint64_t process_namespace = 0;
  std::int64_t started_wall_ns = 0;
  FixedText<64> host;
  FixedText<64> launch;

  RankState state = RankState::starting;
  Said said = Said::nothing;
  FixedText<128> trial;  ///< empty: none
  std::int64_t step = 0;
  std::int64_t steps = 0;
  std::int64_t last_progress_ns = 0;
  std::uint64_t phase_start = 0;  ///< newest collective when the trial was entered or left
  std::int64_t taken_ns = 0;      ///< now, on the clock of the times above

  std::array<Collective, 16> ring;  ///< newest first
  std::size_t n_ring = 0;           ///< how many of them there are

  /// The collective it is in, or nothing.
  [[nodiscard]] const Collective* inside() const {
    return n_ring > 0 && ring[0].end_ns == 0 ? &ring[0] : nullptr;
  }
  /// How many collectives it has begun since it entered (or left) its trial: what the ranks of a
  /// team have in common, whatever they did before.
  [[nodiscard]] std::uint64_t n_begun() const {
    return n_ring == 0 ? 0 : ring[0].sequence - phase_start;
  }
  [[nodiscard]] std::int64_t silent_ns() const { return taken_ns - last_progress_ns; }
};

/// The recorder file of a process, dead or alive. Nothing, without a throw, for a file that is
/// absent, too short, foreign, of another layout or damaged.
std::optional<Snapshot> read_snapshot(const std::filesystem::path& file);

/// "rank_00003.flight"
std::string recorder_file_name(int rank);
/// Every readable recorder file of a folder, in rank order; none if there is no such folder.
std::vector<Snapshot> read_snapshots(const std::filesystem::path& folder);

/// Of the process the snapshot is of, as far as this process can tell.
Life life(const Snapshot& snapshot);

/// One line: "rank 3 of 8 on node7 (pid 4711): trial b0064_lr0.001_s42, step 17 of 5000, in
/// all_reduce_tree #512 (543.2 kB, team 2-3, waiting for rank 2) for 31.2 s".
std::string describe(const Snapshot& snapshot);
/// The collectives of the ring, newest first, a line each.
std::string describe_ring(const Snapshot& snapshot);

/// Room for one line about a rank.
using Line = FixedText<640>;
/// The line of describe(). Safe in a signal handler.
void add_description(Line& line, const Snapshot& snapshot);
/// Only its second half, without times: "in trial ..., step ... of ..., in all_reduce_tree #512
/// (...)": for a process that is dead. Safe in a signal handler.
void add_last_place(Line& line, const Snapshot& snapshot);

}  // namespace pg::comm
