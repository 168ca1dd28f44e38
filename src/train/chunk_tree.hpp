#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace pg::train {

/// The sum over chunks in one fixed shape (promise P1): the perfect binary tree over the chunk
/// index; where the count is no power of two, each node splits at the largest power of two below
/// it. Works like a binary counter, so that n chunks need log2(n) buffers, which are kept for the
/// next step.
class ChunkTree {
 public:
  /// Adds the next leaf: a flat gradient (copied).
  void add(const at::Tensor& gradient);

  /// The sum of all leaves since the last finish(); at least one. Owned by the tree, valid until
  /// the next add().
  at::Tensor finish();

 private:
  struct Node {
    at::Tensor gradient;
    std::int64_t n_leaves = 0;
  };
  void join_last_two();

  std::vector<Node> nodes_;  // the counter's digits, largest sub-tree first; then unused buffers
  std::size_t used_ = 0;
};

}  // namespace pg::train
