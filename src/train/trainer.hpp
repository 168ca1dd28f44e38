#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "config/settings.hpp"
#include "data/corpus.hpp"
#include "record/trial_record.hpp"

namespace pg::train {

/// What the caller learns while a trial runs, after each chunk of sequences.
struct Progress {
  std::int64_t step;    ///< steps done
  std::int64_t steps;   ///< steps in all
  std::int64_t tokens;  ///< targets trained on
};

/// Called often and cheap to refuse work in; returns false to stop the trial.
using Observer = std::function<bool(const Progress&)>;

/// One trial on this rank.
class Trainer {
 public:
  /// The corpus must outlive the trainer. Throws InvalidInput (data) when the corpus is shorter
  /// than a sequence.
  Trainer(const config::Settings& settings, const data::Corpus& corpus);

  /// Trains from the first step to the last. The record lacks what only the caller knows (id,
  /// stage, varied, launch). A non-finite loss or gradient ends the trial as `diverged`. Returns
  /// false if the observer stopped it: the record is then to be thrown away.
  bool run(const Observer& observer, record::TrialRecord& record);

 private:
  config::Settings settings_;
  const data::Corpus& corpus_;
};

/// Targets that a trial trains on: steps * batch * sequence_length.
std::int64_t tokens_in(const config::Settings& settings);

/// Sets the libraries to one thread a rank, which all results here assume. Once per process.
void use_one_thread();

/// Parameters of the model that the settings describe, without making it.
std::int64_t count_parameters(const config::Settings& settings, std::int64_t vocabulary);

}  // namespace pg::train
