#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "ops/loss_pieces.hpp"
#include "ops/ops.hpp"

// What linear_cross_entropy_sum() hands to those who compute a piece of its rows.

namespace pg::ops {

struct ChunkedLossInputs {
  at::Tensor x_nd, w_vd, bias_v, targets_n;  ///< contiguous; bias_v may be undefined
  double smoothing;
  Precision precision;
};

/// Gradients of the sum over the pieces so far, undefined where nobody asks.
struct ChunkedLossTotals {
  at::Tensor dx_nd, dw_vd, dbias_v;

  [[nodiscard]] bool wanted() const {
    return dx_nd.defined() || dw_vd.defined() || dbias_v.defined();
  }
};

/// Rows first..first + rows of the inputs.
struct LossPiece {
  std::int64_t first;
  std::int64_t rows;

  [[nodiscard]] at::Tensor of(const at::Tensor& tensor) const {
    return tensor.narrow(0, first, rows);
  }
  void add_to(const at::Tensor& total, const at::Tensor& part) const {
    if (first == 0) {
      total.copy_(part);
    } else {
      total.add_(part);
    }
  }
};

/// The loss of all rows, float64. Pieces is made from the inputs; called with a piece and the
/// totals it returns the loss of the piece and adds its gradients to the totals.
template <class Pieces>
at::Tensor sum_of_pieces(const ChunkedLossInputs& inputs, const ChunkedLossTotals& totals) {
  const Pieces pieces(inputs);
  const auto n = inputs.x_nd.size(0);
  const auto most = rows_of_piece(inputs.w_vd.size(0));
  at::Tensor sum;
  for (std::int64_t first = 0; first < n; first += most) {
    const at::Tensor loss = pieces({first, std::min(most, n - first)}, totals);
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum;
}

}  // namespace pg::ops
