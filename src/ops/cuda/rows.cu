#include <cmath>
#include <limits>

#include "ops/cuda/kernels.hpp"
#include "ops/cuda/launch.cuh"
#include "ops/scalar.hpp"

// One block, one row: RMSNorm and cross entropy.

namespace pg::ops::cuda {
namespace {

__global__ void run_rms_norm(const float* x, const float* scale, double eps, std::int64_t d,
                             float* y, float* r_n) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  x += row * d;
  y += row * d;
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < d; i += kThreads) squares = ::fmaf(x[i], x[i], squares);
  const double mean = block_sum(static_cast<double>(squares)) / static_cast<double>(d);
  const auto r = static_cast<float>(1 / ::sqrt(mean + eps));
  if (threadIdx.x == 0) r_n[row] = r;
  for (std::int64_t i = threadIdx.x; i < d; i += kThreads) y[i] = x[i] * r * scale[i];
}

/// With u = dy * scale: dx = r (u - x r^2 mean(u x)).
__global__ void run_rms_norm_dx(const float* x, const float* scale, const float* r_n,
                                const float* dy, std::int64_t d, float* dx) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  x += row * d;
  dy += row * d;
  dx += row * d;
  float products = 0;
  for (std::int64_t i = threadIdx.x; i < d; i += kThreads) {
    products = ::fmaf(dy[i] * x[i], scale[i], products);
  }
  const float r = r_n[row];
  const auto mean =
      static_cast<float>(block_sum(static_cast<double>(products)) / static_cast<double>(d));
  const float pull = mean * r * r;
  for (std::int64_t i = threadIdx.x; i < d; i += kThreads) {
    dx[i] = r * ::fmaf(-x[i], pull, dy[i] * scale[i]);
  }
}

/// A thread for each column of a block of rows.
__global__ void run_rms_norm_dscale(const float* x, const float* r_n, const float* dy,
                                    std::int64_t n, std::int64_t d, float* dscale_partial) {
  const auto first = element() / d * kernels::kRowBlock;
  const auto column = element() % d;
  if (first >= n) return;
  float sum = 0;
  for (auto row = first; row < n && row < first + kernels::kRowBlock; ++row) {
    sum = ::fmaf(dy[row * d + column] * x[row * d + column], r_n[row], sum);
  }
  dscale_partial[element()] = sum;
}

__global__ void run_row_losses(const float* logits, const std::int64_t* targets, double smoothing,
                               std::int64_t v, double* loss_n, float* max_n, float* inverse_n) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  logits += row * v;
  float max = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = threadIdx.x; i < v; i += kThreads) max = ::fmaxf(max, logits[i]);
  max = join_block(max, [](float a, float b) { return ::fmaxf(a, b); });
  double sum = 0;
  double rest = 0;  // the sum of all logit - max
  for (std::int64_t i = threadIdx.x; i < v; i += kThreads) {
    sum += static_cast<double>(scalar::exp(logits[i] - max));
    if (smoothing != 0) rest += static_cast<double>(logits[i] - max);
  }
  sum = block_sum(sum);
  if (smoothing != 0) rest = block_sum(rest);
  if (threadIdx.x != 0) return;
  const double of_target = static_cast<double>(max) - static_cast<double>(logits[targets[row]]);
  const double of_all = smoothing == 0 ? 0 : smoothing / static_cast<double>(v) * rest;
  loss_n[row] = ::log(sum) + (smoothing == 0 ? of_target : (1 - smoothing) * of_target - of_all);
  max_n[row] = max;
  inverse_n[row] = static_cast<float>(1 / sum);
}

__global__ void run_row_loss_gradient(const float* logits, const std::int64_t* targets,
                                      double smoothing, const float* max_n, const float* inverse_n,
                                      const double* dy, std::int64_t v, float* dlogits) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const auto up = static_cast<float>(*dy);
  const float of_all = static_cast<float>(smoothing / static_cast<double>(v)) * up;
  const float of_target = static_cast<float>(1 - smoothing) * up;
  const float factor = inverse_n[row] * up;
  for (std::int64_t i = threadIdx.x; i < v; i += kThreads) {
    const float gradient = scalar::exp(logits[row * v + i] - max_n[row]) * factor - of_all;
    dlogits[row * v + i] = i == targets[row] ? gradient - of_target : gradient;
  }
}

}  // namespace

namespace kernels {

void rms_norm(const float* x, const float* scale, double eps, std::int64_t n, std::int64_t d,
              float* y, float* r_n, Stream stream) {
  launch("rms_norm", run_rms_norm, n, stream, x, scale, eps, d, y, r_n);
}

void rms_norm_gradient(const float* x, const float* scale, const float* r_n, const float* dy,
                       std::int64_t n, std::int64_t d, float* dx, float* dscale_partial,
                       Stream stream) {
  launch("rms_norm", run_rms_norm_dx, n, stream, x, scale, r_n, dy, d, dx);
  const auto n_sums = (n + kRowBlock - 1) / kRowBlock * d;
  launch_elements("rms_norm", run_rms_norm_dscale, n_sums, stream, x, r_n, dy, n, d,
                  dscale_partial);
}

void row_losses(const float* logits, const std::int64_t* targets, double smoothing, std::int64_t n,
                std::int64_t v, double* loss_n, float* max_n, float* inverse_n, Stream stream) {
  launch("cross_entropy_sum", run_row_losses, n, stream, logits, targets, smoothing, v, loss_n,
         max_n, inverse_n);
}

void row_loss_gradient(const float* logits, const std::int64_t* targets, double smoothing,
                       const float* max_n, const float* inverse_n, const double* dy, std::int64_t n,
                       std::int64_t v, float* dlogits, Stream stream) {
  launch("cross_entropy_sum", run_row_loss_gradient, n, stream, logits, targets, smoothing, max_n,
         inverse_n, dy, v, dlogits);
}

}  // namespace kernels
}  // namespace pg::ops::cuda
