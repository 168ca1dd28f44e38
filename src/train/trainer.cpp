#include "train/trainer.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <tuple>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "config/study.hpp"
#include "data/sampler.hpp"
#include "model/hugging_face.hpp"
#include "model/safetensors.hpp"
#include "ops/ops.hpp"
#include "ops/plain_operators.hpp"
#include "train/batch_gradient.hpp"
#include "train/large_blocks.hpp"
#include "train/peak_memory.hpp"
#include "train/schedule.hpp"
#include "train/stopwatch.hpp"
#include "train/summary_statistics.hpp"
#include "train/validation.hpp"

namespace pg::train {
namespace {

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
    if (first == steps.size()) {  // every step of it was skipped
      constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
      return WindowStatistics{kNone, kNone, kNone, kNone, kNone};
    }
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

/// What is wrong with a step, if anything. Only losses that nothing was wrong with are compared
/// with.
std::string anomaly_in(double loss, double grad_norm, double spike,
                       const std::vector<double>& earlier) {
  if (!std::isfinite(loss)) return "non-finite training loss";
  if (!std::isfinite(grad_norm)) return "non-finite gradient";
  constexpr std::size_t kWindow = 64;
  if (spike <= 0 || earlier.size() < kWindow) return {};
  double mean = 0;
  double squares = 0;
  const auto window = std::span(earlier).last(kWindow);
  for (const double x : window) mean += x / kWindow;
  for (const double x : window) squares += (x - mean) * (x - mean) / (kWindow - 1);
  if (loss <= mean + spike * std::sqrt(squares)) return {};
  return fmt::format("training loss of {:.4g} after a mean of {:.4g}", loss, mean);
}

const data::Corpus& long_enough(const data::Corpus& corpus, const config::Settings& s) {
  data::require_length(corpus, s.data.sequence_length);
  return corpus;
}

void note_event(record::TrialRecord& record, std::int64_t step, record::EventKind kind,
                std::int64_t target) {
  record.event_step.push_back(step + 1);
  record.event_kind.push_back(static_cast<std::int64_t>(kind));
  record.event_target.push_back(target);
}

/// Neighbouring tensors that weight decay treats alike are updated together.
std::vector<Trainer::DecayRun> decay_runs(const model::Parameters& parameters,
                                          const std::string& decays) {
  std::vector<std::size_t> order(parameters.specs().size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto& slices = parameters.slices();
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return slices[a].offset < slices[b].offset;
  });
  std::vector<Trainer::DecayRun> runs;
  for (const std::size_t i : order) {
    const model::ParameterSpec& spec = parameters.specs()[i];
    const bool here = spec.decays && (decays == "all" || spec.shape.size() >= 2);
    if (runs.empty() || runs.back().decays != here) runs.push_back({slices[i].offset, 0, here});
    runs.back().length += slices[i].count;
  }
  return runs;
}

comm::Exchange::Order order_of(const config::Settings& s) {
  return s.train.reproducible == "fast" ? comm::Exchange::Order::any : comm::Exchange::Order::tree;
}

}  // namespace

void use_one_thread() {
  at::set_num_threads(1);  // sets OpenMP's count too, which oneDNN follows
}

Trainer::Trainer(const config::Settings& s, const data::Corpus& corpus,
                 const comm::Communicator& team, const Placement& placement)
    : settings_(s),
      shard_(placement.shard),
      corpus_(long_enough(corpus, s)),
      team_(team),
      objective_(objective_of(s)),
      model_(network_of(s, corpus.vocabulary())),
      alpha_policy_(s.gate, model_.n_blocks(), s.train.steps, s.schedule.warmup_steps),
      placed_(team, placement, model_, precision_of(s), s.train.seed, chunks_in_batch(s),
              order_of(s)),
      parameters_(placed_.parameters()),
      decay_runs_(decay_runs(parameters_, s.optimizer.decays)),
      moment1_(at::zeros_like(parameters_.values())),
      moment2_(at::zeros_like(parameters_.values())),
      sampler_(static_cast<std::int64_t>(corpus.train.size()), s.data.sequence_length,
               s.train.seed),
      reader_(corpus.train, corpus.vocabulary(), objective_, data::Objective::Split::train,
              s.data.sequence_length, placement.device),
      validation_(s, objective_, corpus, team, placement.device),
      batch_gradient_(placed_.gradient()),
      loss_scale_(s.train.precision == "float16" ? 65536 : 1) {}

