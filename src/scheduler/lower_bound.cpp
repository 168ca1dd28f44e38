#include "scheduler/lower_bound.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace pg::scheduler {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Dual feasible functions u: [0, 1] -> [0, 1]: numbers that sum to at most 1 still do after u, so
// that u may take the place of the share of a height in an area bound (Fekete & Schepers 2001).
// They see what areas do not: two trials longer than half the height need two teams.
constexpr int kRounded = 24;  // x -> floor((k + 1) x) / k, k up to this
constexpr std::array kCut{0.5, 0.45, 0.4, 1.0 / 3, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05};
constexpr std::size_t kFunctions = kRounded + kCut.size();

double dual_feasible(std::size_t function, double share) {
  constexpr double kRounding = 1e-9;  // on the side that keeps the bound true
  if (function < kRounded) {
    const auto k = static_cast<double>(function + 1);
    return std::max(0.0, std::floor((k + 1) * share - kRounding) / k);
  }
  const double cut = kCut[function - kRounded];
  if (share > 1 - cut + kRounding) return 1;
  return share < cut + kRounding ? 0 : share;
}

}  // namespace

double LowerBound::simple_s() const {
  return std::max({area_s, critical_path_s, busy_s});
}

double LowerBound::best_s() const {
  return std::max(simple_s(), moldable_s);
}

LowerBound lower_bound(const TimeTable& times, const std::vector<std::size_t>& jobs,
                       const std::vector<double>& ready_s, double now_s) {
  LowerBound bound;
  double area = 0;
  double earliest = kInfinity;
  double latest = now_s;
  for (const double ready : ready_s) {
    area += ready - now_s;
    earliest = std::min(earliest, ready);
    latest = std::max(latest, ready);
  }
  bound.busy_s = latest - now_s;
  for (const std::size_t job : jobs) {
    area += times.least_area(job, kInfinity);
    bound.critical_path_s = std::max(bound.critical_path_s, earliest - now_s + times.shortest(job));
  }
  bound.area_s = area / static_cast<double>(ready_s.size());

  const auto n_ranks = static_cast<double>(ready_s.size());
  const bool together = latest == *std::min_element(ready_s.begin(), ready_s.end());
  const auto has_room = [&](double height) {
    double room = 0;
    for (const double ready : ready_s) room += std::max(0.0, now_s + height - ready);
    for (const std::size_t job : jobs) {
      room -= times.least_area(job, now_s + height - earliest);
      if (room < 0) return false;
    }
    if (!together) return true;
    const double whole = now_s + height - earliest;
    std::array<double, kFunctions> sums{};
    for (const std::size_t job : jobs) {
      std::array<double, kFunctions> least;
      least.fill(kInfinity);
      for (int level = 0; level < times.n_levels(); ++level) {
        const double share = times.seconds(job, level) / whole;
        if (share > 1) continue;
        const double width = std::ldexp(1.0, level);
        for (std::size_t f = 0; f < kFunctions; ++f)
          least[f] = std::min(least[f], width * dual_feasible(f, share));
      }
      for (std::size_t f = 0; f < kFunctions; ++f) sums[f] += least[f];
    }
    return *std::max_element(sums.begin(), sums.end()) <= n_ranks * (1 + 1e-9);
  };
  double low = together ? bound.simple_s() : bound.critical_path_s;
  double high = low;
  bound.moldable_s = low;
  if (jobs.empty() || has_room(low)) return bound;
  do {
    low = high;
    high *= 2;
  } while (!has_room(high));
  while (high - low > 1e-4 * high) {
    const double middle = 0.5 * (low + high);
    (has_room(middle) ? high : low) = middle;
  }
  bound.moldable_s = low;
  return bound;
}

}  // namespace pg::scheduler
