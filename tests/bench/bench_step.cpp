// Seconds of a training step of a model of configs/models, on as many ranks as it is started with:
// [mpirun -n RANKS] bench_step MODEL BATCH SEQUENCE_LENGTH CHUNK STEPS PRECISION
// The trainer as it runs in a study, without validations; random tokens.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "comm/session.hpp"
#include "config/study.hpp"
#include "data/synthetic.hpp"
#include "train/large_blocks.hpp"
#include "train/peak_memory.hpp"
#include "train/trainer.hpp"

namespace {

struct Quantiles {
  std::vector<double> values;
  [[nodiscard]] double at(double quantile) {
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(quantile * static_cast<double>(values.size() - 1))];
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    fmt::print(stderr,
               "usage: bench_step MODEL BATCH SEQUENCE_LENGTH CHUNK STEPS float32|bfloat16\n");
    return 64;
  }
  using Clock = std::chrono::steady_clock;
  pg::comm::Session session;
  pg::config::Settings settings =
      pg::config::load_study(
          pg::config::config_folder() / "models" / (std::string(argv[1]) + ".yaml"), {})
          .base;
  settings.train.batch = std::stoll(argv[2]);
  settings.data.sequence_length = std::stoll(argv[3]);
  settings.train.chunk = std::stoll(argv[4]);
  const int steps = std::stoi(argv[5]);
  settings.train.precision = argv[6];
  settings.model.dropout = 0;
  settings.train.steps = 1'000'000'000;
  settings.eval.interval = settings.train.steps;
  settings.eval.tail_steps = 1;
  const auto corpus =
      pg::data::synthetic_corpus({.symbols = 52, .length = 200'000, .seed = 1}, 0.1);
  pg::train::use_one_thread();
  pg::train::keep_large_blocks();
  pg::train::Trainer trainer(settings, corpus, session.world());
  pg::record::TrialRecord record;
  Quantiles wall;
  Quantiles processor;
  std::int64_t seen = -1;
  Clock::time_point start;
  std::clock_t processor_start = 0;
  trainer.run(
      [&](const pg::train::Progress& progress) {
        if (progress.step == seen) return true;
        const auto now = Clock::now();
        const std::clock_t processor_now = std::clock();
        if (seen > 0) {  // the first step allocates
          wall.values.push_back(std::chrono::duration<double>(now - start).count());
          processor.values.push_back(static_cast<double>(processor_now - processor_start) /
                                     CLOCKS_PER_SEC);
        }
        seen = progress.step;
        start = now;
        processor_start = processor_now;
        return static_cast<int>(wall.values.size()) < steps;
      },
      record);
  if (session.world().rank() == 0) {
    fmt::print(
        "{} {}: step {:.3f} s [{:.3f} {:.3f}], of processor {:.3f} [{:.3f} {:.3f}], peak "
        "{:.0f} MB\n",
        argv[1], argv[6], wall.at(0.5), wall.at(0), wall.at(1), processor.at(0.5), processor.at(0),
        processor.at(1), pg::train::peak_memory_mb());
  }
  return 0;
}
