#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/parameters.hpp"

namespace pg::shard {

/// Elements [begin, begin + count) of a parameter: the rows of dimension 0 in part `part` of
/// `degree`, as comm::Exchange counts parts. Every part has ceil(rows / degree) rows but the last
/// ones that have any, so trailing parts may have none (as torch.chunk cuts). A scalar is one row.
struct Rows {
  std::int64_t begin;
  std::int64_t count;
};
Rows rows_of(const model::ParameterSpec& spec, int part, int degree);

/// Whether a message of its own is worth it: such a tensor is exchanged where it stands. (In half
/// precision not if a part of it ends within a word.)
bool is_large(const model::ParameterSpec& spec);

/// How the parameters of a unit stand in its "full" buffer, one whole parameter after the other,
/// and what of it is exchanged how: a large parameter in place; the others together, in a "packed"
/// buffer that has part by part the rows of every one of them. Buffers are words of four bytes.
/// Operands may stand there in half precision, two to a word, behind those that do not.
class UnitLayout {
 public:
  enum class Operands { full_precision, half_precision };

  /// `parameters`: places in `specs`.
  UnitLayout(const std::vector<model::ParameterSpec>& specs,
             const std::vector<std::size_t>& parameters, int degree,
             Operands operands = Operands::full_precision);

  [[nodiscard]] std::int64_t n_words() const { return n_words_; }
  [[nodiscard]] std::int64_t n_packed_words() const { return n_packed_words_; }

  /// Where a parameter begins in the full buffer. Offsets of what is_half are in halves of words.
  struct Place {
    bool is_half;
    std::int64_t full;
  };
  [[nodiscard]] const std::vector<Place>& places() const { return places_; }

  /// What one collective exchanges.
  struct Run {
    bool is_packed;                   ///< of the packed buffer, all of it
    std::int64_t begin;               ///< word
    std::vector<std::size_t> bounds;  ///< of its parts, in words from `begin`
  };
  [[nodiscard]] const std::vector<Run>& runs() const { return runs_; }

  /// The rows of a parameter in a part.
  struct Piece {
    std::size_t parameter;  ///< of those of the unit
    int part;
    bool is_half;
    bool is_packed;
    std::int64_t full;       ///< offset there
    std::int64_t exchanged;  ///< offset in the packed buffer, or `full`
    std::int64_t count;      ///< elements, at least one
  };
  /// All of them together are the unit.
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  struct Member {
    std::size_t i;  ///< of the unit
    const model::ParameterSpec* spec;
  };
  void add_in_place(const Member& member, int degree);
  void add_packed(const std::vector<Member>& floats, const std::vector<Member>& halves, int degree);

  std::int64_t n_words_ = 0;
  std::int64_t n_packed_words_ = 0;
  std::vector<Place> places_;
  std::vector<Run> runs_;
  std::vector<Piece> pieces_;
};

}  // namespace pg::shard
