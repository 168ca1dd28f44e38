#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "postprocess/fits/gating.hpp"
#include "postprocess/fits/model_size.hpp"
#include "postprocess/fits/scaling_fit.hpp"
#include "postprocess/fits/table_fit.hpp"
#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// LR* against batch size with the fitted line, its band and the hypotheses' slopes.
Picture lr_vs_batch(const RunResults& results, const ScalingFit& fit);
/// The loss of every cell by batch and learning rate, diverged cells hatched.
Picture loss_heatmap(const ScalingFit& fit);
/// Transfer error by batch for both rules, one panel for each anchor.
Picture transfer_comparison(const ScalingFit& fit);
/// Loss by step of each batch's best learning rate: training_curves over its seeds.
Picture convergence_curves(const RunResults& results, const ScalingFit& fit);
/// Final loss by learning rate, one curve per batch, cut off above what lies near the minima.
Picture loss_vs_lr(const ScalingFit& fit);
/// The exponent by every estimator, with the hypotheses.
Picture exponent_estimates(const RunResults& results, const ScalingFit& fit);
/// Diagnostics of the line through the interpolated optima; needs fit.line_details.
Picture line_diagnostics(const ScalingFit& fit);

/// All of them (line_diagnostics only where there is a line).
std::vector<Picture> pictures_of(const RunResults& results, const ScalingFit& fit);

/// relative_differences (forest), alpha_vs_loss (where a gate was run at several), training_curves
/// of the largest configuration, seeds_needed (where an error is known).
std::vector<Picture> pictures_of(const GatingAnalysis& analysis);

/// Of each group: fit (laws of one variable), diagnostics (where the fit has leverages), isoflop
/// (laws of N and D with points of equal compute); several groups have numbered names.
std::vector<Picture> pictures_of(const TableFit& fit);

/// scaling_laws, loss_vs_parameters, loss_vs_flops and loss_vs_time of each architecture, after
/// weigh_size_laws; the names begin with the architecture where there are several.
std::vector<Picture> pictures_of(const ModelSizeAnalysis& analysis);

}  // namespace pg::post
