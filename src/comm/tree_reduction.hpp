#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"

namespace pg::comm {

/// The upper levels of the tree of chunks: adds the ranks' partial sums in the shape of the perfect
/// binary tree over the rank index, so that the bits do not depend on how many ranks computed the
/// leaves (promise P1). Recursive halving, nearest neighbours first, then recursive doubling to
/// hand the parts round: 2 log2(p) messages and 2 (p - 1) / p of the bytes a rank (Rabenseifner,
/// 2004; the halving runs from near to far here, because that is the order of the tree).
class TreeReduction {
 public:
  /// The team must outlive this; its size must be a power of two.
  explicit TreeReduction(const Communicator& team);

  /// Where this rank's part of the sum is, as [first, last).
  struct Part {
    std::size_t first, last;
  };
  /// Collective. In: this rank's partial sum; ranks from `n_present` on have none, and their values
  /// are ignored, not added as zeros. Out: the sum over the ranks inside the part that is returned,
  /// anything outside. Equal lengths on all ranks.
  Part reduce_scatter(std::span<float> values, int n_present);
  /// Collective. Hands the parts of the last reduce_scatter round: the whole sum on every rank.
  void all_gather(std::span<float> values) const;

 private:
  const Communicator& team_;
  std::vector<float> received_;
  std::vector<Part> parts_;  ///< before each level, and after the last
};

}  // namespace pg::comm
