// What the programs share that time a training step. A header, because each is one file otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "config/study.hpp"
#include "data/synthetic.hpp"
#include "record/trial_record.hpp"
#include "sample.hpp"
#include "train/trainer.hpp"

namespace pg::bench {

/// A trial without a last step or a validation, and how its parameters are shared out.
struct Case {
  config::Settings settings;
  config::ShardSettings shard;
};

/// A model of configs/models by its name, or of a file *.yaml. `others` are "path=value" and win.
/// Throws InvalidInput and IoError.
inline Case case_of(const std::string& model, const std::string& batch,
                    const std::string& sequence_length, const std::vector<std::string>& others) {
  const bool is_file = std::filesystem::path(model).extension() == ".yaml";
  const auto file = is_file ? std::filesystem::path(model)
                            : config::config_folder() / "models" / (model + ".yaml");
  config::LoadOptions load;
  load.overrides = {"train.batch=" + batch, "data.sequence_length=" + sequence_length};
  load.overrides.insert(load.overrides.end(), others.begin(), others.end());
  const config::Study study = config::load_study(file, load);
  config::Settings settings = study.base;
  settings.train.steps = 1'000'000'000;
  settings.eval.interval = settings.train.steps;
  settings.eval.tail_steps = 1;
  return {settings, study.shard};
}

/// What they train on; its content does not matter to a clock.
inline data::Corpus corpus() {
  return data::synthetic_corpus({.symbols = 52, .length = 200'000, .seed = 1}, 0.1);
}

/// Of whole steps, on the wall and of this rank's processor.
struct StepSeconds {
  Sample wall;
  Sample processor;
};

/// Trains until `enough` says so on any rank, after a step at the earliest. A step is counted from
/// the end of the last chunk of the one before, so that the run ends with the last one counted and
/// not a step later. The first such step is not counted either: it still allocates.
inline StepSeconds time_steps(train::Trainer& trainer, record::TrialRecord& record,
                              const std::function<bool(const StepSeconds&)>& enough) {
  using Clock = std::chrono::steady_clock;
  StepSeconds seconds;
  std::int64_t step = 0;
  int n_chunks = 0;  // of this rank, in the first step: the trainer shows itself after each
  int n_seen = 0;    // of the present step
  Clock::time_point start;
  std::clock_t processor_start = 0;
  trainer.run(
      [&](const train::Progress& progress) {
        n_seen = progress.step == step ? n_seen + 1 : 1;
        step = progress.step;
        if (step > 0 && n_seen < n_chunks) return true;
        const auto now = Clock::now();
        const std::clock_t processor_now = std::clock();
        if (step == 0) {
          n_chunks = n_seen;
        } else if (step > 1) {
          seconds.wall.add(std::chrono::duration<double>(now - start).count());
          seconds.processor.add(static_cast<double>(processor_now - processor_start) /
                                CLOCKS_PER_SEC);
        }
        start = now;
        processor_start = processor_now;
        return seconds.wall.values.empty() || !enough(seconds);
      },
      record);
  return seconds;
}

}  // namespace pg::bench
