// What the kernels of src/ops/cuda need of CUDA's runtime, on the host: the threads of a block take
// turns from one barrier to the next, the blocks run one after the other. Slow, but every line of a
// kernel runs. It stands in the place of CUDA's own header, hence the name and the names in it.
#pragma once

#include <functional>
#include <utility>

#define __global__
#define __device__
#define __shared__ static  // one block at a time

struct dim3 {
  unsigned x = 1;
};

extern dim3 blockIdx;
extern dim3 threadIdx;

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };
const char* cudaGetErrorString(cudaError_t error);

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  cudaStream_t stream = nullptr;
};

/// The barrier of a block. Throws from the launch where some threads of the block ended without it.
void __syncthreads();

/// Runs body once for each thread of each block.
cudaError_t pg_run_grid(const cudaLaunchConfig_t& config, const std::function<void()>& body);

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  return pg_run_grid(*config, [&] { kernel(arguments...); });
}

/// Threads take turns.
template <class T>
T atomicAdd(T* sum, T value) {
  const T before = *sum;
  *sum = before + value;
  return before;
}

template <class T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int distance) {
  static T of_thread[1024];
  of_thread[threadIdx.x] = value;
  __syncthreads();
  const T other = of_thread[threadIdx.x ^ static_cast<unsigned>(distance)];
  __syncthreads();
  return other;
}
