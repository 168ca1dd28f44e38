#pragma once

#include "checkpoint/generation.hpp"
#include "config/settings.hpp"
#include "model/safetensors.hpp"

namespace pg::study {

/// The settings of the trial that a generation belongs to. Throws InvalidInput (data) for another
/// kind of file.
config::Settings settings_of(const checkpoint::Generation& generation);

/// Its parameters by their own names, float32, in the order of the model.
model::NamedTensors weights_of(const checkpoint::Generation& generation);

}  // namespace pg::study
