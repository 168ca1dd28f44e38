#pragma once

#include <c10/core/Device.h>

namespace pg::train {

/// Largest memory of this process on `device` since forget_peak_memory(), in MB (1e6 bytes), or
/// since its start where the system cannot forget. On a CPU resident memory, 0 where the system
/// does not say. On a GPU what LibTorch's tensors held there, without CUDA's context and what is
/// kept in reserve; 0 in a build without PG_CUDA.
double peak_memory_mb(c10::Device device = c10::kCPU);
void forget_peak_memory(c10::Device device = c10::kCPU);

}  // namespace pg::train
