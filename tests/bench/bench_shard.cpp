// Seconds of a training step with the parameters replicated, shared out, and shared out without
// gathering ahead, interleaved, and what the process took at its peak:
//   mpirun -n 2 bench_shard MODEL.yaml BATCH SEQUENCE_LENGTH ROUNDS STEPS [MODES [SETTING=VALUE …]]
// MODES: some of r (replicated), s (shared out), n (no gathering ahead), a (gathered once a step),
// in one word; the peak says something of a single one.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "comm/session.hpp"
#include "config/study.hpp"
#include "data/synthetic.hpp"
#include "train/large_blocks.hpp"
#include "train/peak_memory.hpp"
#include "train/trainer.hpp"

namespace {

using Clock = std::chrono::steady_clock;

const std::map<char, pg::config::ShardSettings> kModes = {
    {'r', {.degree = 1}},
    {'s', {.degree = 0}},
    {'n', {.degree = 0, .prefetch = 0}},
    {'a', {.degree = 0, .reshard_after_forward = false}}};
const std::map<char, const char*> kNames = {{'r', "replicated"},
                                            {'s', "shared out"},
                                            {'n', "shared out, no gathering ahead"},
                                            {'a', "shared out, gathered once a step"}};

/// Seconds of every step but the first two, which allocate.
std::vector<double> step_seconds(const pg::config::Settings& settings,
                                 const pg::data::Corpus& corpus, const pg::comm::Communicator& team,
                                 const pg::config::ShardSettings& shard, std::int64_t steps) {
  pg::train::Trainer trainer(settings, corpus, team, {.shard = shard});
  pg::record::TrialRecord record;
  std::vector<double> seconds;
  std::int64_t last_step = -1;
  Clock::time_point last;
  trainer.run(
      [&](const pg::train::Progress& progress) {
        if (progress.step == last_step) return true;
        const auto now = Clock::now();
        if (progress.step >= 2) {
          seconds.push_back(std::chrono::duration<double>(now - last).count());
        }
        last = now;
        last_step = progress.step;
        return progress.step < steps + 1;
      },
      record);
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    fmt::print(stderr,
               "usage: bench_shard MODEL.yaml BATCH SEQUENCE_LENGTH ROUNDS STEPS [MODES "
               "[SETTING=VALUE ...]]\n");
    return 64;
  }
  pg::comm::Session session;
  const auto& world = session.world();
  pg::config::LoadOptions load;
  load.overrides = {std::string("train.batch=") + argv[2],
                    std::string("data.sequence_length=") + argv[3]};
  for (int i = 7; i < argc; ++i) load.overrides.emplace_back(argv[i]);
  try {
    pg::config::Settings settings = pg::config::load_study(argv[1], load).base;
    const std::int64_t rounds = std::stoll(argv[4]);
    const std::int64_t steps = std::stoll(argv[5]);
    const std::string modes = argc > 6 ? argv[6] : "rsn";
    settings.train.steps = 1'000'000;
    settings.eval.interval = settings.train.steps;
    settings.eval.tail_steps = 1;
    const auto corpus =
        pg::data::synthetic_corpus({.symbols = 52, .length = 200'000, .seed = 1}, 0.1);
    pg::train::use_one_thread();
    pg::train::keep_large_blocks();
    std::map<char, std::vector<double>> seconds;
    for (std::int64_t round = 0; round < rounds; ++round) {
      for (const char mode : modes) {
        const auto some = step_seconds(settings, corpus, world, kModes.at(mode), steps);
        seconds[mode].insert(seconds[mode].end(), some.begin(), some.end());
      }
    }
    const auto peaks = world.all_gather(fmt::format("{:.0f}", pg::train::peak_memory_mb()));
    if (world.rank() != 0) return 0;
    fmt::print("{} ranks, seconds of a step: median [min-max]\n", world.size());
    double first = 0;
    for (const char mode : modes) {
      auto& all = seconds[mode];
      std::sort(all.begin(), all.end());
      const double median = all[all.size() / 2];
      if (first == 0) first = median;
      fmt::print("  {:<34} {:>8.3f} [{:.3f}-{:.3f}]  {:.3f} of the first\n", kNames.at(mode),
                 median, all.front(), all.back(), median / first);
    }
    fmt::print("  peak MB by rank: {}\n", fmt::join(peaks, " "));
  } catch (const pg::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    pg::comm::Session::abort(64);
  }
  return 0;
}
