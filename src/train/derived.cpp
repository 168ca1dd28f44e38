#include "train/derived.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "shard/unit_layout.hpp"
#include "train/batch_gradient.hpp"
#include "train/validation.hpp"

namespace pg::train {

ops::Precision precision_of(const config::Settings& s) {
  if (s.train.precision == "bfloat16") return ops::Precision::bfloat16;
  return s.train.precision == "float16" ? ops::Precision::float16 : ops::Precision::float32;
}

data::Objective objective_of(const config::Settings& s) {
  const config::DataSettings& d = s.data;
  if (d.objective == "prefix") return data::Objective::prefix(d.sequence_length);
  if (d.objective == "span_corruption") {
    return data::Objective::span_corruption(d.sequence_length, d.noise_density, d.noise_span,
                                            s.train.seed);
  }
  return data::Objective::next_token(d.sequence_length);
}

std::int64_t vocabulary_of(const config::Settings& s, std::int64_t corpus_vocabulary) {
  const std::int64_t needed = corpus_vocabulary + objective_of(s).n_extra_tokens();
  if (s.model.vocab_size == 0) return needed;
  if (s.model.vocab_size < needed) {
    throw_settings(fmt::format("model.vocab_size = {}, but the corpus has {} tokens and {} needs "
                               "{} more",
                               s.model.vocab_size, corpus_vocabulary, s.data.objective,
                               needed - corpus_vocabulary),
                   fmt::format("at least {}", needed), "model.vocab_size: 0 takes what is needed");
  }
  return s.model.vocab_size;
}

model::Network network_of(const config::Settings& s, std::int64_t corpus_vocabulary) {
  return {s.model, s.gate, vocabulary_of(s, corpus_vocabulary), s.data.sequence_length};
}

std::int64_t tokens_in(const config::Settings& s) {
  return s.train.steps * s.train.batch * objective_of(s).n_targets();
}

std::int64_t tokens_of_rank(const config::Settings& s, int rank, int team_size) {
  const ChunkRange range = chunks_of_rank(chunks_in_batch(s), rank, team_size);
  const std::int64_t slots = std::min(range.last * s.train.chunk, s.train.batch) -
                             std::min(range.first * s.train.chunk, s.train.batch);
  return s.train.steps * slots * objective_of(s).n_targets();
}

std::int64_t chunks_in_batch(const config::Settings& s) {
  return (s.train.batch + s.train.chunk - 1) / s.train.chunk;
}

std::int64_t validations_in(const config::Settings& s) {
  std::int64_t count = 0;
  for (std::int64_t step = 1; step <= s.train.steps; ++step) count += validate_after(step, s);
  return count;
}

ledger::Job job_of(const config::Settings& s, std::int64_t corpus_vocabulary,
                   const config::ShardSettings& shard, int team) {
  const model::Network network = network_of(s, corpus_vocabulary);
  const data::Objective objective = objective_of(s);
  ledger::Job job;
  job.shape = {s.model,
               s.gate,
               network.parameter_specs(),
               std::min(s.train.chunk, s.train.batch),
               objective.n_targets(),
               objective.n_encoder()};
  for (const std::vector<std::size_t>& members : network.units()) {
    ledger::UnitSize& unit = job.units.emplace_back();
    for (const std::size_t i : members) {
      const model::ParameterSpec& spec = job.shape.specs[i];
      const std::int64_t n = spec.n_elements();
      unit.elements += n;
      if (spec.is_operand) unit.operands += n;
      if (shard::is_large(spec)) {
        unit.large.push_back(n);
        continue;
      }
      unit.packed += n;
      if (spec.is_operand) unit.packed_operands += n;
    }
  }
  job.precision = s.train.precision;
  job.in_tree_order = s.train.reproducible == "strict";
  job.n_chunks = chunks_in_batch(s);
  job.batch = s.train.batch;
  job.steps = s.train.steps;
  job.forward_flops = network.forward_flops(objective.n_targets(), objective.n_encoder());
  job.shard = shard;
  job.team = team;
  return job;
}

double predicted_memory_mb(const config::Settings& s, std::int64_t corpus_vocabulary,
                           const config::ShardSettings& shard, int team, bool saves, bool on_gpu) {
  ledger::Job job = job_of(s, corpus_vocabulary, shard, team);
  job.saves = saves;
  std::int64_t bytes = ledger::total_bytes(ledger::memory_of(job, on_gpu), on_gpu);
  if (on_gpu) bytes -= ledger::process_bytes(on_gpu);
  return static_cast<double>(bytes) / 1e6;
}

std::int64_t count_parameters(const config::Settings& s, std::int64_t vocabulary) {
  const model::Network network = network_of(s, vocabulary);
  std::int64_t total = 0;
  for (const auto& spec : network.parameter_specs()) total += spec.n_elements();
  return total;
}

model::PassOptions options_at(const config::Settings& s, const model::AlphaPolicy& policy,
                              std::int64_t step) {
  model::PassOptions options;
  options.alphas = policy.at(step);
  options.precision = precision_of(s);
  return options;
}

}  // namespace pg::train