bool Trainer::run(const Observer& observer, record::TrialRecord& record, checkpoint::Store* store) {
  started_ = std::chrono::steady_clock::now();
  forget_large_blocks();
  const at::Device device = parameters_.values().device();
  forget_peak_memory(device);
  record::TrialSummary& summary = record.summary;
  summary.batch = settings_.train.batch;
  summary.lr = settings_.optimizer.lr;
  summary.seed = settings_.train.seed;
  summary.n_parameters = parameters_.n_parameters();
  summary.team_size = team_.size();
  summary.predicted_memory_mb = predicted_memory_mb(
      settings_, corpus_.vocabulary(), shard_, team_.size(), store != nullptr, device.is_cuda());
  summary.reproducible = settings_.train.reproducible;
  record.settings_yaml = config::print_settings(settings_);
  record.corpus_sha256 = corpus_.sha256;

  if (store != nullptr && settings_.anomaly.rollbacks > 0) {
    store->allow_rollback(settings_.anomaly.rollback_interval);
  }
  if (const auto newest = store != nullptr ? store->newest() : std::nullopt) {
    restore(*newest, record);
  } else if (const std::string& file = settings_.model.initial_weights; file != "seed") {
    model::import_weights(settings_.model, file, model::read_safetensors(file), parameters_);
  }
  if (!train_from(summary.steps, observer, record, store)) return false;

  summary.tokens = summary.steps * settings_.train.batch * objective_.n_targets();
  summary.epochs = sampler_.epochs(summary.steps, settings_.train.batch);
  summary.clip_fraction = static_cast<double>(n_clipped_) /
                          static_cast<double>(std::max<std::int64_t>(1, summary.steps));
  summary.parameter_hash = parameters_.hash();
  if (summary.status == record::TrialStatus::finished) summarise(record, settings_);
  measure(record);
  summary.seconds = seconds();
  return true;
}

/// False if the run is to stop.
bool Trainer::train_from(std::int64_t first_step, const Observer& observer,
                         record::TrialRecord& record, checkpoint::Store* store) {
  const std::int64_t last_step = settings_.train.steps;
  for (std::int64_t step = first_step; step < last_step; step = record.summary.steps) {
    compute_chunks(step, observer);
    BatchGradient::Votes mine{.stop = wants_stop_ ? 1 : 0};
    if (store != nullptr) {
      mine.save = team_.rank() == 0 && store->is_time() ? 1 : 0;  // clocks differ between ranks
      mine.written = store->written() ? 1 : 0;
    }
    const auto sum = batch_gradient_.finish(mine);
    const BatchGradient::Votes& all = sum.votes;
    if (store != nullptr && all.written == team_.size()) store->commit();
    const Outcome outcome = update(step, sum, record, store);
    if (outcome == Outcome::went_back) continue;
    if (outcome == Outcome::diverged || !validate(step + 1, observer, record)) break;
    const bool ends = step + 1 == last_step;
    const bool stops = all.stop > 0 && !ends;
    if (store != nullptr && (stops || ends || all.save > 0 || store->is_due(step + 1))) {
      save(*store, record);
    }
    if (!stops) continue;
    if (store != nullptr) store->finish();
    return false;
  }
  if (store != nullptr) store->finish();
  return true;
}

double Trainer::seconds() const {
  const std::chrono::duration<double> now = std::chrono::steady_clock::now() - started_;
  return earlier_seconds_ + now.count();
}

void Trainer::tick(std::int64_t step, const Observer& observer) {
  if (!observer({step, settings_.train.steps, tokens_})) wants_stop_ = true;
}

