#define BOOST_TEST_MODULE flight_recorder
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <random>
#include <thread>

#include "comm/failure_text.hpp"
#include "comm/flight_layout.hpp"
#include "comm/flight_recorder.hpp"
#include "comm/lost_ranks.hpp"
#include "comm/processes.hpp"
#include "support/support.hpp"

namespace {

using namespace pg::comm;
using namespace pg::testing;

FlightRecorder& in_a_trial(FlightRecorder& recorder) {
  recorder.enter_trial("b0064_lr0.001_s42", 5000);
  recorder.step(17);
  return recorder;
}

std::string text_of(const Snapshot& snapshot) {
  return describe(snapshot);
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_ring_keeps_the_last_sixteen_newest_first) {
  FlightRecorder recorder(0, 4);
  BOOST_TEST(recorder.snapshot().n_ring == 0U);
  for (int i = 1; i <= 3; ++i) {
    recorder.begin("early", i, 0, 4);
    recorder.end();
  }
  BOOST_TEST(recorder.snapshot().n_ring == 3U);
  for (int i = 4; i <= 40; ++i) {
    recorder.begin("operation " + std::to_string(i), 100 * i, i % 3, 2);
    if (i != 40) recorder.end();
  }
  const Snapshot snapshot = recorder.snapshot();
  BOOST_TEST_REQUIRE(snapshot.n_ring == 16U);
  for (std::size_t i = 0; i < 16; ++i) {
    const Collective& collective = snapshot.ring[i];
    const std::uint64_t sequence = 40 - i;
    BOOST_TEST(collective.sequence == sequence);
    BOOST_TEST(collective.operation.view() == "operation " + std::to_string(sequence));
    BOOST_TEST(collective.bytes == static_cast<std::int64_t>(100 * sequence));
    BOOST_TEST(collective.first_rank == static_cast<int>(sequence % 3));
    BOOST_TEST((collective.end_ns == 0) == (sequence == 40));
    BOOST_TEST(collective.start_ns > 0);
  }
  BOOST_TEST(snapshot.inside() == &snapshot.ring[0]);
  BOOST_TEST(count_of(describe_ring(snapshot), "\n") == 16);
  BOOST_TEST(count_of(describe_ring(snapshot), "not ended") == 1);
}

BOOST_AUTO_TEST_CASE(the_line_names_rank_host_trial_step_and_collective) {
  FlightRecorder recorder(3, 8);
  in_a_trial(recorder).begin("all_reduce_tree", 543'210, 2, 2);
  recorder.waits_for(2);
  Snapshot snapshot = recorder.snapshot();
  snapshot.host = FixedText<64>().add("node7");
  snapshot.pid = 4711;
  snapshot.taken_ns = snapshot.ring[0].start_ns + 31'290'000'000;
  BOOST_TEST(text_of(snapshot) ==
             "rank 3 of 8 on node7 (pid 4711): trial b0064_lr0.001_s42, step 17 of 5000, in "
             "all_reduce_tree #1 (543.2 kB, team 2-3, waiting for rank 2) for 31.2 s");
  recorder.end();
  snapshot = recorder.snapshot();
  snapshot.taken_ns = snapshot.last_progress_ns + 250'000'000;
  check_contains(text_of(snapshot), {"step 17 of 5000, computing, no progress for 250.0 ms; last "
                                     "collective: all_reduce_tree #1"});
  recorder.state(RankState::saving);
  check_contains(text_of(recorder.snapshot()), {"5000, saving, no progress"});
  recorder.leave_trial();
  check_contains(text_of(recorder.snapshot()), {"no trial, waiting for work"});
  recorder.ended();
  check_contains(text_of(recorder.snapshot()), {"no trial, ended"});
  check_contains(text_of(FlightRecorder(0, 1).snapshot()), {host_name(), "no trial, starting"});
}

BOOST_AUTO_TEST_CASE(texts_that_are_too_long_are_cut) {
  const std::string text(1000, 'x');
  FlightRecorder recorder(0, 1);
  recorder.enter_trial(text, 1);
  recorder.begin(text, 1, 0, 1);
  const Snapshot snapshot = recorder.snapshot();
  BOOST_TEST(snapshot.trial.view() == text.substr(0, 128));
  BOOST_TEST(snapshot.ring[0].operation.view() == text.substr(0, 32));
  BOOST_TEST(snapshot.steps == 1);
}

BOOST_AUTO_TEST_CASE(a_collective_left_by_an_exception_is_still_named) {
  FlightRecorder recorder(0, 2);
  { const CollectiveScope scope(recorder, "broadcast", 8, 0, 2); }
  BOOST_TEST(recorder.snapshot().inside() == nullptr);
  try {
    const CollectiveScope scope(recorder, "all_gather", 8, 0, 2);
    throw std::runtime_error("MPI_Allgather failed");
  } catch (const std::exception&) {
    check_contains(text_of(recorder.snapshot()), {"in all_gather #2 (8 B, team 0-1)"});
  }
  { const CollectiveScope scope(recorder, "broadcast", 8, 0, 2); }
  BOOST_TEST(recorder.snapshot().inside() == nullptr);
}

BOOST_AUTO_TEST_CASE(a_reader_never_sees_half_of_a_change) {
  FlightRecorder recorder(0, 1);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (std::int64_t i = 1; !stop; ++i) {
      recorder.begin("operation " + std::to_string(i), i, static_cast<int>(i % 1000), 1);
      recorder.end();
    }
  });
  BOOST_TEST(eventually([&] { return recorder.snapshot().n_ring > 0; }));
  int wrong = 0;
  int without_newest = 0;
  constexpr std::size_t kReads = 20'000;
  std::size_t entries = 0;
  for (std::size_t i = 0; i < kReads; ++i) {
    const Snapshot snapshot = recorder.snapshot();
    entries += snapshot.n_ring;
    if (snapshot.n_ring == 0) ++without_newest;
    for (std::size_t k = 0; k < snapshot.n_ring; ++k) {
      const Collective& c = snapshot.ring[k];
      if (c.bytes != static_cast<std::int64_t>(c.sequence) || c.first_rank != c.bytes % 1000 ||
          c.operation.view() != "operation " + std::to_string(c.bytes)) {
        ++wrong;
      }
    }
  }
  stop = true;
  writer.join();
  BOOST_TEST(wrong == 0);
  BOOST_TEST(without_newest == 0);
  std::cout << "entries in a snapshot while another thread writes without a pause: "
            << static_cast<double>(entries) / kReads << " of 16" << std::endl;
}

