// Seconds of a training step with the parameters replicated, shared out, and shared out without
// gathering ahead, interleaved, and what the process took at its peak:
//   mpirun -n 2 bench_shard MODEL BATCH SEQUENCE_LENGTH ROUNDS STEPS [MODES [SETTING=VALUE …]]
// MODES: some of r (replicated), s (shared out), n (no gathering ahead), a (gathered once a step),
// in one word; the peak says something of a single one.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/session.hpp"
#include "common.hpp"
#include "train/large_blocks.hpp"
#include "train/peak_memory.hpp"

namespace {

const std::map<char, pg::config::ShardSettings> kModes = {
    {'r', {.degree = 1}},
    {'s', {.degree = 0}},
    {'n', {.degree = 0, .prefetch = 0}},
    {'a', {.degree = 0, .reshard_after_forward = false}}};
const std::map<char, const char*> kNames = {{'r', "replicated"},
                                            {'s', "shared out"},
                                            {'n', "shared out, no gathering ahead"},
                                            {'a', "shared out, gathered once a step"}};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    fmt::print(stderr,
               "usage: bench_shard MODEL BATCH SEQUENCE_LENGTH ROUNDS STEPS [MODES "
               "[SETTING=VALUE ...]]\n");
    return 64;
  }
  pg::comm::Session session;
  const auto& world = session.world();
  try {
    const std::vector<std::string> others(argv + std::min(7, argc), argv + argc);
    for (const std::string& word : others) {
      if (!word.starts_with("shard.")) continue;
      pg::throw_settings(word, "MODES, which are such settings", "bench_train, which takes them");
    }
    const auto settings = pg::bench::case_of(argv[1], argv[2], argv[3], others).settings;
    const auto rounds = pg::parse_integer(argv[4]);
    const auto least_steps = pg::parse_integer(argv[5]);
    if (!rounds || !least_steps || *rounds < 1 || *least_steps < 1) {
      pg::throw_settings(fmt::format("ROUNDS STEPS = {} {}", argv[4], argv[5]),
                         "two whole numbers from 1 on", "3 2");
    }
    const auto steps = static_cast<std::size_t>(*least_steps);
    const std::string modes = argc > 6 ? argv[6] : "rsn";
    if (!std::all_of(modes.begin(), modes.end(), [](char mode) { return kModes.contains(mode); })) {
      pg::throw_settings("MODES = " + modes, "letters of r, s, n and a", "rs");
    }
    const auto corpus = pg::bench::corpus();
    pg::train::use_one_thread();
    pg::train::keep_large_blocks();
    std::map<char, pg::bench::Sample> seconds;
    for (std::int64_t round = 0; round < *rounds; ++round) {
      for (const char mode : modes) {
        pg::train::Trainer trainer(settings, corpus, world, {.shard = kModes.at(mode)});
        pg::record::TrialRecord record;
        const auto some = pg::bench::time_steps(trainer, record, [&](const auto& so_far) {
          return so_far.wall.values.size() >= steps;
        });
        for (const double step : some.wall.values) seconds[mode].add(step);
      }
    }
    const auto peaks = world.all_gather(fmt::format("{:.0f}", pg::train::peak_memory_mb()));
    if (world.rank() != 0) return 0;
    fmt::print("{} ranks, seconds of a step: median [min-max]\n", world.size());
    double first = 0;
    for (const char mode : modes) {
      const pg::bench::Sample& all = seconds[mode];
      const double median = all.at(0.5);
      if (first == 0) first = median;
      fmt::print("  {:<34} {:>8.3f} [{:.3f}-{:.3f}]  {:.3f} of the first\n", kNames.at(mode),
                 median, all.at(0), all.at(1), median / first);
    }
    fmt::print("  peak MB by rank: {}\n", fmt::join(peaks, " "));
  } catch (const pg::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    pg::comm::Session::abort(64);
  }
  return 0;
}
