#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/generation.hpp"
#include "checkpoint/save.hpp"
#include "comm/communicator.hpp"

namespace pg::checkpoint {

/// When generations are written, and which of them stay.
struct Policy {
  double interval_s = 600;       ///< between two; 0: not by time
  std::int64_t interval = 0;     ///< steps between two; 0: not by steps
  std::int64_t keep_every = 0;   ///< those of every Nth step stay, besides the newest two; 0: none
  bool restart_damaged = false;  ///< start from zero where every generation is damaged
};

/// The generations of one trial, as a team of ranks writes and reads them.
class Store {
 public:
  /// `say` tells the user; called on rank 0 of the team. The team must outlive the store.
  Store(std::filesystem::path folder, const Policy& policy, const comm::Communicator& team,
        std::function<void(const std::string&)> say);

  /// The newest good one, the same on every rank; damaged ones are named and passed over. Nothing
  /// where there is none. Collective. Throws InvalidInput (data) if there are some and all are
  /// damaged, unless the policy says to start again.
  std::optional<Generation> newest();

  /// From now on one is written after every `interval` steps, in every run alike, and the newest
  /// two of these stay, too: a trial may go back to them. 0: none.
  void allow_rollback(std::int64_t interval) { rollback_interval_ = interval; }
  /// The newest of these that is not after `step`; waits for what is being written first, and
  /// removes everything that is newer, which is no longer part of the trial. Collective. Nothing
  /// where there is none.
  std::optional<Generation> go_back(std::int64_t step);

  /// Whether it is time for a generation by the clock of this rank.
  [[nodiscard]] bool is_time() const;
  /// Whether every run writes one after this step.
  [[nodiscard]] bool is_due(std::int64_t step) const;
  /// Starts to write one; waits for an earlier one first. Collective; see Save.
  void begin(const Content& content, const std::vector<Share>& data);
  /// Whether this rank's share of the one begun is on disk.
  [[nodiscard]] bool written();
  /// Every rank has written: the generation gets its name.
  void commit();
  /// Waits until what was begun has its name. Collective.
  void finish();

  /// Of the slowest so far, from begin() to written on this rank; 0 before the first.
  [[nodiscard]] double slowest_seconds() const { return slowest_seconds_; }

 private:
  void prune() const;

  std::filesystem::path folder_;
  Policy policy_;
  std::int64_t rollback_interval_ = 0;
  const comm::Communicator& team_;
  std::function<void(const std::string&)> say_;
  std::set<std::int64_t> good_;  ///< steps that are known to be on disk and whole
  std::int64_t step_ = 0;        ///< of the one begun
  bool is_committed_ = true;
  CopyBuffer buffer_;  ///< outlives save_
  std::optional<Save> save_;
  std::chrono::steady_clock::time_point last_;
  double slowest_seconds_ = 0;
};

}  // namespace pg::checkpoint
