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

/// How the parameters of a unit stand in its two buffers: "full", one whole parameter after the
/// other; and "wire", part by part as comm::Exchange has them, in each the rows of every parameter
/// that its owner keeps, in the same order. Both are words of four bytes. Operands may stand there
/// in half precision, two to a word, in either buffer and in each part behind all that does not.
class UnitLayout {
 public:
  enum class Operands { full_precision, half_precision };

  /// `parameters`: places in `specs`.
  UnitLayout(const std::vector<model::ParameterSpec>& specs,
             const std::vector<std::size_t>& parameters, int degree,
             Operands operands = Operands::full_precision);

  /// Of the wire buffer; the full one needs no more.
  [[nodiscard]] std::int64_t n_words() const { return static_cast<std::int64_t>(bounds_.back()); }
  /// Of the parts of the wire buffer, in words.
  [[nodiscard]] const std::vector<std::size_t>& bounds() const { return bounds_; }

  /// Where a parameter begins in the full buffer. Offsets of what is_half are in halves of words.
  struct Place {
    bool is_half;
    std::int64_t full;
  };
  [[nodiscard]] const std::vector<Place>& places() const { return places_; }

  struct Piece {
    std::size_t parameter;  ///< of those of the unit
    int owner;              ///< rank
    bool is_half;
    std::int64_t full;  ///< offset there
    std::int64_t wire;
    std::int64_t count;  ///< elements
  };
  /// What is a run of elements in both buffers; all of them together are the unit.
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  std::vector<std::size_t> bounds_;
  std::vector<Place> places_;
  std::vector<Piece> pieces_;
};

}  // namespace pg::shard
