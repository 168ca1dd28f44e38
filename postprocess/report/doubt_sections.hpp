#pragma once

#include "postprocess/fits/scaling_fit.hpp"
#include "postprocess/report/document.hpp"

// The sections of RESULTS.md that say how far the numbers carry: for results_document.cpp.

namespace pg::post {

/// The power law beside its rivals.
Section rivals_section(const ScalingFit& fit);
/// What the design could see, and what would settle it.
Section design_section(const ScalingFit& fit);
/// The exponent's bootstrap intervals.
Section bootstrap_section(const ScalingFit& fit);

}  // namespace pg::post
