#include <cmath>
#include <cstring>
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
                               std::int64_t v, std::int64_t stride, double* loss_n, float* max_n,
                               float* inverse_n) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  logits += row * stride;
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

/// The gradient of one row's loss with respect to its logits, times a number.
class RowLossGradient {
 public:
  __device__ RowLossGradient(double smoothing, std::int64_t v, float max, float inverse,
                             std::int64_t target, float up)
      : max_(max),
        target_(target),
        of_all_(static_cast<float>(smoothing / static_cast<double>(v)) * up),
        of_target_(static_cast<float>(1 - smoothing) * up),
        factor_(inverse * up) {}
  __device__ float of(std::int64_t i, float logit) const {
    const float gradient = scalar::exp(logit - max_) * factor_ - of_all_;
    return i == target_ ? gradient - of_target_ : gradient;
  }

 private:
  float max_;
  std::int64_t target_;
  float of_all_, of_target_, factor_;
};

__global__ void run_row_loss_gradient(const float* logits, const std::int64_t* targets,
                                      double smoothing, const float* max_n, const float* inverse_n,
                                      const double* dy, std::int64_t v, std::int64_t stride,
                                      float* dlogits) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const RowLossGradient gradient(smoothing, v, max_n[row], inverse_n[row], targets[row],
                                 dy == nullptr ? 1 : static_cast<float>(*dy));
  for (std::int64_t i = threadIdx.x; i < v; i += kThreads) {
    dlogits[row * stride + i] = gradient.of(i, logits[row * stride + i]);
  }
}

/// The nearest bfloat16, of two equally near the even one; what is no number stays none.
__device__ std::uint16_t rounded_to_bfloat16(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

__global__ void run_row_loss_gradient_bfloat16(const float* logits, const std::int64_t* targets,
                                               double smoothing, const float* max_n,
                                               const float* inverse_n, std::int64_t v,
                                               std::int64_t stride, std::uint16_t* dlogits) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const RowLossGradient gradient(smoothing, v, max_n[row], inverse_n[row], targets[row], 1);
  for (std::int64_t i = threadIdx.x; i < stride; i += kThreads) {
    const float value = i < v ? gradient.of(i, logits[row * stride + i]) : 0;
    dlogits[row * stride + i] = rounded_to_bfloat16(value);
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

void row_losses(const Logits& rows, const float* logits, const std::int64_t* targets,
                double smoothing, double* loss_n, float* max_n, float* inverse_n, Stream stream) {
  launch("cross_entropy_sum", run_row_losses, rows.n, stream, logits, targets, smoothing, rows.v,
         rows.stride, loss_n, max_n, inverse_n);
}

void row_loss_gradient(const Logits& rows, const float* logits, const std::int64_t* targets,
                       double smoothing, const float* max_n, const float* inverse_n,
                       const double* dy, float* dlogits, Stream stream) {
  launch("cross_entropy_sum", run_row_loss_gradient, rows.n, stream, logits, targets, smoothing,
         max_n, inverse_n, dy, rows.v, rows.stride, dlogits);
}

void row_loss_gradient_bfloat16(const Logits& rows, const float* logits,
                                const std::int64_t* targets, double smoothing, const float* max_n,
                                const float* inverse_n, std::uint16_t* dlogits, Stream stream) {
  launch("cross_entropy_sum", run_row_loss_gradient_bfloat16, rows.n, stream, logits, targets,
         smoothing, max_n, inverse_n, rows.v, rows.stride, dlogits);
}

}  // namespace kernels
}  // namespace pg::ops::cuda
