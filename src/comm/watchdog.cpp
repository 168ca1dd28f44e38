#include "comm/watchdog.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include "base/error.hpp"

namespace pg::comm {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kPeriod = kSecond / 4;
/// A longer gap between two looks means that this process did not run; the rest of it is not
/// counted, or a job that was paused and continued would end itself.
constexpr std::int64_t kLongestGap = 2 * kPeriod;
constexpr std::int64_t kReadPeriod = 2 * kSecond;
constexpr std::int64_t kLongestSearchPeriod = 30 * kSecond;
/// How long a rank leaves it to a lower one to speak.
constexpr std::int64_t kTurn = kSecond / 3;

std::int64_t in_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * static_cast<double>(kSecond));
}

/// Everything but the signals that a fault of the thread itself raises.
sigset_t all_but_faults() {
  sigset_t set;
  sigfillset(&set);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&set, fault);
  return set;
}

}  // namespace

struct Watchdog::Known {
  std::filesystem::path file;
  Snapshot last;            ///< as it was when the file was last read
  bool here = false;        ///< on this machine: its process can be looked at
  bool gone = false;        ///< ended normally
  std::int64_t silent = 0;  ///< while this process ran
};

Watchdog::Watchdog(FlightRecorder& recorder, WatchdogOptions options)
    : recorder_(recorder), options_(std::move(options)) {
  if (!options_.abort) options_.abort = [](int code) { ::_exit(code); };
  const sigset_t blocked = all_but_faults();
  sigset_t old;
  ::pthread_sigmask(SIG_SETMASK, &blocked, &old);  // the new thread inherits it
  thread_ = std::thread([this] { watch(); });
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool Watchdog::peer_lost() {
  if (peer_lost_) return true;
  const std::lock_guard lock(mutex_);
  search_in_ns_ = 0;
  find_peers(recorder_.snapshot(), 0);
  if (!dead_peers().empty()) peer_lost_ = true;
  return peer_lost_;
}

bool Watchdog::sleep(Lock& lock, std::int64_t nanoseconds) {
  return wake_.wait_for(lock, std::chrono::nanoseconds(nanoseconds), [&] { return stopping_; });
}

void Watchdog::watch() {
  Lock lock(mutex_);
  const std::int64_t timeout = in_ns(options_.timeout_s);
  std::int64_t last_look = monotonic_ns();
  std::int64_t last_progress = 0;
  std::int64_t silent = 0;
  while (!sleep(lock, kPeriod)) {
    const std::int64_t now = monotonic_ns();
    const std::int64_t elapsed = std::min(now - last_look, kLongestGap);
    last_look = now;
    const Snapshot mine = recorder_.snapshot();
    if (mine.state == RankState::ended) continue;
    find_peers(mine, elapsed);
    if (const auto dead = dead_peers(); !dead.empty()) {
      end_for_peers(lock, mine, dead);
      return;
    }
    if (timeout <= 0) continue;
    silent = mine.last_progress_ns == last_progress ? silent + elapsed : 0;
    last_progress = mine.last_progress_ns;
    if (silent >= timeout) {
      end_for_silence(lock, mine, silent);
      return;
    }
    if (const auto stuck = silent_peers(elapsed); !stuck.empty()) {
      end_for_peers(lock, mine, stuck);
      return;
    }
  }
}

void Watchdog::find_peers(const Snapshot& mine, std::int64_t elapsed_ns) {
  search_in_ns_ -= elapsed_ns;
  const auto n_peers = static_cast<std::size_t>(mine.n_ranks) - 1;
  if (options_.folder.empty() || known_.size() == n_peers || search_in_ns_ > 0) return;
  // Often at first, while the others start; later only for those that never came.
  search_every_ns_ = std::clamp(2 * search_every_ns_, kPeriod, kLongestSearchPeriod);
  search_in_ns_ = search_every_ns_;
  for (int rank = 0; rank < mine.n_ranks; ++rank) {
    const auto is_known = [&](const Known& known) { return known.last.rank == rank; };
    if (rank == mine.rank || std::any_of(known_.begin(), known_.end(), is_known)) continue;
    auto file = options_.folder / recorder_file_name(rank);
    const auto snapshot = read_snapshot(file);
    if (!snapshot || snapshot->rank != rank || snapshot->launch.view() != mine.launch.view()) {
      continue;  // not there yet, or of an earlier launch
    }
    const bool here = life(*snapshot) != Life::unknown;
    known_.push_back({.file = std::move(file), .last = *snapshot, .here = here});
  }
}

std::vector<Peer> Watchdog::dead_peers() {
  std::vector<Peer> dead;
  for (Known& peer : known_) {
    if (!peer.here || peer.gone) continue;
    if (process_life(peer.last.pid, peer.last.process_start) != Life::dead) continue;
    // Read after its death: nothing in it changes any more.
    const auto final_state = read_snapshot(peer.file);
    if (!final_state || final_state->pid != peer.last.pid ||
        final_state->state == RankState::ended) {
      peer.gone = true;
      continue;
    }
    dead.push_back({*final_state, Life::dead});
  }
  return dead;
}

std::vector<Peer> Watchdog::silent_peers(std::int64_t elapsed_ns) {
  since_read_ns_ += elapsed_ns;
  if (since_read_ns_ < kReadPeriod) return {};
  std::vector<Peer> stuck;
  for (Known& peer : known_) {
    if (!peer.here || peer.gone) continue;
    const auto snapshot = read_snapshot(peer.file);
    if (!snapshot || snapshot->pid != peer.last.pid || snapshot->state == RankState::ended) {
      continue;
    }
    const bool moved = snapshot->last_progress_ns != peer.last.last_progress_ns;
    peer.silent = moved ? 0 : peer.silent + since_read_ns_;
    peer.last = *snapshot;
    if (peer.silent < in_ns(options_.timeout_s + options_.peer_slack_s)) continue;
    stuck.push_back({*snapshot, process_life(snapshot->pid, snapshot->process_start)});
  }
  since_read_ns_ = 0;
  return stuck;
}

bool Watchdog::lowest_alive(int rank) const {
  return std::none_of(known_.begin(), known_.end(), [&](const Known& peer) {
    return peer.here && !peer.gone && peer.last.rank < rank &&
           process_life(peer.last.pid, peer.last.process_start) == Life::running;
  });
}

void Watchdog::end_for_silence(Lock& lock, const Snapshot& mine, std::int64_t silent_ns) {
  recorder_.said(Said::failure);
  std::vector<Peer> peers;
  for (const Known& known : known_) {
    const auto snapshot = read_snapshot(known.file);
    if (snapshot && snapshot->pid == known.last.pid) peers.push_back({*snapshot, life(*snapshot)});
  }
  const std::string text = silence_text(mine, silent_ns, peers);
  write_to_stderr(text.data(), text.size());
  end_process(lock);
}

void Watchdog::end_for_peers(Lock& lock, const Snapshot& mine, const std::vector<Peer>& lost) {
  peer_lost_ = true;
  // Before anything else: this process may be ended from outside at any moment now, and that is
  // not worth a message of its own.
  if (mine.said == Said::nothing) recorder_.said(Said::followed);
  // Usually the lowest rank speaks. Where it cannot (paused itself) the claim goes to another one.
  if (!lowest_alive(mine.rank) && sleep(lock, kTurn)) return;
  std::string text;
  for (const Peer& peer : lost) {
    if (peer.snapshot.said != Said::nothing) continue;
    if (!claim_message(options_.folder / recorder_file_name(peer.snapshot.rank), peer.snapshot)) {
      continue;
    }
    text += loss_text(peer);
  }
  write_to_stderr(text.data(), text.size());
  end_process(lock);
}

void Watchdog::end_process(Lock& lock) {
  if (!sleep(lock, in_ns(options_.grace_s))) options_.abort(static_cast<int>(ExitCode::internal));
}

}  // namespace pg::comm
