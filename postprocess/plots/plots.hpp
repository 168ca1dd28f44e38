#pragma once

#include <filesystem>

#include "postprocess/fits/scaling_fit.hpp"
#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// LR* against batch size with the fitted line, its band and the hypotheses' slopes.
Picture lr_vs_batch(const RunResults& results, const ScalingFit& fit);
/// The loss of every cell by batch and learning rate, diverged cells hatched.
Picture loss_heatmap(const ScalingFit& fit);
/// Transfer error by batch for both rules, one panel for each anchor.
Picture transfer_comparison(const ScalingFit& fit);
/// Validation loss by step of each batch's best trial.
Picture convergence_curves(const RunResults& results, const ScalingFit& fit);

/// Draws all four into `folder`. Throws IoError.
void draw_plots(const std::filesystem::path& folder, const RunResults& results,
                const ScalingFit& fit);

}  // namespace pg::post
