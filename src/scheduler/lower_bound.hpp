#pragma once

#include <cstddef>
#include <vector>

#include "scheduler/time_table.hpp"

namespace pg::scheduler {

/// When a set of trials can be done at the earliest, whoever plans it; seconds after `now_s`.
struct LowerBound {
  double area_s = 0;           ///< no rank ever idle, every trial on its cheapest width
  double critical_path_s = 0;  ///< the longest trial on its best width
  double busy_s = 0;           ///< what runs already
  /// The least height for which dual feasible functions do not prove that the trials have no room
  /// below it, each on the width that is cheapest among those no longer than the height. What
  /// area_s becomes once a trial has to be wide to end in time and times do not add up to the
  /// height; at least critical_path_s. What runs already may end later.
  double moldable_s = 0;
  [[nodiscard]] double simple_s() const;
  [[nodiscard]] double best_s() const;
};
/// `ready_s[r]` >= `now_s`: when rank r has done what it is doing.
LowerBound lower_bound(const TimeTable& times, const std::vector<std::size_t>& jobs,
                       const std::vector<double>& ready_s, double now_s);

}  // namespace pg::scheduler
