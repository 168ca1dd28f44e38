#pragma once

#include <vector>

#include "postprocess/fits/gating.hpp"

namespace pg::post {

/// The optimum along alpha for every block, unit and form with at least two values of alpha; reads
/// arms, blocks and table of the analysis. An alpha at which a seed diverged is left out.
std::vector<AlphaOptimum> find_alpha_optima(const GatingAnalysis& analysis);

}  // namespace pg::post
