#include "train/chunk_tree.hpp"

#include "base/error.hpp"

namespace pg::train {

void ChunkTree::add(const at::Tensor& gradient) {
  if (used_ == nodes_.size()) nodes_.push_back({at::empty_like(gradient), 0});
  Node& leaf = nodes_[used_++];
  leaf.gradient.copy_(gradient);
  leaf.n_leaves = 1;
  while (used_ > 1 && nodes_[used_ - 1].n_leaves == nodes_[used_ - 2].n_leaves) join_last_two();
}

at::Tensor ChunkTree::finish() {
  require(used_ > 0, "a sum of at least one chunk");
  while (used_ > 1) join_last_two();
  used_ = 0;
  return nodes_[0].gradient;
}

void ChunkTree::join_last_two() {
  Node& left = nodes_[used_ - 2];
  const Node& right = nodes_[used_ - 1];
  left.gradient.add_(right.gradient);
  left.n_leaves += right.n_leaves;
  --used_;
}

}  // namespace pg::train
