#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "base/error.hpp"

// How kernels are started and how the threads of a block sum up. Through functions of the runtime
// and not by <<<>>>, so that a test can compile the kernels for the host, with a runtime of its
// own.

namespace pg::ops::cuda {

constexpr int kThreads = 256;  // of a block
constexpr int kWarp = 32;

/// Puts n_blocks blocks of a kernel on the stream; throws InternalError where it cannot start.
template <class... Parameters, class... Arguments>
void launch(const char* op, void (*kernel)(Parameters...), std::int64_t n_blocks,
            cudaStream_t stream, Arguments... arguments) {
  if (n_blocks == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(n_blocks));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error == cudaSuccess) return;
  throw InternalError({std::string("the kernel of ") + op + " did not start on the GPU (" +
                           cudaGetErrorString(error) + ")",
                       "a GPU that the kernels were compiled for",
                       "build with TORCH_CUDA_ARCH_LIST set to the GPU's architecture"});
}

/// The same with a thread for each of n elements, of which element() is the one.
template <class... Parameters, class... Arguments>
void launch_elements(const char* op, void (*kernel)(Parameters...), std::int64_t n,
                     cudaStream_t stream, Arguments... arguments) {
  launch(op, kernel, (n + kThreads - 1) / kThreads, stream, arguments...);
}

__device__ inline std::int64_t element() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

/// One value of each thread of a block joined to one, the same bits in every thread: a butterfly
/// inside each warp, then the warps in their order. Every thread of the block must call it.
template <class T, class Join>
__device__ T join_block(T value, const Join& join) {
  __shared__ T parts[kThreads / kWarp];
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = join(value, __shfl_xor_sync(0xFFFFFFFFU, value, distance));
  }
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = parts[0];
  for (int warp = 1; warp < kThreads / kWarp; ++warp) value = join(value, parts[warp]);
  __syncthreads();  // before the next call writes
  return value;
}

template <class T>
__device__ T block_sum(T value) {
  return join_block(value, [](T a, T b) { return a + b; });
}

}  // namespace pg::ops::cuda
