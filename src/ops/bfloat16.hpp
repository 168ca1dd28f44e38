#pragma once

#include <ATen/ATen.h>

#include <cstdint>

// Products of bfloat16 matrices, by oneDNN on processors that have instructions for them. Matrices
// are two-dimensional tensors on the CPU.

namespace pg::ops {

/// The widest of those instructions that oneDNN uses here: "AVX512_BF16", "AMX_BF16", or null.
const char* bfloat16_instructions();

/// The memory of a bfloat16 tensor.
inline std::uint16_t* bits(const at::Tensor& x) {
  return reinterpret_cast<std::uint16_t*>(x.data_ptr<at::BFloat16>());
}

/// Rows stand in groups of this many, the last one filled up with zeros: oneDNN compiles a kernel
/// for every shape, and the number of rows may be another one on every call.
constexpr std::int64_t kBFloat16Rows = 16;

/// x (rows, width) float32, contiguous, rounded to the nearest -> bfloat16, whole groups of rows.
at::Tensor to_bfloat16_rows(const at::Tensor& x);
/// x contiguous, of any shape, rounded to the nearest where it is float32; x where it is bfloat16.
at::Tensor to_bfloat16(const at::Tensor& x);
/// The first `rows` rows of x (rows or more, width) bfloat16 as float32.
at::Tensor to_float(const at::Tensor& x, std::int64_t rows);
/// x float32, contiguous, times `factor` and then rounded to bfloat16, in place.
void round_to_bfloat16(const at::Tensor& x, float factor);

/// (rows, width) bfloat16, rows may stand apart -> (width) float32: sums of the columns.
at::Tensor sum_of_bfloat16_rows(const at::Tensor& rows);

/// c (m, n) = a (m, k) b (k, n) + bias (n), summed in float32, on one thread. a and b are bfloat16
/// and have rows that are contiguous, and may stand apart, or are the transpose of such a matrix;
/// bias is float32 or undefined; c has such rows, of float32 or bfloat16. Throws
/// InternalError where oneDNN has no such product.
void multiply_bfloat16(const at::Tensor& a_mk, const at::Tensor& b_kn, const at::Tensor& bias_n,
                       const at::Tensor& c_mn);
/// c += a b, for c in float32.
void add_product_bfloat16(const at::Tensor& a_mk, const at::Tensor& b_kn, const at::Tensor& c_mn);

}  // namespace pg::ops
