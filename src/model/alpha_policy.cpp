#include "model/alpha_policy.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace pg::model {
namespace {

constexpr double kCurvature = 5;     // of the exponential
constexpr double kWarmupPart = 0.1;  // of the steps
constexpr std::int64_t kStages = 5;  // of the curriculum
constexpr double kFastDecay = 0.9;   // of the moving averages
constexpr double kSlowDecay = 0.99;
constexpr std::int64_t kRefreshSteps = 100;
constexpr double kGradientRate = 0.01;

double average(double before, double value, double decay) {
  return before == 0 ? value : decay * before + (1 - decay) * value;
}

}  // namespace

AlphaPolicy::AlphaPolicy(const config::GateSettings& gate, std::size_t n_blocks, std::int64_t steps,
                         std::int64_t warmup_steps)
    : gate_(gate),
      n_blocks_(n_blocks),
      steps_(steps),
      warmup_steps_(warmup_steps),
      adapted_(gate.alpha) {}

double AlphaPolicy::value(std::int64_t t) const {
  const double from = gate_.alpha_start;
  const double by = gate_.alpha_end - gate_.alpha_start;
  const double progress = static_cast<double>(t) / static_cast<double>(std::max<std::int64_t>(
                                                       1, steps_ - 1));  // 1 at the last step
  const std::string& policy = gate_.policy;
  if (policy == "cosine") return from + by * 0.5 * (1 - std::cos(std::numbers::pi * progress));
  if (policy == "linear") return from + by * std::min(1.0, progress / gate_.alpha_ramp);
  if (policy == "exponential") {
    return from + by * std::expm1(-kCurvature * progress) / std::expm1(-kCurvature);
  }
  if (policy == "curriculum") {
    const std::int64_t stage = std::min(kStages - 1, kStages * t / steps_);
    return from + by * static_cast<double>(stage) / static_cast<double>(kStages - 1);
  }
  if (policy == "warmup") {
    const double ramp = std::max(1.0, kWarmupPart * static_cast<double>(steps_));
    return gate_.alpha * std::min(1.0, static_cast<double>(t) / ramp);
  }
  if (policy == "adaptive_loss" || policy == "adaptive_gradient") return adapted_;
  return gate_.alpha;
}

Alphas AlphaPolicy::at(std::int64_t t) const {
  if (gate_.policy == "layers") {
    Alphas alphas;
    for (std::size_t l = 0; l < n_blocks_; ++l) {
      const double place =
          n_blocks_ > 1 ? static_cast<double>(l) / static_cast<double>(n_blocks_ - 1) : 0;
      alphas.mlp.push_back(gate_.alpha_start + (gate_.alpha_end - gate_.alpha_start) * place);
    }
    alphas.attention = alphas.mlp;
    return alphas;
  }
  const double alpha = value(t);
  return {std::vector<double>(n_blocks_, alpha),
          std::vector<double>(n_blocks_, gate_.policy == "fixed" ? gate_.attention_alpha : alpha)};
}

void AlphaPolicy::observe(std::int64_t t, double loss, double grad_norm) {
  if (gate_.policy == "adaptive_loss") {
    slow_ = average(slow_, loss, kSlowDecay);
    // Its own level at the end of the warm-up, and then anew every so often.
    const std::int64_t since = t + 1 - std::max<std::int64_t>(1, warmup_steps_);
    if (since >= 0 && since % kRefreshSteps == 0) reference_ = slow_;
    if (reference_ > 0) adapted_ = std::clamp(1 - slow_ / reference_, 0.0, 1.0);
  } else if (gate_.policy == "adaptive_gradient") {
    fast_ = average(fast_, grad_norm, kFastDecay);
    slow_ = average(slow_, grad_norm, kSlowDecay);
    if (slow_ > 0) {
      adapted_ = std::clamp(adapted_ + kGradientRate * (1 - fast_ / slow_), 0.0, 1.0);
    }
  }
}

std::vector<double> AlphaPolicy::state() const {
  return {adapted_, fast_, slow_, reference_};
}

void AlphaPolicy::set_state(std::span<const double> state) {
  require(state.size() == 4, "the four numbers of an alpha policy");
  adapted_ = state[0];
  fast_ = state[1];
  slow_ = state[2];
  reference_ = state[3];
}

}  // namespace pg::model
