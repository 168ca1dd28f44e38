// fits: from cells to optima, exponents and transfer errors. May know results, stats and base.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/parabola.hpp"
#include "postprocess/results/run_results.hpp"
#include "postprocess/stats/inference.hpp"

namespace pg::post {

/// Cells within this share of the batch's lowest loss enter the least-squares quadratic.
inline constexpr double kLossWindow = 0.02;

enum class OptimumState {
  bracketed,       ///< lower than its neighbours on both sides
  edge_low,        ///< lowest at the smallest learning rate: the optimum is there or below
  edge_high,       ///< lowest at the largest: the optimum is there or above
  not_determined,  ///< the losses do not differ by more than the noise
  no_data,         ///< fewer than two usable cells
};
std::string to_string(OptimumState state);

/// The spread of one cell's loss (a mean over seeds) under repetition, and where it is from.
struct LossNoise {
  double sd = 0;  ///< nats per token, of a cell's loss; 0: not known
  int df = 0;     ///< 0 where `sd` is a plug-in value
  std::string source;

  /// Student's 97.5 % point for `df`; the normal one for a plug-in value.
  [[nodiscard]] double quantile95() const;
};

/// The best learning rate of one batch size.
struct Optimum {
  std::int64_t batch = 0;
  OptimumState state = OptimumState::no_data;
  double argmin_lr = 0;
  double argmin_loss = 0;
  double ln_lr = 0;     ///< ln of the interpolated optimum; of the argmin where `parabola` is empty
  double ln_lr_se = 0;  ///< 0: not known
  double loss = 0;      ///< interpolated minimum; the argmin's loss where `parabola` is empty
  std::optional<Parabola> parabola;       ///< through the lowest cell and its neighbours
  std::vector<double> parabola_lrs;       ///< the three learning rates behind it
  std::optional<double> quadratic_ln_lr;  ///< vertex of the least-squares quadratic (>= 5 cells)
  std::optional<double> quadratic_se;
  bool beside_diverged = false;  ///< bracketed on one side by a diverged cell only
  bool non_unimodal = false;     ///< the loss has a second dip that its own noise does not explain
  bool tied = false;  ///< a cell beyond the neighbours lies within the noise of the lowest
  int n_usable = 0;
  int n_missing = 0;
  int n_diverged = 0;
  double clip_fraction = 0;  ///< at the argmin
  bool converged = true;     ///< at the argmin
  double epochs = 0;         ///< at the argmin

  [[nodiscard]] double lr() const;
  /// 95 % range of LR*; nothing unless bracketed with a known error.
  [[nodiscard]] std::optional<Interval> lr_ci95(const LossNoise& noise) const;
  [[nodiscard]] std::vector<std::string> flags() const;
};

/// Noise from repeated seeds (pooled within cells near each optimum); else, with at least three
/// degrees of freedom, from the residuals of the per-batch quadratics; else nothing (sd = 0).
LossNoise measured_noise(const std::vector<BatchCells>& table);

/// Root mean square of the trials' own standard errors: the evaluations of one run only, a floor.
LossNoise evaluation_noise(const std::vector<BatchCells>& table);

/// Optimum of each batch. `noise` gives standard errors; flatness is judged by `flat_noise`.
/// `step` is the grid's distance in ln LR.
std::vector<Optimum> find_optima(const std::vector<BatchCells>& table, const LossNoise& noise,
                                 const LossNoise& flat_noise, double step);

}  // namespace pg::post
