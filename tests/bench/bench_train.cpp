// Tokens per second of pgmpi's training step on one thread: bench_train BATCH SEQUENCE_LENGTH
// SECONDS [CHUNK [strict|fast]]. The trainer as it runs in a study, without validations.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "data/synthetic.hpp"
#include "train/large_blocks.hpp"
#include "train/trainer.hpp"

int main(int argc, char** argv) {
  if (argc < 4 || argc > 6) {
    fmt::print(stderr, "usage: bench_train BATCH SEQUENCE_LENGTH SECONDS [CHUNK [strict|fast]]\n");
    return 64;
  }
  using Clock = std::chrono::steady_clock;
  const double seconds = std::stod(argv[3]);
  pg::config::Settings settings;
  settings.train.batch = std::stoll(argv[1]);
  settings.data.sequence_length = std::stoll(argv[2]);
  if (argc > 4) settings.train.chunk = std::stoll(argv[4]);
  if (argc > 5) settings.train.reproducible = argv[5];
  settings.train.steps = 1'000'000'000;
  settings.eval.interval = settings.train.steps;
  settings.eval.tail_steps = 1;
  const auto corpus =
      pg::data::synthetic_corpus({.symbols = 52, .length = 200'000, .seed = 1}, 0.1);
  pg::train::use_one_thread();
  pg::train::keep_large_blocks();
  const auto alone = pg::comm::Communicator::alone();
  pg::train::Trainer trainer(settings, corpus, alone);
  pg::record::TrialRecord record;
  Clock::time_point start;
  std::int64_t tokens_at_start = -1;
  double rate = 0;
  trainer.run(
      [&](const pg::train::Progress& progress) {
        if (progress.step == 0) return true;  // warm-up: the first step allocates
        const auto now = Clock::now();
        if (tokens_at_start < 0) {
          start = now;
          tokens_at_start = progress.tokens;
        }
        const double elapsed = std::chrono::duration<double>(now - start).count();
        if (elapsed < seconds) return true;
        rate = static_cast<double>(progress.tokens - tokens_at_start) / elapsed;
        return false;
      },
      record);
  fmt::print("{:.0f}\n", rate);
}
