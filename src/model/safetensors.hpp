#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace pg::model {

/// Files of named tensors in the safetensors format: eight bytes with the length of a JSON header
/// (little endian), the header (name -> dtype, shape, first and last byte), the bytes. Tensors of
/// one file are contiguous on the host.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Writes float32 and float64 tensors aside and renames the file into place. Throws IoError.
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors);

/// Every tensor of F64, F32, F16 or BF16, in the order of the file. Throws IoError, or InvalidInput
/// (data) naming the file and what is wrong with it.
NamedTensors read_safetensors(const std::filesystem::path& file);

}  // namespace pg::model
