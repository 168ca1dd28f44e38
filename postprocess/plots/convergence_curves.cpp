#include <fmt/format.h>

#include "base/text.hpp"
#include "postprocess/plots/plots.hpp"
#include "postprocess/plots/training_curves.hpp"

namespace pg::post {

Picture convergence_curves(const RunResults& results, const ScalingFit& fit) {
  TrainingCurvesData data;
  data.title = "Loss at the best learning rate of each batch size";
  for (const Optimum& o : fit.optima) {
    const Cell* cell =
        o.state == OptimumState::no_data ? nullptr : find_cell(fit.cells, o.batch, o.argmin_lr);
    if (cell == nullptr || cell->trials.empty()) continue;
    CurveArm arm;
    arm.label = fmt::format("batch {}, learning rate {:.3g}", o.batch, cell->lr);
    for (const std::size_t index : cell->trials) {
      const record::TrialRecord& trial = results.trials[index];
      if (trial.summary.status != record::TrialStatus::finished) continue;
      arm.train.push_back({{trial.train_step.begin(), trial.train_step.end()}, trial.train_loss});
      arm.validation.push_back({{trial.val_step.begin(), trial.val_step.end()}, trial.val_loss});
    }
    data.arms.push_back(std::move(arm));
  }
  return training_curves("convergence_curves", data);
}

}  // namespace pg::post
