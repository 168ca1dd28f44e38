#include "scheduler/block_tree.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/error.hpp"

namespace pg::scheduler {

BlockTree::BlockTree(int n_ranks) : n_ranks_(n_ranks), top_level_(0) {
  require(n_ranks >= 1, "at least one rank");
  const unsigned leaves = std::bit_ceil(static_cast<unsigned>(n_ranks));
  top_level_ = std::countr_zero(leaves);
  const std::size_t n = 2 * std::size_t{leaves};
  start_.resize(n);
  own_.resize(n);
  load_.resize(n);
  filled_.resize(n);
  waiting_.resize(n);
  least_filled_.resize(1 + n / kGroup);
}

void BlockTree::reset(const std::vector<double>& ready_s) {
  require(ready_s.size() == static_cast<std::size_t>(n_ranks_), "one ready time a rank");
  std::fill(own_.begin(), own_.end(), 0.0);
  std::fill(load_.begin(), load_.end(), 0.0);
  std::fill(least_filled_.begin(), least_filled_.end(), std::numeric_limits<double>::lowest());
  // waiting_ holds the sum of the ready times first. Ranks that do not exist are never waited for.
  constexpr double kNever = std::numeric_limits<double>::lowest();
  const std::size_t leaves = start_.size() / 2;
  for (std::size_t r = 0; r < leaves; ++r) {
    const bool exists = r < ready_s.size();
    start_[leaves + r] = exists ? ready_s[r] : kNever;
    waiting_[leaves + r] = exists ? ready_s[r] : 0;
  }
  for (std::size_t i = leaves - 1; i >= 1; --i) {
    start_[i] = std::max(start_[2 * i], start_[2 * i + 1]);
    waiting_[i] = waiting_[2 * i] + waiting_[2 * i + 1];
  }
  for (int level = 0; level <= top_level_; ++level) {
    const std::size_t first = node(level, 0);
    const double share = 1.0 / static_cast<double>(std::size_t{1} << level);
    for (std::size_t i = first; i < 2 * first; ++i) {
      waiting_[i] = start_[i] - waiting_[i] * share;
      filled_[i] = start_[i];
    }
  }
  end_s_ = *std::min_element(ready_s.begin(), ready_s.end());
}

int BlockTree::best_fit(int level, double seconds, double end_s) {
  const std::size_t first = node(level, 0);
  const std::size_t end = first + static_cast<std::size_t>(n_blocks(level));
  const double latest = end_s - seconds;
  double best_score = std::numeric_limits<double>::lowest();
  std::size_t best = end;
  for (std::size_t group = first / kGroup; group * kGroup < end; ++group) {
    if (least_filled_[group] > latest) continue;
    const std::size_t group_end = std::min(end, (group + 1) * kGroup);
    double least = std::numeric_limits<double>::max();
    for (std::size_t i = std::max(first, group * kGroup); i < group_end; ++i) {
      least = std::min(least, filled_[i]);
      if (filled_[i] <= latest && filled_[i] - waiting_[i] > best_score) {
        best_score = filled_[i] - waiting_[i];
        best = i;
      }
    }
    if (first >= kGroup) least_filled_[group] = least;  // else levels share the group
  }
  return best == end ? -1 : static_cast<int>(best - first);
}

void BlockTree::add(int level, int block, double seconds) {
  const std::size_t i = node(level, block);
  own_[i] += seconds;
  load_[i] += seconds;
  filled_[i] = start_[i] + load_[i];
  waiting_[i] = 0;  // its ranks do begin together from now on
  end_s_ = std::max(end_s_, filled_[i]);
  for (std::size_t first = 2 * i, n = 2; first < start_.size(); first *= 2, n *= 2) {
    for (std::size_t c = first; c < first + n; ++c) {
      start_[c] = start_[c / 2] + own_[c / 2];
      filled_[c] = start_[c] + load_[c];
      waiting_[c] = 0;
    }
  }
  for (std::size_t a = i / 2; a >= 1; a /= 2) {
    const double load = own_[a] + std::max(load_[2 * a], load_[2 * a + 1]);
    if (load == load_[a]) break;
    load_[a] = load;
    filled_[a] = start_[a] + load;
  }
}

}  // namespace pg::scheduler
