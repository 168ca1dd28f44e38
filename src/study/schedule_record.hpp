#pragma once

#include <string>
#include <vector>

#include "record/run_directory.hpp"
#include "study/crew.hpp"
#include "study/trial.hpp"

namespace pg::study {

/// Adds a stage to schedule.json: what was predicted, what was reached, and which ranks trained
/// what when. Throws IoError.
void record_schedule(const record::RunDirectory& run, const std::string& launch,
                     const std::string& stage, const std::vector<const Trial*>& trials, int n_ranks,
                     const StageReport& report);

/// The same in a line or two for the person in front.
std::string outcome_text(const std::string& stage, const StageReport& report, int n_ranks);

}  // namespace pg::study
