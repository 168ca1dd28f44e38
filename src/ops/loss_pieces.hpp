#pragma once

#include <algorithm>
#include <cstdint>

// How linear_cross_entropy_sum() cuts the logits (n, v) into pieces of rows. Functions of the
// vocabulary alone: the cut decides how the gradient of the weights rounds.

namespace pg::ops {

/// A multiple of the groups of rows of the products in float32 and in bfloat16.
inline constexpr std::int64_t kPieceRows = 48;

/// Rows of a piece. Its logits are 128 MiB in float32: adding a product of few rows to the gradient
/// of the weights, of the size of the weights, would take longer than the product.
inline std::int64_t rows_of_piece(std::int64_t vocabulary) {
  constexpr std::int64_t kMostLogits = std::int64_t{1} << 25;
  return std::max(kPieceRows,
                  kMostLogits / std::max<std::int64_t>(vocabulary, 1) / kPieceRows * kPieceRows);
}

/// Elements from one row of logits to the next: rows begin on a cache line, in either precision,
/// without which oneDNN took up to twice as long over the gradient of the weights in a step of
/// GPT-2.
inline std::int64_t logits_stride(std::int64_t vocabulary) {
  constexpr std::int64_t kLine = 32;
  return (vocabulary + kLine - 1) / kLine * kLine;
}

}  // namespace pg::ops
