#include "study/workload.hpp"

#include "config/study.hpp"
#include "data/sampler.hpp"
#include "train/trainer.hpp"

namespace pg::study {
namespace {

/// Trials of one shape run the same kernels on the same sizes, chunk by chunk.
std::string shape_of(const config::Settings& settings) {
  config::Settings shape = settings;
  shape.optimizer = {};
  shape.schedule = {};
  shape.eval = {};
  shape.train = {};
  shape.train.chunk = settings.train.chunk;
  shape.train.precision = settings.train.precision;
  shape.measure = {};
  return config::print_settings(shape);
}

}  // namespace

double forward_flops_per_token(const config::Settings& s, std::int64_t vocabulary) {
  const data::Objective objective = train::objective_of(s);
  return train::network_of(s, vocabulary)
             .forward_flops(objective.n_targets(), objective.n_encoder()) /
         static_cast<double>(objective.n_targets());
}

scheduler::Work work_of(const config::Settings& s, const data::Corpus& corpus) {
  scheduler::Work work;
  work.steps = s.train.steps;
  work.n_chunks = train::chunks_in_batch(s);
  if (data::is_long_enough(corpus, s.data.sequence_length)) {  // else the trial fails at its start
    const auto n_windows = static_cast<std::int64_t>(
        data::validation_positions(static_cast<std::int64_t>(corpus.validation.size()),
                                   s.data.sequence_length, s.eval.sequences)
            .size());
    work.eval_chunks = train::validations_in(s) * ((n_windows + s.train.chunk - 1) / s.train.chunk);
  }
  work.chunk_flops = 3 * forward_flops_per_token(s, corpus.vocabulary()) *
                     static_cast<double>(s.train.chunk * train::objective_of(s).n_targets());
  work.shape = shape_of(s);
  work.gradient_bytes =
      train::count_parameters(s, corpus.vocabulary()) * static_cast<std::int64_t>(sizeof(float));
  return work;
}

}  // namespace pg::study
