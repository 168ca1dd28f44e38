#include "train/validation.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <span>

#include "base/exact_sum.hpp"
#include "data/sampler.hpp"
#include "train/stopwatch.hpp"

namespace pg::train {

bool validate_after(std::int64_t step, const config::Settings& s) {
  const std::int64_t left = s.train.steps - step;
  return left < s.eval.tail_steps ? left % s.eval.tail_interval == 0 : step % s.eval.interval == 0;
}

Validation::Validation(const config::Settings& settings, const data::Objective& objective,
                       const data::Corpus& corpus, const comm::Communicator& team,
                       at::Device device)
    : team_(team),
      reader_(corpus.validation, corpus.vocabulary(), objective, data::Objective::Split::validation,
              settings.data.sequence_length, device),
      positions_(data::validation_positions(static_cast<std::int64_t>(corpus.validation.size()),
                                            settings.data.sequence_length,
                                            settings.eval.sequences)),
      chunk_(settings.train.chunk),
      n_targets_(objective.n_targets()) {}

std::int64_t Validation::n_chunks() const {
  return (static_cast<std::int64_t>(positions_.size()) + chunk_ - 1) / chunk_;
}

model::Example Validation::first_chunk() const {
  const auto n = std::min<std::size_t>(positions_.size(), static_cast<std::size_t>(chunk_));
  return reader_.read(std::span(positions_).first(n), 0);
}

double Validation::loss(const model::Network& model, const model::Parameters& parameters,
                        const model::PassOptions& options, bool together,
                        const std::function<void()>& tick) {
  const at::NoGradGuard no_grad;
  const auto n = static_cast<std::int64_t>(positions_.size());
  const std::int64_t n_turns = (n_chunks() + team_.size() - 1) / team_.size();
  ExactSum sum;
  for (std::int64_t turn = 0; turn < n_turns; ++turn) {
    std::int64_t i = turn * team_.size() + team_.rank();
    const bool counts = i < n_chunks();
    if (!counts && !together) break;
    if (!counts) i = 0;
    const auto count = static_cast<std::size_t>(std::min(chunk_, n - i * chunk_));
    const auto positions =
        std::span(positions_).subspan(static_cast<std::size_t>(i * chunk_), count);
    {
      const Stopwatch watch(seconds_);
      const model::Example example = reader_.read(positions, i * chunk_);
      const double loss = model.loss_sum(parameters, example, options).item<double>();
      if (counts) sum.add(loss);
    }
    ++n_chunks_done_;
    tick();
  }
  auto words = sum.words();
  team_.all_reduce(words);
  return ExactSum::from_words(words).value() / static_cast<double>(n * n_targets_);
}

}  // namespace pg::train
