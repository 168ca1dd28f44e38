#pragma once

#include <cstddef>
#include <vector>

namespace pg::scheduler {

/// The aligned blocks of ranks as a binary tree (level k holds the blocks of 2^k ranks), each block
/// with the seconds of trials that wait for it. A rank takes the trials of the blocks around it
/// from the widest to the narrowest, so that
///   end of rank r = when it is ready + the seconds of all blocks that contain r,
/// as long as the ranks of a block are ready together; where they are not, the block's first trial
/// starts when the last of them is. This order costs nothing: a trial that is added to a wide block
/// slides in before the narrower ones, and no rank waits for another one.
class BlockTree {
 public:
  explicit BlockTree(int n_ranks);

  /// Empties all blocks; rank r is ready at `ready_s[r]`.
  void reset(const std::vector<double>& ready_s);
  /// The block of this level that a trial of `seconds` fills best and that ends by `end_s` with it;
  /// -1 if there is none. Best: ends last, less what its ranks would wait for one another.
  [[nodiscard]] int best_fit(int level, double seconds, double end_s);
  void add(int level, int block, double seconds);
  /// When the block's own trials begin.
  [[nodiscard]] double start_s(int level, int block) const { return start_[node(level, block)]; }
  /// When the last of the trials that wait ends; when the first rank is ready if none does.
  [[nodiscard]] double end_s() const { return end_s_; }

  [[nodiscard]] int n_ranks() const { return n_ranks_; }
  /// Of the whole tree; 2^top_level >= n_ranks.
  [[nodiscard]] int top_level() const { return top_level_; }
  /// Blocks of this level whose ranks all exist.
  [[nodiscard]] int n_blocks(int level) const { return n_ranks_ >> level; }
  /// The tree in one array: root 1, children 2i and 2i + 1, a level's blocks side by side.
  [[nodiscard]] std::size_t node(int level, int block) const {
    return (std::size_t{1} << (top_level_ - level)) + static_cast<std::size_t>(block);
  }
  [[nodiscard]] std::size_t n_nodes() const { return start_.size(); }

 private:
  int n_ranks_;
  int top_level_;
  double end_s_ = 0;
  std::vector<double> start_;    // when the block's own trials can begin
  std::vector<double> own_;      // seconds of its own trials
  std::vector<double> load_;     // own and the most loaded path below
  std::vector<double> filled_;   // start + load: when the block ends if it begins together
  std::vector<double> waiting_;  // mean over its ranks of the wait for the last of them
  // At most the least of filled_ among kGroup blocks side by side. Blocks only ever fill up, so
  // what one search found stays true, and the next one passes over the groups that were full.
  static constexpr std::size_t kGroup = 16;
  std::vector<double> least_filled_;
};

}  // namespace pg::scheduler
