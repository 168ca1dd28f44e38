#include "ops/resolvent_formulas.hpp"

#include "ops/cuda/kernels.hpp"
#include "ops/cuda/launch.cuh"

// One thread, one sequence: places wait for each other, sequences do not. The two directions of the
// forward pass do not either, nor do the places of what is no recurrence.

namespace pg::ops::cuda {
namespace {

namespace formulas = resolvent_formulas;

/// The first b elements go from the left, those beyond from the right.
__global__ void run_m_functions(const float* v, std::int64_t b, std::int64_t t, float* left,
                                float* right) {
  const bool from_right = element() >= b;
  const auto row = from_right ? element() - b : element();
  if (row >= b || (from_right && right == nullptr)) return;
  formulas::m_function(v + row * t, t, from_right, (from_right ? right : left) + row * 2 * t);
}

__global__ void run_diagonal(const float* v, const float* left, const float* right, std::int64_t b,
                             std::int64_t t, float* g) {
  const auto row = element() / t;
  const auto place = element() % t;
  if (row >= b) return;
  formulas::store(formulas::green(v + row * t, left + row * 2 * t, right + row * 2 * t, t, place),
                  g, element());
}

__global__ void run_causal_gradient(const float* left, const float* d, std::int64_t b,
                                    std::int64_t t, float* dv) {
  const auto row = element();
  if (row >= b) return;
  formulas::causal_backward(left + row * 2 * t, d + row * 2 * t, t, dv + row * t);
}

__global__ void run_bidirectional_gradient(const float* left, const float* right, const float* g,
                                           const float* d, std::int64_t b, std::int64_t t,
                                           float* dv) {
  const auto row = element();
  if (row >= b) return;
  const auto start = row * 2 * t;
  formulas::bidirectional_backward(left + start, right + start, g + start, d + start, t,
                                   dv + row * t);
}

__global__ void run_upstream_hybrid_gradient(const float* g, const float* d, std::int64_t n,
                                             float* dv) {
  const auto i = element();
  if (i >= n) return;
  dv[i] = formulas::upstream_hybrid(formulas::load(g, i), formulas::load(d, i));
}

}  // namespace

namespace kernels {

void m_functions(const float* v, std::int64_t b, std::int64_t t, float* left, float* right,
                 Stream stream) {
  launch_elements("resolvent", run_m_functions, 2 * b, stream, v, b, t, left, right);
}

void diagonal(const float* v, const float* left, const float* right, std::int64_t b, std::int64_t t,
              float* g, Stream stream) {
  launch_elements("resolvent", run_diagonal, b * t, stream, v, left, right, b, t, g);
}

void causal_gradient(const float* left, const float* d, std::int64_t b, std::int64_t t, float* dv,
                     Stream stream) {
  launch_elements("resolvent", run_causal_gradient, b, stream, left, d, b, t, dv);
}

void bidirectional_gradient(const float* left, const float* right, const float* g, const float* d,
                            std::int64_t b, std::int64_t t, float* dv, Stream stream) {
  launch_elements("resolvent", run_bidirectional_gradient, b, stream, left, right, g, d, b, t, dv);
}

void upstream_hybrid_gradient(const float* g, const float* d, std::int64_t n, float* dv,
                              Stream stream) {
  launch_elements("resolvent", run_upstream_hybrid_gradient, n, stream, g, d, n, dv);
}

}  // namespace kernels
}  // namespace pg::ops::cuda
