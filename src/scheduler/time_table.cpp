#include "scheduler/time_table.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace pg::scheduler {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}

TimeTable::TimeTable(const std::vector<Work>& works, const CostModel& model, int n_ranks)
    : n_levels_(std::bit_width(static_cast<unsigned>(n_ranks))),
      seconds_(works.size() * static_cast<std::size_t>(n_levels_)),
      shortest_(works.size()) {
  require(n_ranks >= 1, "at least one rank");
  for (std::size_t job = 0; job < works.size(); ++job) update(job, works[job], model);
}

void TimeTable::update(std::size_t job, const Work& work, const CostModel& model) {
  const auto leaves = std::bit_ceil(static_cast<std::uint64_t>(work.n_chunks));
  const Rates rates = model.rates(work);
  double* seconds = seconds_.data() + job * static_cast<std::size_t>(n_levels_);
  double shortest = kInfinity;
  for (int level = 0; level < n_levels_; ++level) {
    seconds[level] = kInfinity;
    const int size = 1 << level;
    const bool is_useful = static_cast<std::uint64_t>(size) <= leaves || size == work.smallest_team;
    if (size < work.smallest_team || !is_useful) continue;
    const double time = model.seconds(work, rates, size);
    if (time < shortest) seconds[level] = shortest = time;
  }
  require(std::isfinite(shortest) && shortest >= 0, "a trial that takes finite time");
  shortest_[job] = shortest;
}

double TimeTable::on_narrowest(std::size_t job) const {
  int level = 0;
  while (seconds(job, level) == kInfinity) ++level;
  return seconds(job, level);
}

double TimeTable::least_area(std::size_t job, double limit_s) const {
  double least = kInfinity;
  for (int level = 0; level < n_levels_; ++level) {
    const double time = seconds(job, level);
    if (time <= limit_s) least = std::min(least, std::ldexp(time, level));
  }
  return least;
}

}  // namespace pg::scheduler
