#pragma once

#include <vector>

#include "postprocess/fits/model_size.hpp"
#include "postprocess/results/arms.hpp"

namespace pg::post {

/// The table's trials as the model-size analysis sees them, one per settings and seed (a second one
/// goes to `left_out`). Parameters without embeddings (token embedding, learned positions and an
/// untied head) are counted from the settings and the alphabet in provenance.json; not recorded
/// where that is absent.
std::vector<SizeTrial> size_trials(TrialTable& table);

}  // namespace pg::post
