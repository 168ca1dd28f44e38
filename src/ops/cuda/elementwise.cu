#include <array>

#include "base/random.hpp"
#include "ops/cuda/kernels.hpp"
#include "ops/cuda/launch.cuh"
#include "ops/scalar.hpp"

// Gate, dropout, rotation, AdamW: all of them wait for memory, so none is tuned.

namespace pg::ops::cuda {
namespace {

__global__ void run_gate(scalar::Gate gate, const float* x, const float* h, float* y,
                         std::int64_t n) {
  const auto i = element();
  if (i >= n) return;
  const float at = h[i];
  y[i] = (x == nullptr ? at : x[i]) * factor_of(gate, at).value;
}

__global__ void run_gate_gradient(scalar::Gate gate, const float* x, const float* h,
                                  const float* dy, float* dx, float* dh, std::int64_t n) {
  const auto i = element();
  if (i >= n) return;
  const scalar::Factor f = factor_of(gate, h[i]);
  if (x == nullptr) {
    dh[i] = self_gradient(h[i], f, dy[i]);
  } else {
    dx[i] = dy[i] * f.value;
    dh[i] = dy[i] * x[i] * f.slope;
  }
}

/// A thread for each Philox block that has one of the elements [first, first + n).
__global__ void run_drop(DropoutStream dropout, std::uint64_t first, const float* x, std::int64_t n,
                         float* y) {
  const auto lead = static_cast<std::int64_t>(first % 4);
  const auto i = element();
  if (4 * i - lead >= n) return;
  const std::uint64_t block = dropout.first_block + first / 4 + static_cast<std::uint64_t>(i);
  const auto words = random::philox4x32(
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
       static_cast<std::uint32_t>(dropout.step), static_cast<std::uint32_t>(dropout.step >> 32)},
      {dropout.key[0], dropout.key[1]});
  for (int word = 0; word < 4; ++word) {
    const auto e = 4 * i - lead + word;
    if (e < 0 || e >= n) continue;
    // A product, not a choice: a NaN that is dropped stays one, as in the reference.
    y[e] = x[e] * (words[word] < dropout.threshold ? 0.0F : dropout.scale);
  }
}

/// One block, one row: indices inside of a row are small enough to be divided quickly.
__global__ void run_rotate(kernels::Rows rows, const float* x, const float* cos, const float* sin,
                           float direction, float* y) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const auto half = static_cast<unsigned>(rows.half);
  const auto pairs = static_cast<unsigned>(rows.n_heads) * half;
  const auto position = row % rows.t;
  x += row * rows.row_stride;
  y += row * 2 * pairs;
  cos += position * half;
  sin += position * half;
  for (unsigned i = threadIdx.x; i < pairs; i += kThreads) {
    const unsigned pair = i % half;
    const unsigned low = i / half * 2 * half + pair;
    const float c = cos[pair];
    const float s = sin[pair] * direction;
    const float a = x[low];
    const float b = x[low + half];
    y[low] = ::fmaf(-b, s, a * c);
    y[low + half] = ::fmaf(a, s, b * c);
  }
}

__global__ void run_adamw(AdamWConstants constants, const float* gradient, std::int64_t n,
                          float* parameter, float* moment1, float* moment2) {
  const auto i = element();
  if (i >= n) return;
  const scalar::AdamW update(constants);
  const scalar::Moments updated = update({parameter[i], moment1[i], moment2[i]}, gradient[i]);
  parameter[i] = updated.parameter;
  moment1[i] = updated.first;
  moment2[i] = updated.second;
}

}  // namespace

namespace kernels {

void gate(const GateSpec& spec, const float* x, const float* h, float* y, std::int64_t n,
          Stream stream) {
  launch_elements("gate", run_gate, n, stream, scalar::Gate(spec), x, h, y, n);
}

void gate_gradient(const GateSpec& spec, const float* x, const float* h, const float* dy, float* dx,
                   float* dh, std::int64_t n, Stream stream) {
  launch_elements("gate", run_gate_gradient, n, stream, scalar::Gate(spec), x, h, dy, dx, dh, n);
}

void drop(const DropoutStream& dropout, std::uint64_t first, const float* x, std::int64_t n,
          float* y, Stream stream) {
  const auto n_blocks = (static_cast<std::int64_t>(first % 4) + n + 3) / 4;
  launch_elements("dropout", run_drop, n_blocks, stream, dropout, first, x, n, y);
}

void rotate(const Rows& rows, const float* x, const float* cos, const float* sin, float direction,
            float* y, Stream stream) {
  launch("rotation", run_rotate, rows.n_rows, stream, rows, x, cos, sin, direction, y);
}

void adamw(const AdamWConstants& constants, const float* gradient, std::int64_t n, float* parameter,
           float* moment1, float* moment2, Stream stream) {
  launch_elements("adamw_step", run_adamw, n, stream, constants, gradient, n, parameter, moment1,
                  moment2);
}

}  // namespace kernels
}  // namespace pg::ops::cuda
