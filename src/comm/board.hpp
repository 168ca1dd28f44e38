#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.hpp"

namespace pg::comm {

/// What one rank is doing, as the others can see it.
struct RankStatus {
  std::int64_t job = -1;  ///< what it works on; -1: nothing
  std::int64_t step = 0;
  std::int64_t steps = 0;
  std::int64_t tokens_done = 0;  ///< as far as this rank reports them; see study
  std::int64_t n_finished = 0;
  std::int64_t n_diverged = 0;
  std::int64_t n_failed = 0;
};

/// A log that every rank can append to and that all read in one and the same order, a stop flag and
/// a board of rank statuses, in memory of rank 0 that every rank reaches by one-sided operations:
/// no rank serves the others, none has to answer. Ranks that compute the same function of the log
/// agree without talking.
/// Where the network has no remote atomics, rank 0 must enter MPI now and then: every call here
/// does.
class Board {
 public:
  using Entry = std::array<std::int64_t, 8>;

  /// Collective over `communicator`, which must outlive the board. The log has `capacity` places.
  Board(const Communicator& communicator, std::int64_t capacity);
  /// Collective.
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  /// Lets this rank answer for its memory; cheap, for the inner loop. Without it the others wait
  /// for rank 0 where the network has no remote atomics.
  void progress();
  /// Adds an entry at the end; throws InternalError when the log is full.
  void append(const Entry& entry);
  /// The entries from place `first` on that are there by now, without a gap.
  [[nodiscard]] std::vector<Entry> entries_from(std::int64_t first);
  void post(const RankStatus& status);
  /// Raises the stop flag for every rank; it is never lowered.
  void request_stop();
  [[nodiscard]] bool stop_requested();
  [[nodiscard]] std::vector<RankStatus> statuses();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pg::comm
