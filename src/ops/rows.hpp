#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/sgemm.hpp"

// Matrices as rows of features, float32 on the CPU, which are contiguous and may stand apart: what
// linear() and the loss over its outputs share.

namespace pg::ops::fast {

/// Rows of a product come in groups of this many; see rows_times().
constexpr std::int64_t kRowGroup = 24;

inline MatrixView view(const at::Tensor& matrix) {
  return {matrix.data_ptr<float>(), std::max(matrix.stride(0), matrix.size(1))};
}

/// (..., width) of any type as a matrix of rows.
at::Tensor as_rows(const at::Tensor& x);
/// The sizes of `like` but for the last, which is `width`.
std::vector<std::int64_t> with_width(const at::Tensor& like, std::int64_t width);

/// a_rk times b (k, n_columns), each row rounded as if it stood among many.
at::Tensor rows_times(const at::Tensor& a_rk, const MatrixView& b, std::int64_t n_columns);
/// The same into c (rows, n_columns).
void multiply_rows(const at::Tensor& a_rk, const MatrixView& b, const at::Tensor& c);

/// Adds the row (width), contiguous, to each of the rows (n, width).
void add_to_rows(const at::Tensor& row, const at::Tensor& rows);

/// (rows, width) -> (width): blocks of rows in float, their sum in double, so that the error does
/// not grow with the batch.
at::Tensor sum_of_rows(const at::Tensor& rows);

}  // namespace pg::ops::fast
