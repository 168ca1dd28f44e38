#pragma once

#include <ATen/ATen.h>

namespace pg::ops::cuda {

/// c (m, n) = a (m, k) b (k, n) + beta c, on the GPU where they are: a and b of float32 or of one
/// half-precision type, c of float32 or of that type, sums in float32. a and b have rows that are
/// contiguous, and may stand apart, or are the transpose of such a matrix; c has such rows. Rows
/// that begin at multiples of 16 bytes are several times faster. Equal inputs give equal bits.
/// Throws InternalError where cuBLAS refuses.
void multiply(const at::Tensor& a_mk, const at::Tensor& b_kn, float beta, const at::Tensor& c_mn);

}  // namespace pg::ops::cuda