BOOST_AUTO_TEST_CASE(another_process_is_read_alive_and_after_sigkill) {
  const ScratchFolder folder;
  const auto file = folder / recorder_file_name(1);
  Child child(folder / "stderr", [&] {
    FlightRecorder recorder(1, 2);
    recorder.enter_trial("before attaching", 3);
    recorder.attach(file, "launch 1");
    in_a_trial(recorder).begin("all_gather", 10, 0, 2);
    for (;;) ::pause();
    return 0;
  });
  const auto arrived = [&] {
    const auto snapshot = read_snapshot(file);
    return snapshot && snapshot->inside() != nullptr;
  };
  BOOST_TEST_REQUIRE(eventually(arrived));
  const auto check = [&] {
    const auto snapshot = read_snapshot(file);
    BOOST_TEST_REQUIRE(snapshot.has_value());
    BOOST_TEST(snapshot->pid == child.pid());
    BOOST_TEST(snapshot->launch.view() == "launch 1");
    check_contains(text_of(*snapshot),
                   {"rank 1 of 2 on " + host_name(), "trial b0064_lr0.001_s42, step 17 of 5000",
                    "in all_gather #1 (10 B, team 0-1) for "});
    BOOST_TEST(snapshot->silent_ns() >= 0);
    BOOST_TEST(snapshot->silent_ns() < 20'000'000'000);
    return life(*snapshot);
  };
  BOOST_TEST((check() == Life::running));
  child.send(SIGSTOP);
  BOOST_TEST(eventually([&] { return check() == Life::stopped; }));
  child.send(SIGKILL);
  BOOST_TEST(eventually([&] { return check() == Life::dead; }));  // a zombie: not waited for yet
  BOOST_TEST(child.exit_code() == -1000 - SIGKILL);
  BOOST_TEST((check() == Life::dead));
}

BOOST_AUTO_TEST_CASE(a_process_killed_inside_a_change_is_still_read) {
  const ScratchFolder folder;
  FlightRecorder recorder(0, 1);
  recorder.attach(folder / "a.flight", "launch");
  in_a_trial(recorder);
  std::string bytes = pg::read_file(folder / "a.flight");
  bytes[8 * layout::kGeneration] ^= 1;
  pg::write_in_place(folder / "b.flight", bytes);
  const auto snapshot = read_snapshot(folder / "b.flight");
  BOOST_TEST_REQUIRE(snapshot.has_value());
  BOOST_TEST(snapshot->step == 17);
  // The same inside of begin(): the entry that it overwrites is lost, no other one.
  for (int i = 0; i < 20; ++i) recorder.begin("broadcast", i, 0, 1);
  bytes = pg::read_file(folder / "a.flight");
  bytes[8 * (layout::entry_of(21) + layout::kSequence)] = 0;
  pg::write_in_place(folder / "b.flight", bytes);
  BOOST_TEST(read_snapshot(folder / "b.flight")->n_ring == 15U);
  BOOST_TEST(read_snapshot(folder / "b.flight")->ring[0].sequence == 20U);
}

BOOST_AUTO_TEST_CASE(torn_foreign_empty_and_short_files_are_ignored) {
  const ScratchFolder folder;
  FlightRecorder recorder(2, 5);
  recorder.attach(folder / "good", "launch");
  in_a_trial(recorder).begin("broadcast", 1, 0, 5);
  const std::string good = pg::read_file(folder / "good");
  BOOST_TEST(good.size() == layout::kBytes);
  const auto file = folder / "bad.flight";
  const auto read = [&](const std::string& bytes) {
    std::filesystem::remove(file);  // truncating is slow on some file systems
    pg::write_in_place(file, bytes);
    return read_snapshot(file);
  };
  BOOST_TEST(read(good).has_value());
  BOOST_TEST(!read_snapshot(folder / "absent").has_value());
  BOOST_TEST(!read_snapshot(folder.path()).has_value());
  for (std::size_t size = 0; size < good.size(); size += 7) {
    BOOST_TEST_REQUIRE(!read(good.substr(0, size)).has_value());
  }
  BOOST_TEST(!read(std::string(layout::kBytes, '\0')).has_value());
  BOOST_TEST(!read(std::string(layout::kBytes, '\xff')).has_value());
  std::string other_version = good;
  other_version[8 * layout::kVersion] = 99;
  BOOST_TEST(!read(other_version).has_value());
  for (std::size_t i = 8 * layout::kRank; i < 8 * layout::kIdentityEnd; ++i) {
    std::string damaged = good;
    damaged[i] ^= 0x40;
    BOOST_TEST_REQUIRE(!read(damaged).has_value());
  }
  // Behind the identity anything may stand; what is shown of it stays printable and in bounds.
  std::mt19937 random(1);
  for (int round = 0; round < 100; ++round) {
    std::string damaged = good;
    for (int i = 0; i < 200; ++i) {
      const auto at =
          8 * layout::kIdentityEnd + random() % (good.size() - 8 * layout::kIdentityEnd);
      damaged[at] = static_cast<char>(random());
    }
    const auto snapshot = read(damaged);
    if (!snapshot) continue;
    for (const char c : describe(*snapshot) + describe_ring(*snapshot)) {
      BOOST_TEST_REQUIRE((c == '\n' || (c >= ' ' && c <= '~')));
    }
  }
  BOOST_TEST(read_snapshots(folder / "absent").empty());
  BOOST_TEST(lost_ranks(folder.path()).empty());
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_written_is_an_error_and_the_recorder_goes_on) {
  const ScratchFolder folder;
  pg::write_in_place(folder / "file", "");
  FlightRecorder recorder(0, 1);
  check_error([&] { recorder.attach(folder / "file" / "a.flight", "launch"); },
              pg::ExitCode::input_output, {"file"});
  {
    const FullDisk disk(100);
    check_error([&] { recorder.attach(folder / "a.flight", "launch"); }, pg::ExitCode::input_output,
                {"a.flight"});
  }
  recorder.begin("broadcast", 1, 0, 1);
  BOOST_TEST(recorder.snapshot().n_ring == 1U);
  recorder.attach(folder / "a.flight", "launch");
  BOOST_TEST(read_snapshot(folder / "a.flight")->n_ring == 1U);
}

BOOST_AUTO_TEST_CASE(only_the_lost_ranks_of_the_last_launch_are_listed) {
  const ScratchFolder folder;
  const auto rank = [&](int number, const std::string& launch, bool end, Said said) {
    Child child(folder / "stderr", [&] {
      FlightRecorder recorder(number, 4);
      recorder.attach(folder / recorder_file_name(number), launch);
      in_a_trial(recorder).begin("all_reduce_tree", 2'000'000, 0, 4);
      if (said != Said::nothing) recorder.said(said);
      if (end) recorder.ended();
      ::raise(SIGKILL);
      return 0;
    });
    BOOST_TEST(child.exit_code() == -1000 - SIGKILL);
  };
  rank(3, "launch 1", false, Said::nothing);
  pause_ms(5);
  rank(0, "launch 2", true, Said::nothing);
  rank(1, "launch 2", false, Said::nothing);
  FlightRecorder alive(2, 4);
  alive.attach(folder / recorder_file_name(2), "launch 2");
  auto lost = lost_ranks(folder.path());
  BOOST_TEST_REQUIRE(lost.size() == 1U);
  BOOST_TEST(lost[0].rank == 1);
  BOOST_TEST(lost_text(lost) ==
             "the last launch ended without a word on rank 1 (" + host_name() +
                 "): it was in trial b0064_lr0.001_s42, step 17 of 5000, in all_reduce_tree #1 "
                 "(2.0 MB, team 0-3)\n");
  // Once one has told of its failure, those who left because of it are not the news.
  rank(3, "launch 2", false, Said::failure);
  rank(0, "launch 2", false, Said::followed);
  lost = lost_ranks(folder.path());
  BOOST_TEST(lost.size() == 3U);
  check_contains(lost_text(lost), {"ended with a failure of rank 3 ("});
  BOOST_TEST(count_of(lost_text(lost), "\n") == 1);
  BOOST_TEST(lost_text({}).empty());
}

namespace {

/// The words of a recorder file, to forge them.
struct Forged {
  explicit Forged(const std::filesystem::path& of) : file(of) {
    const std::string bytes = pg::read_file(file);
    std::memcpy(words.data(), bytes.data(), layout::kBytes);
  }
  void write() {
    words[layout::kIdentityHash] = layout::identity_hash(words);
    pg::write_in_place(file,
                       {reinterpret_cast<const char*>(words.data()), layout::kBytes});  // same size
  }
  std::filesystem::path file;
  std::array<std::uint64_t, layout::kWords> words{};
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_reused_process_number_is_a_dead_process) {
  const ScratchFolder folder;
  const auto file = folder / recorder_file_name(0);
  FlightRecorder recorder(0, 1);
  recorder.attach(file, "launch");
  BOOST_TEST((life(*read_snapshot(file)) == Life::running));
  Forged forged(file);
  forged.words[layout::kProcessStart] -= 1;
  forged.write();
  BOOST_TEST((life(*read_snapshot(file)) == Life::dead));
  BOOST_TEST(lost_ranks(folder.path()).size() == 1U);
  // The machine was booted since: all its processes are gone, and only wall clocks compare.
  forged.words[layout::kProcessStart] += 1;
  forged.words[layout::kBoot] += 1;
  forged.write();
  BOOST_TEST((life(*read_snapshot(file)) == Life::dead));
  BOOST_TEST(std::abs(read_snapshot(file)->silent_ns()) < 20'000'000'000);
  // Of another machine nobody here knows.
  forged.words[layout::kHost] += 1;
  forged.write();
  BOOST_TEST((life(*read_snapshot(file)) == Life::unknown));
  BOOST_TEST(lost_ranks(folder.path()).empty());
  BOOST_TEST(lost_ranks(folder.path(), Elsewhere::count).size() == 1U);
}

BOOST_AUTO_TEST_CASE(begin_and_end_cost_little) {
  const auto measure = [](const char* what, FlightRecorder& recorder) {
    constexpr int kCalls = 200'000;
    double best[3] = {1e9, 1e9, 1e9};
    for (int repeat = 0; repeat < 7; ++repeat) {
      std::int64_t in_begin = 0;
      const std::int64_t start = monotonic_ns();
      for (int i = 0; i < kCalls; ++i) recorder.progress();
      const std::int64_t ticked = monotonic_ns();
      for (int i = 0; i < kCalls; ++i) recorder.begin("all_reduce_tree", i, 0, 4);
      in_begin = monotonic_ns() - ticked;
      const std::int64_t begun = monotonic_ns();
      for (int i = 0; i < kCalls; ++i) recorder.end();
      const double costs[] = {double(ticked - start), static_cast<double>(in_begin),
                              static_cast<double>(monotonic_ns() - begun)};
      for (int k = 0; k < 3; ++k) best[k] = std::min(best[k], costs[k] / kCalls);
    }
    std::cout << what << ": progress " << best[0] << " ns, begin " << best[1] << " ns, end "
              << best[2] << " ns (best of 7)" << std::endl;
#if defined(__OPTIMIZE__)
    for (const double cost : best) BOOST_TEST(cost < 200);
#endif
  };
  const ScratchFolder folder;
  FlightRecorder recorder(0, 4);
  measure("in private memory", recorder);
  recorder.attach(folder / "a.flight", "launch");
  measure("in a mapped file", recorder);
}
