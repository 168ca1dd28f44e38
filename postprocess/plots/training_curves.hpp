#pragma once

#include <string>
#include <vector>

#include "postprocess/plots/curve.hpp"
#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// One loss series of one trial.
struct LossSeries {
  std::vector<double> step;
  std::vector<double> loss;
};

/// One arm: the same series of each seed.
struct CurveArm {
  std::string label;
  std::vector<LossSeries> train;       ///< one per seed; or empty
  std::vector<LossSeries> validation;  ///< one per seed; or empty
};

struct TrainingCurvesData {
  std::string title;
  std::vector<CurveArm> arms;
};

/// Mean over seeds of each arm, where every seed has the step: validation loss as a line with its
/// band of one standard error, training loss dashed. Long series are thinned to 200 means of
/// neighbouring steps. The loss axis leaves out the first steps' fall where that would hide the
/// rest.
Picture training_curves(const std::string& name, const TrainingCurvesData& data);

}  // namespace pg::post
