#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace pg::comm {

/// Who sends what to whom where an Exchange sums in the shape of the tree: arithmetic alone, for
/// every library that carries the messages.

/// Values [first, last) of a buffer.
struct Range {
  std::size_t first = 0;
  std::size_t last = 0;
  [[nodiscard]] std::size_t count() const { return last - first; }
  [[nodiscard]] bool empty() const { return first == last; }
};

/// One level of recursive halving, on one rank: it hands one half of what it holds to its partner
/// and keeps the other. Left plus right on either side, because the sum of two NaNs is the first.
struct TreeStep {
  enum class Join {
    keep,                ///< nothing comes: the partner's sub-tree has no leaf, or `kept` no value
    take,                ///< what comes is the sum: this rank's sub-tree has no leaf
    mine_plus_received,  ///< this rank's sub-tree is the left one
    received_plus_mine,  ///< it is the right one
  };
  int partner = 0;
  Range sent;  ///< empty: nothing goes
  Range kept;  ///< holds the sum over both sub-trees afterwards
  Join join = Join::keep;
};

/// The levels of a reduce-scatter on `rank` of `size` ranks (a power of two), nearest neighbours
/// first, which is the order of the tree: log2(size) steps, of which the last one keeps the part
/// that owner_of_part() gives this rank. `bounds` and `n_present` are those of Exchange.
std::vector<TreeStep> tree_steps(int rank, int size, std::span<const std::size_t> bounds,
                                 int n_present);

}  // namespace pg::comm
