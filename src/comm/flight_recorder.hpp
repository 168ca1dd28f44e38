// What this rank is doing, kept where the others and the next launch can read it: the source of
// every message about a rank that died, hangs or threw. No MPI here.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string_view>

#include "comm/flight_snapshot.hpp"

namespace pg::comm {

/// One per process, owned by the program. One thread writes (the one that calls MPI); any thread,
/// any process and a signal handler may read at any time.
///
/// Every word is an atomic in memory that other processes map. What belongs together is guarded as
/// in a seqlock: the trial by a generation count that is odd during a change, an entry of the ring
/// by its sequence number, which is 0 meanwhile. A mutex would not do: one whose owner was killed
/// never opens for the reader in another process, a signal handler must not wait for the thread
/// that it interrupted, and the writer must not wait for a watchdog that reads.
class FlightRecorder {
 public:
  FlightRecorder(int rank, int n_ranks);
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  /// Moves the record into a mapped file that outlives a SIGKILL; it replaces an older file of that
  /// name. All ranks of one launch give the same `launch` text and the same folder. Call it before
  /// a Watchdog or a CrashHandler reads this recorder. Throws IoError: the caller may go on
  /// without.
  void attach(const std::filesystem::path& file, std::string_view launch);

  void enter_trial(std::string_view id, std::int64_t steps);
  void leave_trial();
  void step(std::int64_t step);
  /// Says that this rank is alive; cheap, for the inner loop, and from any thread.
  void progress();
  /// Enters a collective of the ranks [first_rank, first_rank + size) of the world. They do not
  /// nest: record the outer one or the inner ones. Texts beyond 32 bytes are cut.
  void begin(std::string_view operation, std::int64_t bytes, int first_rank, int size);
  /// The rank of the world that this one now waits for; -1: nobody in particular.
  void waits_for(int rank);
  void end();
  void state(RankState state);
  /// A normal end; from here on nobody watches this rank. Without it, a process that is gone counts
  /// as lost. Call it when this rank has nothing left to do but to end MPI.
  void ended();
  /// Somebody was told why this rank ends; nobody needs to say it on its behalf.
  void said(Said what);

  /// Safe in a signal handler, like said(): no allocation, no lock, and it does not wait for a
  /// change to end for ever, because the handler may have interrupted it.
  [[nodiscard]] Snapshot snapshot() const noexcept;

 private:
  struct Change;
  [[nodiscard]] std::uint64_t load(std::size_t word) const;
  void store(std::size_t word, std::uint64_t value);
  void store_text(std::size_t first, std::size_t n_words, std::string_view text);
  void unmap();

  std::unique_ptr<std::uint64_t[]> private_;  ///< until attach()
  std::uint64_t* words_;                      ///< private_ or the mapped file
};

/// Whether the caller is the one to say why the process of this file (of `peer`) ends: true for
/// one caller on this machine, and only if nothing was said so far. Where the file cannot be
/// changed the answer is true: better said twice than never.
bool claim_message(const std::filesystem::path& file, const Snapshot& peer);

/// begin() and end() of one collective. Left by an exception it does not end it, so that the
/// message about the exception can name the collective.
class CollectiveScope {
 public:
  CollectiveScope(FlightRecorder& recorder, std::string_view operation, std::int64_t bytes,
                  int first_rank, int size)
      : recorder_(recorder), exceptions_(std::uncaught_exceptions()) {
    recorder_.begin(operation, bytes, first_rank, size);
  }
  CollectiveScope(const CollectiveScope&) = delete;
  CollectiveScope& operator=(const CollectiveScope&) = delete;
  ~CollectiveScope() {
    if (std::uncaught_exceptions() == exceptions_) recorder_.end();
  }

 private:
  FlightRecorder& recorder_;
  int exceptions_;
};

}  // namespace pg::comm
