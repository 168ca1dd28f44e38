#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/parameters.hpp"

namespace pg::shard {

/// Elements [begin, begin + count) of a parameter: the rows of dimension 0 that belong to rank
/// `rank` of `degree`. Every rank has ceil(rows / degree) rows but the last ones that have any, so
/// trailing ranks may have none (as torch.chunk cuts, and PyTorch's FSDP). A scalar is one row.
struct Rows {
  std::int64_t begin;
  std::int64_t count;
};
Rows rows_of(const model::ParameterSpec& spec, int rank, int degree);

/// How the parameters of a unit stand in its two buffers of equal length: "full", one whole
/// parameter after the other; and "wire", part by part as comm::Exchange has them, in each the rows
/// of every parameter that its owner keeps, in the same order.
class UnitLayout {
 public:
  /// `parameters`: places in `specs`.
  UnitLayout(const std::vector<model::ParameterSpec>& specs,
             const std::vector<std::size_t>& parameters, int degree);

  [[nodiscard]] std::int64_t n_elements() const {
    return static_cast<std::int64_t>(bounds_.back());
  }
  /// Of the parts of the wire buffer.
  [[nodiscard]] const std::vector<std::size_t>& bounds() const { return bounds_; }
  /// Where each parameter begins in the full buffer.
  [[nodiscard]] const std::vector<std::int64_t>& offsets() const { return offsets_; }

  struct Piece {
    std::int64_t full;  ///< offset there
    std::int64_t wire;
    std::int64_t count;
  };
  /// What is a run of elements in both buffers; all of them together are the unit.
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  std::vector<std::size_t> bounds_;
  std::vector<std::int64_t> offsets_;
  std::vector<Piece> pieces_;
};

}  // namespace pg::shard