/// Sequences of a chunk of the batch of a step.
model::Example Trainer::read_chunk(std::int64_t step, std::int64_t chunk) {
  const std::int64_t batch = settings_.train.batch;
  const std::int64_t first = chunk * settings_.train.chunk;
  positions_.clear();
  for (std::int64_t slot = first; slot < std::min(first + settings_.train.chunk, batch); ++slot) {
    positions_.push_back(sampler_.position(step + data_shift_, slot, batch));
  }
  return reader_.read(positions_, (step + data_shift_) * batch + first);
}

void Trainer::compute_chunks(std::int64_t step, const Observer& observer) {
  const std::int64_t chunk = settings_.train.chunk;
  model::PassOptions options = pass_options(step);
  options.label_smoothing = settings_.train.label_smoothing;
  if (batch_gradient_.turns().empty()) tick(step, observer);
  for (const BatchGradient::Turn& turn : batch_gradient_.turns()) {
    {
      const Stopwatch watch(chunk_seconds_);
      const model::Example example = read_chunk(step, turn.chunk);
      batch_gradient_.begin_chunk(turn);
      options.dropout = model::DropoutKey{settings_.train.seed, step, turn.chunk * chunk};
      const ops::PlainOperators plain;
      const at::Tensor loss_sum = model_.loss_sum(parameters_, example, options);
      plain_operators_ = plain.text();
      (loss_scale_ == 1 ? loss_sum : loss_sum * loss_scale_).backward();
      batch_gradient_.end_chunk(turn, loss_sum.item<double>());
    }
    if (turn.counts) {
      ++n_chunks_;
      tokens_ += static_cast<std::int64_t>(positions_.size()) * objective_.n_targets();
    }
    tick(step, observer);
  }
}

/// One optimizer step and its line in the record, or what is done instead.
Trainer::Outcome Trainer::update(std::int64_t step, const BatchGradient::Sum& sum,
                                 record::TrialRecord& record, checkpoint::Store* store) {
  const Stopwatch watch(update_seconds_);
  const config::OptimizerSettings& o = settings_.optimizer;
  // The sums become the gradient and the loss of the mean by division by the number of targets.
  const auto n_targets = static_cast<double>(settings_.train.batch * objective_.n_targets());
  const double loss = sum.loss / n_targets;
  const double grad_norm = sum.norm / (n_targets * loss_scale_);
  if (overflowed(loss, grad_norm)) {
    note_event(record, step, record::EventKind::skip, 0);
    record.summary.steps = step + 1;
    return Outcome::skipped;
  }
  const std::int64_t tails = settings_.measure.gradient_tails;
  if (tails > 0 && (step + 1) % tails == 0 && std::isfinite(grad_norm)) {
    at::Tensor gradient = sum.gradient;
    add_tails(step, gradient, record);
  }
  const auto what = anomaly_in(loss, grad_norm, settings_.anomaly.spike, record.train_loss);
  if (!what.empty()) return act_on_anomaly(step, what, record, store);
  n_skips_ = 0;
  const bool clipped = o.clip > 0 && grad_norm > o.clip;
  n_clipped_ += clipped ? 1 : 0;
  const double scale = (clipped ? o.clip / grad_norm : 1.0) / (n_targets * loss_scale_);
  const double lr = learning_rate(o.lr, settings_.schedule, settings_.train.steps, step);
  for (const DecayRun& run : decay_runs_) {
    const auto part = [&](const at::Tensor& flat) {
      return flat.narrow(0, run.offset, run.length);
    };
    at::Tensor values = part(parameters_.values());
    at::Tensor moment1 = part(moment1_);
    at::Tensor moment2 = part(moment2_);
    ops::adamw_step(values, moment1, moment2, part(sum.gradient), scale, step + 1,
                    {lr, o.beta1, o.beta2, o.eps, run.decays ? o.weight_decay : 0});
  }
  parameters_.values_changed();
  alpha_policy_.observe(step, loss, grad_norm);
  ++n_updates_;
  record.summary.steps = step + 1;
  record.train_step.push_back(step + 1);
  record.train_loss.push_back(loss);
  record.grad_norm.push_back(grad_norm);
  record.lr.push_back(lr);
  return Outcome::done;
}

