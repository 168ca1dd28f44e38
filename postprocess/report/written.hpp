#pragma once

#include <string>

#include "postprocess/report/assessment.hpp"

// The written forms of one assessed fit. Each is a pure function of its arguments: the same run
// gives the same bytes.

namespace pg::post {

/// scaling_fit.json: everything, in the words of the tables, snake_case; unbounded ends are null.
std::string fit_json(const RunResults& results, const ScalingFit& fit,
                     const Assessment& assessment);

/// The summary that pgpost fit prints.
std::string fit_text(const ScalingFit& fit, const Assessment& assessment);

/// RESULTS.md. `plot_problem` says why there are no plots; empty when they are there.
std::string results_markdown(const RunResults& results, const ScalingFit& fit,
                             const Assessment& assessment, const std::string& plot_problem);

/// "0.652 [0.621, 0.683]", or the reason why there is no number.
std::string with_interval(const ExponentEstimate& estimate);

/// "[0.415, 0.830]", or why there is no set.
std::string set_text(const IdentifiedSet& set);

}  // namespace pg::post
