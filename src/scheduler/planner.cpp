#include "scheduler/planner.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "scheduler/lower_bound.hpp"

namespace pg::scheduler {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Heights closer than this are the same. Far below what any prediction is worth.
constexpr double kHeightTolerance = 1e-3;

// A trial first tries the narrowest team that takes at most this share of the height: narrow teams
// waste least, short trials pack best. Which of the two matters more depends on the mix.
constexpr std::array kShares{1.0, 0.8, 0.65, 0.5, 0.4, 1.0 / 3, 0.25, 0.2, 0.125, 0.0625};

// The most promising widths are tried again in other orders, until nothing improves for a while.
constexpr std::size_t kWaysToRetry = 2;
constexpr std::size_t kLeastPatience = 10;
constexpr std::size_t kMostPatience = 40;
constexpr std::size_t kPatience = 4096;  // packings in vain, times the trials in each
constexpr std::size_t kRanksLikeATrial = 8;

}  // namespace

void Planner::sort_items(const Problem& problem, double longest_s) {
  items_.clear();
  for (const std::size_t job : problem.jobs) {
    int chosen = -1;
    for (int level = 0; level < problem.times.n_levels(); ++level) {
      const double seconds = problem.times.seconds(job, level);
      if (seconds == kInfinity) continue;
      chosen = level;
      if (seconds <= longest_s) break;
    }
    items_.push_back({job, chosen, problem.times.seconds(job, chosen), urgency_[job]});
  }
  std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
    return std::tuple(-a.urgency, -a.level, -a.seconds, a.job) <
           std::tuple(-b.urgency, -b.level, -b.seconds, b.job);
  });
}

bool Planner::place(const Problem& problem, const Item& item, double end_s, Plan& plan) {
  for (int level = item.level; level < problem.times.n_levels(); ++level) {
    const double seconds = problem.times.seconds(item.job, level);
    if (seconds == kInfinity) continue;
    const int block = tree_.best_fit(level, seconds, end_s);
    if (block < 0) continue;
    tree_.add(level, block, seconds);
    plan.placements.push_back({item.job, level, block});
    return true;
  }
  return false;
}

double Planner::pack(const Problem& problem, double end_s, double longest_s, Plan& plan) {
  sort_items(problem, longest_s);
  tree_.reset(problem.ready_s);
  plan.placements.clear();
  plan.left_out.clear();
  double unplaced = 0;
  for (const Item& item : items_) {
    if (place(problem, item, end_s, plan)) continue;
    plan.left_out.push_back(item.job);
    unplaced += std::ldexp(item.seconds, item.level);
  }
  plan.end_s = tree_.end_s();
  return unplaced;
}

bool Planner::pack_any_width(const Problem& problem, double end_s, Effort effort, Plan& plan) {
  const double height = end_s - problem.now_s;
  for (const std::size_t job : problem.jobs) urgency_[job] = 0;
  std::array<std::pair<double, std::size_t>, kShares.size()> ways;
  for (std::size_t i = 0; i < kShares.size(); ++i) {
    const std::size_t way = (first_way_ + i) % kShares.size();
    ways[i] = {pack(problem, end_s, kShares[way] * height, plan), way};
    if (plan.left_out.empty()) {
      first_way_ = way;
      return true;
    }
  }
  if (effort == Effort::little) return false;
  // Squeaky wheels (Joslin & Clements 1999): what had no room is packed first the next time.
  std::sort(ways.begin(), ways.end());
  const std::size_t cost = problem.jobs.size() + problem.ready_s.size() / kRanksLikeATrial;
  const std::size_t patience = std::clamp(kPatience / cost, kLeastPatience, kMostPatience);
  for (std::size_t i = 0; i < kWaysToRetry; ++i) {
    for (const std::size_t job : problem.jobs) urgency_[job] = 0;
    double least_unplaced = kInfinity;
    for (std::size_t in_vain = 0; in_vain < patience;) {
      const double unplaced = pack(problem, end_s, kShares[ways[i].second] * height, plan);
      if (plan.left_out.empty()) {
        first_way_ = ways[i].second;
        return true;
      }
      for (const std::size_t job : plan.left_out) ++urgency_[job];
      in_vain = unplaced < least_unplaced ? 0 : in_vain + 1;
      least_unplaced = std::min(least_unplaced, unplaced);
    }
  }
  return false;
}

Plan Planner::plan(const TimeTable& times, const std::vector<std::size_t>& jobs,
                   const std::vector<double>& ready_s, double now_s) {
  const Problem problem{times, jobs, ready_s, now_s};
  Plan best;
  best.end_s = now_s;
  if (jobs.empty()) return best;
  urgency_.resize(1 + *std::max_element(jobs.begin(), jobs.end()));
  first_way_ = 0;

  double low = lower_bound(times, jobs, ready_s, now_s).moldable_s;
  double step = 0.01;
  double height = low;
  while (!pack_any_width(problem, now_s + height, Effort::little, best)) {
    height *= 1 + step;
    step *= 2;
  }
  double high = best.end_s - now_s;
  Plan trial;
  while (high - low > kHeightTolerance * high) {
    height = 0.5 * (low + high);
    if (pack_any_width(problem, now_s + height, Effort::much, trial)) {
      best = trial;
      high = std::min(height, best.end_s - now_s);
    } else {
      low = height;
    }
  }
  return best;
}

Plan Planner::plan_until(double end_s, const TimeTable& times, const std::vector<std::size_t>& jobs,
                         const std::vector<double>& ready_s, double now_s) {
  const Problem problem{times, jobs, ready_s, now_s};
  Plan best;
  best.end_s = now_s;
  best.left_out = jobs;
  if (jobs.empty()) return best;
  urgency_.assign(1 + *std::max_element(jobs.begin(), jobs.end()), 0);
  double most_work = 0;
  for (const double share : kShares) {
    Plan trial;
    pack(problem, end_s, share * (end_s - now_s), trial);
    double work = 0;
    for (const Placement& placement : trial.placements) work += times.on_narrowest(placement.job);
    if (work > most_work) {
      most_work = work;
      best = trial;
    }
  }
  return best;
}

}  // namespace pg::scheduler
