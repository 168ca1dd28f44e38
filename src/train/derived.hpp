#pragma once

#include <cstdint>

#include "config/settings.hpp"
#include "data/objective.hpp"
#include "ledger/ledger.hpp"
#include "model/alpha_policy.hpp"
#include "model/network.hpp"

// What follows from a trial's settings alone, and from the size of its corpus's alphabet.

namespace pg::train {

/// What train.precision names.
ops::Precision precision_of(const config::Settings& settings);

/// What the trial's model is to predict.
data::Objective objective_of(const config::Settings& settings);

/// Rows of the embedding over a corpus of `corpus_vocabulary` tokens. Throws InvalidInput
/// (settings) where model.vocab_size is too small.
std::int64_t vocabulary_of(const config::Settings& settings, std::int64_t corpus_vocabulary);

/// How a network of these settings runs at step t (from 0): alphas and precision, no dropout.
model::PassOptions options_at(const config::Settings& settings, const model::AlphaPolicy& policy,
                              std::int64_t t);

/// The network that the settings describe over such a corpus; without parameters.
model::Network network_of(const config::Settings& settings, std::int64_t corpus_vocabulary);

/// Targets that a trial trains on: steps * batch * targets of a sequence.
std::int64_t tokens_in(const config::Settings& settings);

/// Of these, what one rank of a team trains on.
std::int64_t tokens_of_rank(const config::Settings& settings, int rank, int team_size);

/// Chunks of a batch.
std::int64_t chunks_in_batch(const config::Settings& settings);

/// Validations of a trial.
std::int64_t validations_in(const config::Settings& settings);

/// The trial on a team of `team` ranks, as the ledger of memory and time sees it.
ledger::Job job_of(const config::Settings& settings, std::int64_t corpus_vocabulary,
                   const config::ShardSettings& shard, int team);

/// What peak_memory_mb() will say of a rank of that team, as the ledger predicts it, in MB (1e6
/// bytes). On a GPU that is without the process's own.
double predicted_memory_mb(const config::Settings& settings, std::int64_t corpus_vocabulary,
                           const config::ShardSettings& shard, int team, bool saves, bool on_gpu);

/// Parameters of the model that the settings describe, without making it.
std::int64_t count_parameters(const config::Settings& settings, std::int64_t vocabulary);

}  // namespace pg::train
