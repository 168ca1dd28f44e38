#pragma once

#include <filesystem>
#include <string>

namespace pg::study {

/// Writes the attention probabilities of a generation (a checkpoint of a trial) on the first
/// validation window of its corpus, as an HDF5 file: tokens, text, and for every block
/// "encoder/<l>/self", "decoder/<l>/self" and "decoder/<l>/cross" (n_heads, t, u) in row-major
/// order, each with an attribute "<name>/shape" ("4 32 32"). Returns a line about it. Throws
/// InvalidInput (data) for a file that is no generation of a trial, another corpus than it was
/// trained on, or a model without attention; IoError.
std::string write_attention_maps(const std::filesystem::path& generation,
                                 const std::filesystem::path& output);

}  // namespace pg::study
