#pragma once

#include <string>

#include "postprocess/report/assessment.hpp"
#include "postprocess/report/document.hpp"

// The written forms of one assessed fit. Each is a pure function of its arguments: the same run
// gives the same bytes.

namespace pg::post {

/// scaling_fit.json: everything, in the words of the tables, snake_case; unbounded ends are null.
std::string fit_json(const RunResults& results, const ScalingFit& fit,
                     const Assessment& assessment);

/// The summary that pgpost fit prints.
std::string fit_text(const ScalingFit& fit, const Assessment& assessment);

/// RESULTS.md and report.html, with every figure of pictures_of(results, fit).
Document results_document(const RunResults& results, const ScalingFit& fit,
                          const Assessment& assessment);

/// "0.652 [0.621, 0.683]", or the reason why there is no number.
std::string with_interval(const ExponentEstimate& estimate);

/// "[0.415, 0.830]", or why there is no set.
std::string set_text(const IdentifiedSet& set);

/// "Gaussian and Laplace lie 0.167 apart: power 0.31, 80 % would take 4 such designs (196 trials)".
std::string separation_text(const Separation& pair);

/// "-12.31 (+4.20); 0.08": AICc, difference to the best, weight; or why there is none.
std::string rival_text(const Rival& rival);

}  // namespace pg::post
