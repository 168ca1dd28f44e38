#include "train/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "base/text.hpp"
#include "config/study.hpp"
#include "data/sampler.hpp"
#include "model/transformer.hpp"
#include "ops/ops.hpp"
#include "train/chunk_tree.hpp"
#include "train/schedule.hpp"
#include "train/summary_statistics.hpp"

namespace pg::train {
namespace {

using Clock = std::chrono::steady_clock;

/// A chunk of sequences on its way into the model; the buffers are reused.
class ChunkReader {
 public:
  ChunkReader(std::span<const std::uint16_t> tokens, std::int64_t sequence_length)
      : tokens_(tokens), sequence_length_(sequence_length) {}

  struct Chunk {
    at::Tensor inputs_bt;
    at::Tensor targets_bt;
  };
  Chunk read(std::span<const std::int64_t> positions) const {
    const auto b = static_cast<std::int64_t>(positions.size());
    Chunk chunk{at::empty({b, sequence_length_}, at::kLong),
                at::empty({b, sequence_length_}, at::kLong)};
    const auto count = static_cast<std::size_t>(b * sequence_length_);
    data::gather_windows(tokens_, positions, sequence_length_,
                         {chunk.inputs_bt.data_ptr<std::int64_t>(), count},
                         {chunk.targets_bt.data_ptr<std::int64_t>(), count});
    return chunk;
  }

 private:
  std::span<const std::uint16_t> tokens_;
  std::int64_t sequence_length_;
};

/// Mean loss over the fixed validation windows.
class Validation {
 public:
  Validation(const config::Settings& settings, const data::Corpus& corpus)
      : reader_(corpus.validation, settings.data.sequence_length),
        positions_(data::validation_positions(static_cast<std::int64_t>(corpus.validation.size()),
                                              settings.data.sequence_length,
                                              settings.eval.sequences)),
        chunk_(settings.train.chunk),
        n_targets_(static_cast<std::int64_t>(positions_.size()) * settings.data.sequence_length) {}

  [[nodiscard]] double loss(const model::Transformer& model,
                            const model::ParameterSet& parameters) const {
    const at::NoGradGuard no_grad;
    double sum = 0;
    const std::span<const std::int64_t> all(positions_);
    const auto step = static_cast<std::size_t>(chunk_);
    for (std::size_t i = 0; i < all.size(); i += step) {
      const auto chunk = reader_.read(all.subspan(i, std::min(step, all.size() - i)));
      sum += model.loss_sum(parameters, chunk.inputs_bt, chunk.targets_bt).item<double>();
    }
    return sum / static_cast<double>(n_targets_);
  }

