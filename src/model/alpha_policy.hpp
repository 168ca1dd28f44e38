#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "config/settings.hpp"
#include "model/pass.hpp"

namespace pg::model {

/// How alpha moves over the steps of a trial where it is a number and neither learned nor the
/// token's. A function of the step, except for the adaptive policies, which follow the loss or the
/// norm of the gradient: what they have seen is their state, the same on every rank because what
/// they are shown is.
class AlphaPolicy {
 public:
  /// For `n_blocks` blocks and a trial of `steps` steps, whose learning rate warms up for
  /// `warmup_steps`.
  AlphaPolicy(const config::GateSettings& gate, std::size_t n_blocks, std::int64_t steps,
              std::int64_t warmup_steps);

  /// The alphas of step t (from 0).
  [[nodiscard]] Alphas at(std::int64_t t) const;

  /// Shows the mean loss and the gradient norm of step t, once, in order; only of steps that
  /// changed the weights.
  void observe(std::int64_t t, double loss, double grad_norm);

  /// What observe() has left, for a checkpoint; a fixed length for each policy.
  [[nodiscard]] std::vector<double> state() const;
  /// Throws InternalError for another length.
  void set_state(std::span<const double> state);

 private:
  [[nodiscard]] double value(std::int64_t t) const;

  config::GateSettings gate_;
  std::size_t n_blocks_;
  std::int64_t steps_;
  std::int64_t warmup_steps_;
  double adapted_;   ///< alpha of the adaptive policies
  double fast_ = 0;  ///< moving averages; zero before the first observation
  double slow_ = 0;
  double reference_ =
      0;  ///< average loss that adaptive_loss compares with; zero before there is one
};

}  // namespace pg::model
