#include <cstring>

#include "ops/cuda/kernels.hpp"
#include "ops/cuda/launch.cuh"

// The exact sum of squares (base/exact_sum.hpp) where the numbers are. Integers add up to the same
// in any order, so that atomics may add them.

namespace pg::ops::cuda {
namespace {

/// Elements of a block. The square of a mantissa has 48 bits: 2^16 of them fit into 64.
constexpr std::int64_t kElements = std::int64_t{1} << 14;
static_assert(kThreads == kernels::kExponents, "a thread for each exponent");

__global__ void add_mantissa_squares(const float* x, std::int64_t n, unsigned long long* sums) {
  __shared__ unsigned long long of_block[kernels::kExponents];
  of_block[threadIdx.x] = 0;
  __syncthreads();
  const std::int64_t first = blockIdx.x * kElements;
  const std::int64_t last = first + kElements < n ? first + kElements : n;
  for (std::int64_t i = first + threadIdx.x; i < last; i += kThreads) {
    unsigned bits = 0;
    std::memcpy(&bits, &x[i], sizeof(bits));
    const unsigned exponent = (bits >> 23U) & 0xFFU;
    const unsigned fraction = bits & 0x7FFFFFU;
    const unsigned long long mantissa = exponent != 0 ? fraction | 0x800000U : fraction;
    const unsigned long long special = fraction != 0 ? 1ULL << 32U : 1;
    atomicAdd(&of_block[exponent], exponent != 0xFF ? mantissa * mantissa : special);
  }
  __syncthreads();
  const unsigned long long sum = of_block[threadIdx.x];
  if (sum == 0) return;
  atomicAdd(&sums[2 * threadIdx.x], sum & 0xFFFFFFFFU);
  atomicAdd(&sums[2 * threadIdx.x + 1], sum >> 32U);
}

}  // namespace

namespace kernels {

void mantissa_squares(const float* x, std::int64_t n, unsigned long long* sums, Stream stream) {
  launch("add_squares", add_mantissa_squares, (n + kElements - 1) / kElements, stream, x, n, sums);
}

}  // namespace kernels
}  // namespace pg::ops::cuda
