// study: from a study to trials, from trials to results: stages, the queue over ranks, the run
// directory. May know train and everything below it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "record/trial_record.hpp"

namespace pg::study {

/// One training run, resolved.
struct Trial {
  std::string id;  ///< b0064_lr0.001_s42: the varied settings, in the study's order, and the seed
  std::string stage;                                        ///< grid, refine or transfer
  std::vector<std::pair<std::string, std::string>> varied;  ///< (path, value)
  config::Settings settings;
};

/// The trial at these values of the study's axes (one value an axis, in order), in an arm of the
/// study where it has any.
Trial make_trial(const config::Study& study, const std::string& stage,
                 const std::vector<std::string>& values, const config::ArmSettings& arm = {});

/// Every arm at the full product of the axes, in the order of the study; one trial when nothing
/// varies. Of
/// trials that differ in unused settings only (alpha of vanilla) the first is taken.
std::vector<Trial> grid_trials(const config::Study& study);

/// Position of an axis in study.axes, or -1.
int axis_index(const config::Study& study, const std::string& path);

}  // namespace pg::study
