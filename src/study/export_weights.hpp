#pragma once

#include <filesystem>
#include <string>

namespace pg::study {

/// Writes the parameters of a generation (a checkpoint of a trial) as a safetensors file, under the
/// published names of its architecture. Returns a line about it. Throws InvalidInput (data) for a
/// file that is no generation of a trial, IoError.
std::string export_weights(const std::filesystem::path& generation,
                           const std::filesystem::path& output);

}  // namespace pg::study
