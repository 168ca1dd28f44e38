// What a trainer measures beside the losses: time, memory, and the tails of gradients.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

#include "base/text.hpp"
#include "measure/tails.hpp"
#include "ops/ops.hpp"
#include "train/peak_memory.hpp"
#include "train/trainer.hpp"

namespace pg::train {
namespace {

/// Appends the columns of record::TrialRecord::gradient_tails, and that of the noise.
void add_row(const at::Tensor& coordinates, bool is_noise, std::vector<double>& table) {
  const at::Tensor host = coordinates.cpu();
  const auto tails =
      measure::tail_estimates({host.data_ptr<float>(), static_cast<std::size_t>(host.numel())});
  const auto add = [&](const auto& estimate, auto member) {
    table.push_back(estimate ? (*estimate).*member : std::numeric_limits<double>::quiet_NaN());
  };
  for (const auto& hill : tails.hill) add(hill, &measure::HillEstimate::alpha);
  add(tails.ggd, &measure::GgdEstimate::shape);
  add(tails.kurtosis, &measure::KurtosisEstimate::excess);
  if (is_noise) add(tails.log_moment, &measure::LogMomentEstimate::alpha);
}

}  // namespace

/// `gradient` is the sum over the batch, whose memory the parameters' gradients may share: it is
/// put back. Where every rank holds all parameters only.
void Trainer::add_tails(std::int64_t step, at::Tensor& gradient, record::TrialRecord& record) {
  const at::Tensor batch = gradient.clone();
  model::PassOptions options = pass_options(step);
  options.label_smoothing = settings_.train.label_smoothing;
  options.dropout = model::DropoutKey{settings_.train.seed, step, 0};
  at::Tensor mine = placed_.whole_gradient();
  mine.zero_();
  // Every rank computes the first chunk again, so that all have the same row.
  const at::Tensor loss = model_.loss_sum(parameters_, read_chunk(step, 0), options) * loss_scale_;
  loss.backward();
  const double ratio = static_cast<double>(settings_.train.batch) /
                       static_cast<double>(std::min(settings_.train.batch, settings_.train.chunk));
  const at::Tensor noise = mine * ratio - batch;
  gradient.copy_(batch);
  record.tails_step.push_back(step + 1);
  add_row(batch, false, record.gradient_tails);
  add_row(noise, true, record.noise_tails);
}

double Trainer::inference_seconds() const {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kRepeats = 5;
  const at::NoGradGuard no_grad;
  const auto tokens = [&](std::int64_t n) {
    return at::zeros({1, n}, parameters_.values().options().dtype(at::kLong));
  };
  model::Example example{tokens(objective_.n_targets()), {}, {}};
  if (objective_.n_encoder() > 0) example.encoder_bs = tokens(objective_.n_encoder());
  const model::PassOptions options = pass_options(settings_.train.steps - 1);
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kRepeats; ++i) {
    const auto start = Clock::now();
    // A number on the host: the pass has ended when it is there.
    (void)model_.logits(parameters_, example, options).select(1, -1).max().item<float>();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  return seconds[kRepeats / 2];
}

void Trainer::measure(record::TrialRecord& record) {
  const auto mean = [](double seconds, std::int64_t n) {
    return n > 0 ? seconds / static_cast<double>(n) : 0.0;
  };
  const double sum_seconds = batch_gradient_.sum_seconds();
  timing_.chunk_s = mean(chunk_seconds_, n_chunks_);
  timing_.eval_chunk_s = mean(validation_.seconds(), validation_.n_chunks_done());
  timing_.eval_s = validation_.seconds();
  timing_.n_steps = n_updates_;
  timing_.step_s = mean(update_seconds_ + sum_seconds, n_updates_);
  timing_.all_reduce_s = mean(batch_gradient_.message_seconds(), n_updates_);
  timing_.work_s = chunk_seconds_ + validation_.seconds();
  if (team_.rank() == 0) timing_.work_s += update_seconds_ + sum_seconds;

  record::TrialSummary& summary = record.summary;
  summary.forward_flops = model_.forward_flops(objective_.n_targets(), objective_.n_encoder()) /
                          static_cast<double>(objective_.n_targets());
  const bool on_cpu = parameters_.values().is_cpu();
  double flops_per_s = 0;
  if (on_cpu && n_chunks_ > 0) {
    const double n_targets = static_cast<double>(tokens_) / static_cast<double>(n_chunks_);
    flops_per_s = 3 * summary.forward_flops * n_targets / timing_.chunk_s;
  }
  summary.inference_s = inference_seconds();
  summary.plain_operators = plain_operators_;
  // The largest and, of the rates, the smallest of the team.
  summary.peak_memory_mb = peak_memory_mb(parameters_.values().device());
  summary.peak_fraction = on_cpu ? flops_per_s / ops::measure_peak_flops() : 0;
  for (const std::string& text :
       team_.all_gather(fmt::format("{} {}", summary.peak_memory_mb, summary.peak_fraction))) {
    const auto words = split(text, ' ');
    summary.peak_memory_mb = std::max(summary.peak_memory_mb, parse_real(words[0]).value_or(0));
    summary.peak_fraction = std::min(summary.peak_fraction, parse_real(words[1]).value_or(0));
  }
}

}  // namespace pg::train