model::PassOptions Trainer::pass_options(std::int64_t step) const {
  model::PassOptions options = options_at(settings_, alpha_policy_, step);
  options.units = placed_.units();
  return options;
}

/// Dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018): the scale is a
/// power of two, so that it changes no bit of a gradient that neither overflows nor underflows.
bool Trainer::overflowed(double loss, double grad_norm) {
  if (settings_.train.precision != "float16" || !std::isfinite(loss)) return false;
  constexpr std::int64_t kGrowthSteps = 2000;
  if (!std::isfinite(grad_norm) && loss_scale_ > 1) {
    loss_scale_ /= 2;
    n_good_steps_ = 0;
    return true;
  }
  if (++n_good_steps_ % kGrowthSteps == 0) loss_scale_ *= 2;
  return false;
}

/// A function of what every rank has alike, so all do the same; and of nothing that an interruption
/// changes, so a trial that goes on from an older generation decides as it did before.
Trainer::Outcome Trainer::act_on_anomaly(std::int64_t step, const std::string& what,
                                         record::TrialRecord& record, checkpoint::Store* store) {
  if (n_skips_ < settings_.anomaly.skips) {
    ++n_skips_;
    note_event(record, step, record::EventKind::skip, 0);
    record.summary.steps = step + 1;
    return Outcome::skipped;
  }
  if (store != nullptr && n_rollbacks_ < settings_.anomaly.rollbacks) {
    if (const auto generation = store->go_back(step)) {
      const std::int64_t target = generation->content().step;
      note_event(record, step, record::EventKind::rollback, target);
      // What was learnt on the way stays; the rest is as it was then.
      const std::int64_t n_rollbacks = n_rollbacks_ + 1;
      const std::int64_t shift = data_shift_ + step + 1 - target;
      const double earlier_seconds = earlier_seconds_;
      const auto events = std::tuple(record.event_step, record.event_kind, record.event_target);
      restore(*generation, record);
      std::tie(record.event_step, record.event_kind, record.event_target) = events;
      n_rollbacks_ = n_rollbacks;
      data_shift_ = shift;
      n_skips_ = 0;
      earlier_seconds_ = earlier_seconds;
      return Outcome::went_back;
    }
  }
  record.summary.status = record::TrialStatus::diverged;
  record.summary.reason = fmt::format("{} at step {}", what, step + 1);
  return Outcome::diverged;
}

/// The validation that is due after `step` steps, if any; false if the trial has diverged.
bool Trainer::validate(std::int64_t step, const Observer& observer, record::TrialRecord& record) {
  if (!validate_after(step, settings_)) return true;
  // The step after which this is has had the alphas of step - 1; the last has no next.
  const model::PassOptions options = pass_options(step - 1);
  const double loss = validation_.loss(model_, parameters_, options, placed_.is_sharded(),
                                       [&] { tick(step, observer); });
  if (!std::isfinite(loss)) {
    record.summary.status = record::TrialStatus::diverged;
    record.summary.reason = fmt::format("non-finite validation loss at step {}", step);
    return false;
  }
  record.val_step.push_back(step);
  record.val_loss.push_back(loss);
  if (!settings_.gate.is_vanilla()) log_alphas(options, record);
  return true;
}

void Trainer::log_alphas(const model::PassOptions& options, record::TrialRecord& record) const {
  const model::Alphas alphas = model_.alphas(parameters_, validation_.first_chunk(), options);
  record.alpha.insert(record.alpha.end(), alphas.mlp.begin(), alphas.mlp.end());
  if (settings_.gate.attention) {
    record.alpha.insert(record.alpha.end(), alphas.attention.begin(), alphas.attention.end());
  }
}

std::vector<TensorHash> Trainer::hashes() const {
  std::vector<TensorHash> hashes;
  for (std::size_t i = 0; i < parameters_.specs().size(); ++i) {
    const auto hash = [&](const at::Tensor& flat) {
      return model::tensor_hash(parameters_.whole(i, flat));
    };
    hashes.push_back(
        {parameters_.specs()[i].name, hash(parameters_.values()), hash(moment1_), hash(moment2_)});
  }
  return hashes;
}

}  // namespace pg::train
