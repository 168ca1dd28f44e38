// A thread outside MPI that ends a program whose ranks died or hang, after one message about it.
// No MPI here: it must work when MPI does not.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/failure_text.hpp"
#include "comm/flight_recorder.hpp"

namespace pg::comm {

struct WatchdogOptions {
  double timeout_s = 0;               ///< without progress; 0: only dead ranks count
  std::filesystem::path folder = {};  ///< with the recorder files of all ranks; empty: no peers
  /// How long after its message a rank waits, so that others can print theirs.
  double grace_s = 1;
  /// How long a silent peer may outlast timeout_s before another rank speaks for it: its own
  /// watchdog should have ended it by then.
  double peer_slack_s = 5;
  /// Called with ExitCode::internal (70); null: _exit, which runs no destructor and no MPI.
  std::function<void(int)> abort = {};
};

/// Looks four times a second, and ends the process when
/// - this rank made no progress for timeout_s: it prints where it is and who keeps it waiting;
/// - a rank of the same launch on this machine is dead without a normal end: one rank of the
///   machine (the lowest one that lives) prints one message on its behalf, the others are silent;
/// - a rank of this machine is silent for longer than timeout_s + peer_slack_s and still there: its
///   own watchdog does not run either (SIGSTOP), so one rank speaks for it.
/// A rank that waits for work must call progress() now and then. Time in which the whole process
/// was paused does not count. The destructor cancels what is pending and returns at once.
class Watchdog {
 public:
  /// The recorder must be attached (to be seen by others) and outlive the watchdog.
  Watchdog(FlightRecorder& recorder, WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Whether a rank of this machine is lost. It looks anew, so that the SIGTERM that a launcher
  /// sends after a death is not mistaken for a polite stop: ask it when such a signal has come.
  [[nodiscard]] bool peer_lost();

 private:
  struct Known;
  using Lock = std::unique_lock<std::mutex>;

  void watch();
  /// Returns true if the destructor waits.
  bool sleep(Lock& lock, std::int64_t nanoseconds);
  void find_peers(const Snapshot& mine, std::int64_t elapsed_ns);
  [[nodiscard]] std::vector<Peer> dead_peers();
  [[nodiscard]] std::vector<Peer> silent_peers(std::int64_t elapsed_ns);
  [[nodiscard]] bool lowest_alive(int rank) const;
  void end_for_silence(Lock& lock, const Snapshot& mine, std::int64_t silent_ns);
  void end_for_peers(Lock& lock, const Snapshot& mine, const std::vector<Peer>& lost);
  void end_process(Lock& lock);

  FlightRecorder& recorder_;
  WatchdogOptions options_;
  std::atomic<bool> peer_lost_ = false;
  std::mutex mutex_;  ///< of what follows; the recorder needs none
  std::condition_variable wake_;
  bool stopping_ = false;
  std::vector<Known> known_;
  std::int64_t search_in_ns_ = 0;  ///< until the next look for peers that are not known yet
  std::int64_t search_every_ns_ = 0;
  std::int64_t since_read_ns_ = 0;  ///< since the peers' files were read for their progress
  std::thread thread_;              ///< last: it uses all of the above
};

}  // namespace pg::comm