 private:
  ChunkReader reader_;
  std::vector<std::int64_t> positions_;
  std::int64_t chunk_;
  std::int64_t n_targets_;
};

bool validate_after(std::int64_t step, const config::Settings& s) {
  const std::int64_t left = s.train.steps - step;
  return left < s.eval.tail_steps ? left % s.eval.tail_interval == 0 : step % s.eval.interval == 0;
}

void summarise(record::TrialRecord& record, const config::Settings& s) {
  record::TrialSummary& summary = record.summary;
  const auto first_of_tail = [&](const std::vector<std::int64_t>& steps) {
    return static_cast<std::size_t>(
        std::upper_bound(steps.begin(), steps.end(), s.train.steps - s.eval.tail_steps) -
        steps.begin());
  };
  const auto window = [&](const std::vector<std::int64_t>& steps,
                          const std::vector<double>& losses) {
    const std::size_t first = first_of_tail(steps);
    const std::vector<double> x(steps.begin() + static_cast<std::ptrdiff_t>(first), steps.end());
    return window_statistics(x, std::span(losses).subspan(first));
  };
  const WindowStatistics val = window(record.val_step, record.val_loss);
  summary.final_val_loss = val.mean;
  summary.final_val_loss_se = val.mean_se;
  summary.n_tail_evals =
      static_cast<std::int64_t>(record.val_step.size() - first_of_tail(record.val_step));
  summary.best_val_loss = *std::min_element(record.val_loss.begin(), record.val_loss.end());

  const WindowStatistics training = window(record.train_step, record.train_loss);
  summary.final_train_loss = training.mean;
  summary.train_loss_sd = training.sd;
  summary.drift_per_step = training.drift_per_step;
  summary.drift_p = training.drift_p;
  const bool still_falling = training.drift_per_step < 0 && training.drift_p < 0.05;
  summary.converged = training.sd < s.eval.converged_sd && !still_falling;
}

}  // namespace

void use_one_thread() {
  at::set_num_threads(1);  // sets OpenMP's count too, which oneDNN follows
}

std::int64_t tokens_in(const config::Settings& s) {
  return s.train.steps * s.train.batch * s.data.sequence_length;
}

std::int64_t count_parameters(const config::Settings& s, std::int64_t vocabulary) {
  const model::Transformer model(s.model, s.gate, vocabulary, s.data.sequence_length);
  std::int64_t total = 0;
  for (const auto& spec : model.parameter_specs()) total += spec.n_elements();
  return total;
}

Trainer::Trainer(const config::Settings& settings, const data::Corpus& corpus)
    : settings_(settings), corpus_(corpus) {
  data::require_length(corpus_, settings_.data.sequence_length);
}

bool Trainer::run(const Observer& observer, record::TrialRecord& record) {
  const config::Settings& s = settings_;
  const std::int64_t batch = s.train.batch;
  const std::int64_t sequence_length = s.data.sequence_length;
  const auto started = Clock::now();

  const model::Transformer model(s.model, s.gate, corpus_.vocabulary(), sequence_length);
  model::ParameterSet parameters(model.parameter_specs(), s.train.seed);
  at::Tensor moment1 = at::zeros_like(parameters.values());
  at::Tensor moment2 = at::zeros_like(parameters.values());
  const data::Sampler sampler(static_cast<std::int64_t>(corpus_.train.size()), sequence_length,
                              s.train.seed);
  const ChunkReader reader(corpus_.train, sequence_length);
  const Validation validation(s, corpus_);
  ChunkTree tree;

  record::TrialSummary& summary = record.summary;
  summary.batch = batch;
  summary.lr = s.optimizer.lr;
  summary.seed = s.train.seed;
  summary.n_parameters = parameters.n_parameters();
  record.settings_yaml = config::print_settings(s);
  record.corpus_sha256 = corpus_.sha256;
  std::int64_t n_clipped = 0;
  const auto diverge = [&](std::int64_t step, const char* what) {
    summary.status = record::TrialStatus::diverged;
    summary.reason = fmt::format("{} at step {}", what, step + 1);
  };

  std::vector<std::int64_t> positions;
  for (std::int64_t step = 0; step < s.train.steps; ++step) {
    for (std::int64_t first = 0; first < batch; first += s.train.chunk) {
      const std::int64_t last = std::min(first + s.train.chunk, batch);
      positions.clear();
      for (std::int64_t slot = first; slot < last; ++slot) {
        positions.push_back(sampler.position(step, slot, batch));
      }
      const auto chunk = reader.read(positions);
      parameters.gradients().zero_();
      const at::Tensor loss = model.loss_sum(parameters, chunk.inputs_bt, chunk.targets_bt,
                                             model::DropoutKey{s.train.seed, step, first});
      loss.backward();
      tree.add(parameters.gradients(), loss.item<double>());
      if (!observer({step, s.train.steps, (step * batch + last) * sequence_length})) return false;
    }
    const auto [gradient, loss_sum] = tree.finish();

    // The tree holds sums; the gradient of the mean is the sum over the number of targets.
    const auto n_targets = static_cast<double>(batch * sequence_length);
    const double loss = loss_sum / n_targets;
    const double grad_norm = ops::norm(gradient) / n_targets;
    if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
      diverge(step, std::isfinite(loss) ? "non-finite gradient" : "non-finite training loss");
      break;
    }
    const bool clipped = s.optimizer.clip > 0 && grad_norm > s.optimizer.clip;
    n_clipped += clipped ? 1 : 0;
    const double scale = (clipped ? s.optimizer.clip / grad_norm : 1.0) / n_targets;
    const double lr = learning_rate(s.optimizer.lr, s.schedule, s.train.steps, step);
    ops::adamw_step(
        parameters.values(), moment1, moment2, gradient, scale, step + 1,
        {lr, s.optimizer.beta1, s.optimizer.beta2, s.optimizer.eps, s.optimizer.weight_decay});

    summary.steps = step + 1;
    record.train_step.push_back(step + 1);
    record.train_loss.push_back(loss);
    record.grad_norm.push_back(grad_norm);
    record.lr.push_back(lr);
    if (validate_after(step + 1, s)) {
      const double val_loss = validation.loss(model, parameters);
      if (!std::isfinite(val_loss)) {
        diverge(step, "non-finite validation loss");
        break;
      }
      record.val_step.push_back(step + 1);
      record.val_loss.push_back(val_loss);
    }
  }

  summary.tokens = summary.steps * batch * sequence_length;
  summary.epochs = sampler.epochs(summary.steps, batch);
  summary.clip_fraction = static_cast<double>(n_clipped) /
                          static_cast<double>(std::max<std::int64_t>(1, summary.steps));
  summary.parameter_hash = parameters.hash();
  if (summary.status == record::TrialStatus::finished) summarise(record, s);
  summary.seconds = std::chrono::duration<double>(Clock::now() - started).count();
  return true;
}

}  // namespace pg::train
