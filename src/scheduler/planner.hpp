#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/block_tree.hpp"
#include "scheduler/time_table.hpp"

namespace pg::scheduler {

struct Placement {
  std::size_t job = 0;
  int level = 0;
  int block = 0;
};

struct Plan {
  std::vector<Placement> placements;
  std::vector<std::size_t> left_out;  ///< trials without a place before the deadline
  double end_s = 0;                   ///< of the last placement; of nothing that runs already
};

/// Places trials on the blocks of a tree: a dual approximation (Hochbaum & Shmoys 1987). A height
/// is guessed and the trials are packed below it, from the widest and longest on, each on the block
/// it fills best; a trial without a fitting block takes a wider one, for which it is shorter.
/// Bisection finds the least height that works. Everything is a pure function of its arguments.
class Planner {
 public:
  explicit Planner(int n_ranks) : tree_(n_ranks) {}

  /// All `jobs`, the last of their ends as early as it can find. What runs already may end later: a
  /// straggler must not buy time for everybody else. `ready_s[r]` >= `now_s`: when rank r has
  /// done what it is doing.
  Plan plan(const TimeTable& times, const std::vector<std::size_t>& jobs,
            const std::vector<double>& ready_s, double now_s);
  /// As much work (one-rank seconds) as it can find room for before `end_s`.
  Plan plan_until(double end_s, const TimeTable& times, const std::vector<std::size_t>& jobs,
                  const std::vector<double>& ready_s, double now_s);

 private:
  enum class Effort { little, much };
  struct Problem {
    const TimeTable& times;
    const std::vector<std::size_t>& jobs;
    const std::vector<double>& ready_s;
    double now_s;
  };
  struct Item {
    std::size_t job;
    int level;       // to start with
    double seconds;  // on it
    int urgency;     // earlier packings that had no room for it
  };
  void sort_items(const Problem& problem, double longest_s);
  bool place(const Problem& problem, const Item& item, double end_s, Plan& plan);
  // Fills plan.placements and plan.left_out; returns the ranks * seconds that were left out.
  double pack(const Problem& problem, double end_s, double longest_s, Plan& plan);
  // Whether everything found a place.
  bool pack_any_width(const Problem& problem, double end_s, Effort effort, Plan& plan);

  BlockTree tree_;
  std::vector<Item> items_;
  std::vector<int> urgency_;
  std::size_t first_way_ = 0;  // the way to choose widths that worked last
};

}  // namespace pg::scheduler
