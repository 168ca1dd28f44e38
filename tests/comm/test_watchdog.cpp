#define BOOST_TEST_MODULE watchdog
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "comm/flight_layout.hpp"
#include "comm/flight_recorder.hpp"
#include "comm/processes.hpp"
#include "comm/watchdog.hpp"
#include "support/support.hpp"

namespace {

using namespace pg::comm;
using namespace pg::testing;

constexpr int kInternal = static_cast<int>(pg::ExitCode::internal);
constexpr const char* kTrial = "b0064_lr0.001_s42";

/// The processes of one launch on this machine, without MPI: each writes its own recorder.
class Ranks {
 public:
  explicit Ranks(int n_ranks) : n_ranks_(n_ranks) {}

  /// Starts the next rank; returns when its recorder file is there.
  Child& start(const std::function<int(FlightRecorder&)>& body) {
    const int rank = static_cast<int>(children_.size());
    children_.push_back(std::make_unique<Child>(folder_ / ("stderr" + std::to_string(rank)), [&] {
      FlightRecorder recorder(rank, n_ranks_);
      recorder.attach(file(rank), "launch");
      return body(recorder);
    }));
    BOOST_TEST_REQUIRE(eventually([&] { return read_snapshot(file(rank)).has_value(); }));
    return *children_.back();
  }
  /// Starts a rank that enters a collective of all ranks and never leaves it.
  Child& start_waiting(double timeout_s, int waits_for = -1) {
    const auto rank = static_cast<int>(children_.size());
    Child& child = start([=, this](FlightRecorder& recorder) {
      const Watchdog watchdog(recorder, options(timeout_s));
      recorder.enter_trial(kTrial, 5000);
      recorder.step(17);
      recorder.begin("all_reduce_tree", 543'210, 0, n_ranks_);
      if (waits_for >= 0) recorder.waits_for(waits_for);
      for (;;) ::pause();
      return 0;
    });
    BOOST_TEST_REQUIRE(eventually([&] { return read_snapshot(file(rank))->inside() != nullptr; }));
    return child;
  }
  /// Starts a rank that waits for work, and says so, until it is ended.
  Child& start_idle(double timeout_s) {
    return start([=, this](FlightRecorder& recorder) {
      const Watchdog watchdog(recorder, options(timeout_s));
      recorder.state(RankState::idle);
      for (;;) {
        recorder.progress();
        pause_ms(20);
      }
      return 0;
    });
  }
  [[nodiscard]] WatchdogOptions options(double timeout_s) const {
    return {.timeout_s = timeout_s,
            .folder = folder_.path(),
            .grace_s = 0.5,
            .peer_slack_s = 1,
            .abort = {}};
  }
  [[nodiscard]] std::filesystem::path file(int rank) const {
    return folder_ / recorder_file_name(rank);
  }
  [[nodiscard]] std::filesystem::path folder() const { return folder_.path(); }
  [[nodiscard]] std::string said_by_all() const {
    std::string text;
    for (const auto& child : children_) text += child->said();
    return text;
  }

 private:
  ScratchFolder folder_;
  int n_ranks_;
  std::vector<std::unique_ptr<Child>> children_;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

const std::string kPlace =
    "in trial b0064_lr0.001_s42, step 17 of 5000, in all_reduce_tree #1 (543.2 kB, team 0-2)";

}  // namespace

BOOST_AUTO_TEST_CASE(a_killed_rank_is_named_once_by_the_lowest_one_that_lives) {
  Ranks ranks(6);
  Child& first = ranks.start_idle(0);
  Child& killed = ranks.start_waiting(0);
  std::vector<Child*> others;
  for (int rank = 2; rank < 6; ++rank) {
    pause_ms(50);  // so that the lowest rank is rarely the first one to look
    others.push_back(&ranks.start_idle(0));
  }
  pause_ms(300);
  killed.send(SIGKILL);  // a zombie until the end of the test: nobody waits for it
  BOOST_TEST(first.exit_code() == kInternal);
  for (Child* other : others) BOOST_TEST(other->exit_code() == kInternal);
  check_contains(first.said(),
                 {"pgmpi: rank 1 of 6 on " + host_name() + " (pid " + std::to_string(killed.pid()),
                  "in trial b0064_lr0.001_s42, step 17 of 5000, in all_reduce_tree #1 (543.2 kB, "
                  "team 0-5)",
                  "died", "the same command goes on with what is finished"});
  BOOST_TEST(count_of(ranks.said_by_all(), "pgmpi: ") == 1);
  BOOST_TEST((read_snapshot(ranks.file(1))->said == Said::failure));
  BOOST_TEST((read_snapshot(ranks.file(0))->said == Said::followed));
}

BOOST_AUTO_TEST_CASE(the_next_one_speaks_where_the_lowest_rank_is_paused) {
  Ranks ranks(3);
  Child& paused = ranks.start_idle(0);
  Child& killed = ranks.start_waiting(0);
  Child& last = ranks.start_idle(0);
  paused.send(SIGSTOP);
  pause_ms(300);
  killed.send(SIGKILL);
  BOOST_TEST(killed.exit_code() == -1000 - SIGKILL);
  BOOST_TEST(last.exit_code() == kInternal);
  check_contains(last.said(), {"pgmpi: rank 1 of 3", kPlace});
  paused.send(SIGCONT);  // finds that all was said
  BOOST_TEST(paused.exit_code() == kInternal);
  BOOST_TEST(count_of(ranks.said_by_all(), "pgmpi: ") == 1);
}

BOOST_AUTO_TEST_CASE(a_rank_that_spoke_for_itself_is_not_named_again) {
  Ranks ranks(2);
  Child& other = ranks.start_idle(0);
  Child& failing = ranks.start([](FlightRecorder& recorder) {
    pause_ms(300);
    recorder.said(Said::failure);
    return kInternal;
  });
  BOOST_TEST(failing.exit_code() == kInternal);
  BOOST_TEST(other.exit_code() == kInternal);
  BOOST_TEST(other.said().empty());
}

BOOST_AUTO_TEST_CASE(a_rank_that_ended_normally_is_not_reported) {
  Ranks ranks(3);
  Child& other = ranks.start_idle(0.8);
  Child& ended = ranks.start([&](FlightRecorder& recorder) {
    const Watchdog watchdog(recorder, ranks.options(0.8));
    recorder.ended();
    pause_ms(2000);  // ending MPI may take its time
    return 0;
  });
  Child& quick = ranks.start([](FlightRecorder& recorder) {
    recorder.ended();
    return 0;
  });
  BOOST_TEST(ended.exit_code() == 0);
  BOOST_TEST(quick.exit_code() == 0);
  BOOST_TEST(other.exit_code(2.5) == -1);
  BOOST_TEST(ranks.said_by_all() == "");
}

BOOST_AUTO_TEST_CASE(a_rank_that_hangs_in_a_collective_says_so_within_the_timeout) {
  Ranks ranks(2);
  const auto start = std::chrono::steady_clock::now();
  Child& hangs = ranks.start([&](FlightRecorder& recorder) {
    const Watchdog watchdog(recorder, ranks.options(1));
    recorder.enter_trial(kTrial, 5000);
    for (int i = 1; i <= 30; ++i) {
      recorder.step(i);
      recorder.begin("all_reduce_tree", 1000 * i, 0, 2);
      if (i < 30) recorder.end();
    }
    pause_ms(60'000);
    return 0;
  });
  BOOST_TEST(hangs.exit_code() == kInternal);
  BOOST_TEST(seconds_since(start) < 1 + 0.5 + 1.5);  // the time-out, the grace, some slack
  BOOST_TEST(seconds_since(start) > 1);
  const std::string text = hangs.said();
  check_contains(text, {"pgmpi: no progress for 1.", "rank 0 of 2 on " + host_name(),
                        "trial b0064_lr0.001_s42, step 30 of 5000, in all_reduce_tree #30 "
                        "(30.0 kB, team 0-1) for 1.",
                        "last collectives of rank 0", "#15 (15.0 kB", "not ended",
                        "the same command goes on"});
  BOOST_TEST(count_of(text, "#14 ") == 0);
  BOOST_TEST(text.size() < 4096U);
}

BOOST_AUTO_TEST_CASE(a_rank_that_computes_for_ever_says_so_and_the_waiting_one_names_it) {
  Ranks ranks(2);
  Child& computes = ranks.start([&](FlightRecorder& recorder) {
    const Watchdog watchdog(recorder, ranks.options(1));
    recorder.enter_trial(kTrial, 5000);
    recorder.step(16);
    recorder.begin("broadcast", 8, 0, 2);
    recorder.end();
    pause_ms(60'000);
    return 0;
  });
  Child& waits = ranks.start([&](FlightRecorder& recorder) {
    const Watchdog watchdog(recorder, ranks.options(1));
    recorder.enter_trial(kTrial, 5000);
    recorder.step(17);
    recorder.begin("broadcast", 8, 0, 2);
    recorder.end();
    recorder.begin("all_reduce_tree", 543'210, 0, 2);
    pause_ms(60'000);
    return 0;
  });
  BOOST_TEST(computes.exit_code() == kInternal);
  BOOST_TEST(waits.exit_code() == kInternal);
  check_contains(computes.said(), {"step 16 of 5000, computing, no progress for 1.",
                                   "last collective: broadcast #1"});
  check_contains(waits.said(), {"ranks that are behind it", "    rank 0 of 2 on ", "computing"});
}

BOOST_AUTO_TEST_CASE(a_paused_rank_is_named_by_the_one_that_waits_for_it) {
  Ranks ranks(2);
  Child& paused = ranks.start_waiting(1);
  paused.send(SIGSTOP);
  Child& waits = ranks.start_waiting(1, 0);
  BOOST_TEST(waits.exit_code() == kInternal);
  check_contains(waits.said(), {"waiting for rank 0) for 1.", "    rank 0 of 2 on ",
                                "; its process is paused", "trial b0064_lr0.001_s42, step 17"});
}

BOOST_AUTO_TEST_CASE(a_paused_rank_is_named_by_those_that_wait_for_work) {
  Ranks ranks(3);
  Child& idle = ranks.start_idle(1);
  Child& paused = ranks.start_waiting(1);
  paused.send(SIGSTOP);
  Child& other = ranks.start_idle(1);
  BOOST_TEST(idle.exit_code() == kInternal);
  BOOST_TEST(other.exit_code() == kInternal);
  check_contains(ranks.said_by_all(),
                 {"pgmpi: rank 1 of 3", "makes no progress for ", "its process is paused", kPlace});
  BOOST_TEST(count_of(ranks.said_by_all(), "pgmpi: ") == 1);
}

BOOST_AUTO_TEST_CASE(time_in_which_the_whole_job_is_paused_does_not_count) {
  Ranks ranks(2);
  Child& waits = ranks.start_waiting(2.5);
  Child& idle = ranks.start_idle(2.5);
  waits.send(SIGSTOP);
  idle.send(SIGSTOP);
  pause_ms(4000);  // more than time-out and slack together
  waits.send(SIGCONT);
  pause_ms(200);
  idle.send(SIGCONT);
  BOOST_TEST(waits.exit_code(1) == -1);
  BOOST_TEST(idle.exit_code(0.1) == -1);
  BOOST_TEST(ranks.said_by_all() == "");
  BOOST_TEST(waits.exit_code() == kInternal);  // in the end it does hang
}

BOOST_AUTO_TEST_CASE(a_reused_process_number_and_files_of_other_launches) {
  Ranks ranks(4);
  Child& other = ranks.start_idle(0);
  // A dead rank of an earlier launch, and files that are none: of no interest.
  {
    Child old(ranks.folder() / "old", [&] {
      FlightRecorder recorder(3, 4);
      recorder.attach(ranks.file(3), "earlier launch");
      return 0;
    });
    BOOST_TEST(old.exit_code() == 0);
  }
  pg::write_in_place(ranks.file(2), "not a recorder");
  BOOST_TEST(other.exit_code(1.5) == -1);
  BOOST_TEST(other.said() == "");
  // Its number now belongs to this very process, which started at another time.
  FlightRecorder recorder(1, 4);
  recorder.attach(ranks.folder() / "mine", "launch");
  std::string bytes = pg::read_file(ranks.folder() / "mine");
  std::array<std::uint64_t, layout::kWords> words{};
  std::memcpy(words.data(), bytes.data(), layout::kBytes);
  words[layout::kProcessStart] -= 1;
  words[layout::kIdentityHash] = layout::identity_hash(words);
  std::memcpy(bytes.data(), words.data(), layout::kBytes);
  pg::write_file(ranks.file(1), bytes);
  BOOST_TEST(other.exit_code() == kInternal);
  check_contains(other.said(), {"pgmpi: rank 1 of 4", "died without a word"});
}

BOOST_AUTO_TEST_CASE(a_sigterm_after_a_death_is_known_for_what_it_is) {
  Ranks ranks(2);
  Child& asks = ranks.start([&](FlightRecorder& recorder) {
    auto options = ranks.options(0);
    options.grace_s = 30;
    Watchdog watchdog(recorder, options);
    if (watchdog.peer_lost()) return 1;
    if (!eventually([&] { return read_snapshot(ranks.file(1)).has_value(); })) return 2;
    const auto peer = read_snapshot(ranks.file(1));
    if (watchdog.peer_lost()) return 3;
    while (life(*peer) != Life::dead) {
    }
    return watchdog.peer_lost() ? 0 : 4;  // at once: the thread looks four times a second
  });
  Child& dies = ranks.start([](FlightRecorder&) {
    pause_ms(700);
    ::raise(SIGKILL);
    return 0;
  });
  BOOST_TEST(dies.exit_code() == -1000 - SIGKILL);
  BOOST_TEST(asks.exit_code() == 0);
}

BOOST_AUTO_TEST_CASE(the_destructor_is_prompt_and_cancels_what_is_pending) {
  const ScratchFolder folder;
  FlightRecorder recorder(0, 1);
  double slowest = 0;
  for (int i = 0; i < 20; ++i) {
    auto watchdog = std::make_unique<Watchdog>(recorder, WatchdogOptions{.timeout_s = 60});
    pause_ms(10 * (i % 4));
    const auto start = std::chrono::steady_clock::now();
    watchdog.reset();
    slowest = std::max(slowest, seconds_since(start));
  }
  BOOST_TEST(slowest < 0.1);
  // Also in the grace between the message and the end.
  Child child(folder / "stderr", [&] {
    auto watchdog =
        std::make_unique<Watchdog>(recorder, WatchdogOptions{.timeout_s = 0.3, .grace_s = 60});
    if (!eventually([&] { return recorder.snapshot().said == Said::failure; })) return 1;
    const auto start = std::chrono::steady_clock::now();
    watchdog.reset();
    return seconds_since(start) < 0.1 ? 0 : 2;
  });
  BOOST_TEST(child.exit_code() == 0);
  check_contains(child.said(), {"pgmpi: no progress for ", "starting", "a longer time-out"});
}

BOOST_AUTO_TEST_CASE(progress_keeps_the_watchdog_quiet_and_its_abort_function_gets_70) {
  std::atomic<int> code = 0;
  FlightRecorder recorder(0, 1);
  {
    const Watchdog watchdog(
        recorder,
        {.timeout_s = 0.5, .folder = {}, .grace_s = 0, .peer_slack_s = 5, .abort = [&](int given) {
           code = given;
         }});
    for (int i = 0; i < 75; ++i) {
      recorder.progress();
      pause_ms(20);
    }
    BOOST_TEST(code == 0);
    BOOST_TEST(eventually([&] { return code == kInternal; }));
  }
}

BOOST_AUTO_TEST_CASE(a_text_about_many_ranks_fits_one_write) {
  FlightRecorder recorder(0, 1000);
  recorder.enter_trial(std::string(128, 't'), 1'000'000'000);
  for (int i = 0; i < 100; ++i) recorder.begin(std::string(32, 'o'), 999'999'999, 0, 1000);
  const Snapshot mine = recorder.snapshot();
  std::vector<Peer> peers;
  for (int rank = 1; rank < 1000; ++rank) {
    peers.push_back({mine, Life::running});
    peers.back().snapshot.rank = rank;
    peers.back().snapshot.step = -1;
  }
  peers[500].life = Life::stopped;
  const std::string text = silence_text(mine, 1'000'000'000, peers);
  BOOST_TEST(text.size() < 4096U);
  check_contains(text, {"    rank 501 of 1000", "its process is paused", " more\n",
                        "last collectives of rank 0", "#100 (", "the same command goes on"});
  BOOST_TEST(text.find("rank 501") < text.find("    rank 1 of"));  // the likeliest cause first
  BOOST_TEST(text.back() == '\n');
}
