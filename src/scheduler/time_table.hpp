#pragma once

#include <cstddef>
#include <vector>

#include "scheduler/cost_model.hpp"

namespace pg::scheduler {

/// Seconds of every trial on teams of 2^level ranks, as a cost model has them. Widths that are of
/// no use have none: fewer ranks than it takes, more than leaves or than there are, not shorter
/// than a narrower team.
class TimeTable {
 public:
  TimeTable(const std::vector<Work>& works, const CostModel& model, int n_ranks);

  /// Asks the model again about one trial.
  void update(std::size_t job, const Work& work, const CostModel& model);

  [[nodiscard]] std::size_t n_jobs() const { return shortest_.size(); }
  [[nodiscard]] int n_levels() const { return n_levels_; }
  /// Infinite where the width is of no use.
  [[nodiscard]] double seconds(std::size_t job, int level) const {
    return seconds_[job * static_cast<std::size_t>(n_levels_) + static_cast<std::size_t>(level)];
  }
  /// On the narrowest useful team.
  [[nodiscard]] double on_narrowest(std::size_t job) const;
  /// On the widest useful team.
  [[nodiscard]] double shortest(std::size_t job) const { return shortest_[job]; }
  /// The least ranks * seconds of a team that takes at most `limit_s`; infinite if none does.
  [[nodiscard]] double least_area(std::size_t job, double limit_s) const;

 private:
  int n_levels_;
  std::vector<double> seconds_;
  std::vector<double> shortest_;
};

}  // namespace pg::scheduler
