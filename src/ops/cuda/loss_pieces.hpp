#pragma once

#include "ops/chunked_loss.hpp"

namespace pg::ops::cuda {

/// Pieces of linear_cross_entropy_sum() in float32 or bfloat16. Logits are float32, as they come
/// from the product; their gradient is rounded for the two products that it goes into.
class Pieces {
 public:
  explicit Pieces(const ChunkedLossInputs& inputs);
  at::Tensor operator()(const LossPiece& piece, const ChunkedLossTotals& totals) const;

 private:
  const ChunkedLossInputs& in_;
  at::Tensor w_;  ///< (logits_stride(v), d) as it is multiplied: rows of zeros are its last ones
};

}  // namespace pg::ops::cuda
