#include "scheduler/scheduler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.hpp"

namespace pg::scheduler {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Predictions are believed to this relative error before any was checked; later errors outweigh it
// with this memory, in trials.
constexpr double kFirstError = 0.05;
constexpr double kErrorMemory = 16;
constexpr double kErrorsOfSafety = 2;

// With few trials left a plan is made again after each event. With more of them, only after one
// event in so many trials and if the expectation has moved; but at once if it has moved far.
constexpr std::size_t kFewTrials = 64;
constexpr std::size_t kTrialsPerEvent = 32;
constexpr double kMoved = 0.01;
constexpr double kMovedFar = 0.1;

// A new plan must be better by this much to replace one that still holds.
constexpr double kWorthChanging = 1e-3;

}  // namespace

Scheduler::Scheduler(int n_ranks, std::vector<Work> works, const CostModel& model,
                     std::optional<double> deadline_s, std::optional<double> keeps_after_s)
    : works_(std::move(works)),
      model_(model),
      deadline_s_(deadline_s),
      keeps_after_s_(keeps_after_s),
      times_(works_, model_, n_ranks),
      planner_(n_ranks),
      tree_(n_ranks),
      jobs_(works_.size()),
      first_planned_(tree_.n_nodes(), kNone),
      n_free_(tree_.n_nodes(), 0),
      ready_s_(static_cast<std::size_t>(n_ranks), 0.0),
      gap_end_s_(tree_.n_nodes(), -kInfinity),
      error_squared_(kFirstError * kFirstError) {
  for (int rank = 0; rank < n_ranks; ++rank) set_free(0, rank, true);
  for (std::size_t job = 0; job < jobs_.size(); ++job) pending_.push_back(job);
}

void Scheduler::finished(std::size_t job, double now_s, const Measurement& measurement) {
  require(job < jobs_.size() && jobs_[job].phase == Phase::running, "a running trial that ends");
  require(now_s >= now_s_, "time that does not run backwards");
  now_s_ = now_s;
  Job& ended = jobs_[job];
  ended.phase = Phase::finished;
  running_.erase(std::find(running_.begin(), running_.end(), job));
  set_free(ended.level, ended.block, true);
  const Work& work = works_[job];
  // What today's model says, not yesterday's: a factor that has been learnt is no error any more.
  const double expected = model_.seconds(work, 1 << ended.level);
  if (measurement.steps_done >= work.steps && expected > 0) {
    const double error = (now_s - ended.start_s) / expected - 1;
    error_squared_ += (error * error - error_squared_) / kErrorMemory;
  }
  model_.learn(work, measurement);
  times_are_old_ = true;
  ++n_events_;
}

std::vector<Start> Scheduler::decide(double now_s) {
  require(now_s >= now_s_, "time that does not run backwards");
  now_s_ = now_s;
  if (!first_s_) first_s_ = now_s;
  if (times_are_old_) refresh_times();
  evaluate_plan();
  if (plan_is_stale()) make_plan();
  std::vector<Start> starts;
  start_planned(tree_.top_level(), 0, starts);
  fill_gaps(starts);
  if (!starts.empty()) evaluate_plan();
  require(done() || n_free_[1] < n_ranks(), "a team for a trial that can start");
  return starts;
}

void Scheduler::refresh_times() {
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    if (jobs_[job].phase != Phase::finished) times_.update(job, works_[job], model_);
  }
  times_are_old_ = false;
}

double Scheduler::seconds_of(std::size_t job) const {
  // A width that has become useless since the trial was planned on it is as good as the best.
  const double seconds = times_.seconds(job, jobs_[job].level);
  return seconds < kInfinity ? seconds : times_.shortest(job);
}

double Scheduler::expected_end_of(std::size_t job) const {
  const double end = jobs_[job].start_s + seconds_of(job);
  return end >= now_s_ ? end : now_s_ + (now_s_ - end);  // late by x: may well be late by 2x
}

void Scheduler::refresh_ready() {
  std::fill(ready_s_.begin(), ready_s_.end(), now_s_);
  for (const std::size_t job : running_) {
    const Job& running = jobs_[job];
    std::fill_n(ready_s_.begin() + (running.block << running.level), 1 << running.level,
                expected_end_of(job));
  }
}

void Scheduler::evaluate_plan() {
  refresh_ready();
  tree_.reset(ready_s_);
  for (const std::size_t job : pending_) {
    const Job& planned = jobs_[job];
    if (planned.level != kNone) tree_.add(planned.level, planned.block, seconds_of(job));
  }
}

double Scheduler::safety_factor() const {
  return 1 + kErrorsOfSafety * std::sqrt(error_squared_);
}

bool Scheduler::is_worth_starting(double seconds) const {
  const double needed = std::min(safety_factor() * seconds, keeps_after_s_.value_or(kInfinity));
  return !deadline_s_ || now_s_ + needed <= *deadline_s_;
}

double Scheduler::plan_limit_s() const {
  return deadline_s_ && !keeps_after_s_ ? now_s_ + (*deadline_s_ - now_s_) / safety_factor()
                                        : kInfinity;
}

bool Scheduler::plan_is_stale() const {
  if (pending_.empty()) return false;
  if (n_plans_ == 0) return true;
  if (n_events_ == 0) return false;
  const std::size_t n_left = pending_.size() + running_.size();
  if (n_left <= kFewTrials || tree_.end_s() > plan_limit_s()) return true;
  double before = 0;
  double now = 0;
  for (const std::size_t job : pending_) {
    before += jobs_[job].planned_seconds;
    now += times_.on_narrowest(job);
  }
  const double seconds_moved = std::abs(now / before - 1);
  if (seconds_moved > kMovedFar) return true;
  const double end_moved =
      std::abs(tree_.end_s() - planned_end_s_) / std::max(tree_.end_s() - now_s_, 1e-9);
  return n_events_ * kTrialsPerEvent >= n_left && (seconds_moved > kMoved || end_moved > kMoved);
}

void Scheduler::make_plan() {
  ++n_plans_;
  n_events_ = 0;
  std::sort(pending_.begin(), pending_.end(), [this](std::size_t a, std::size_t b) {
    return std::pair(-times_.on_narrowest(a), a) < std::pair(-times_.on_narrowest(b), b);
  });
  bool holds = tree_.end_s() <= plan_limit_s();
  for (const std::size_t job : pending_) {
    jobs_[job].planned_seconds = times_.on_narrowest(job);
    holds = holds && jobs_[job].level != kNone;
  }
  const double limit = plan_limit_s();
  std::optional<Plan> plan;
  if (!deadline_s_ || now_s_ + remaining_bound().simple_s() <= limit)
    plan = planner_.plan(times_, pending_, ready_s_, now_s_);
  if (!plan || plan->end_s > limit)
    plan = planner_.plan_until(limit, times_, pending_, ready_s_, now_s_);
  const double worth = kWorthChanging * (tree_.end_s() - now_s_);
  if (!holds || plan->end_s < tree_.end_s() - worth) adopt(*plan);
  planned_end_s_ = tree_.end_s();
}

void Scheduler::adopt(const Plan& plan) {
  std::fill(first_planned_.begin(), first_planned_.end(), kNone);
  for (const std::size_t job : plan.left_out) jobs_[job].level = kNone;
  for (const Placement& placement : plan.placements) {
    jobs_[placement.job].level = placement.level;
    jobs_[placement.job].block = placement.block;
  }
  // From the shortest on, so that the longest ends up first in its block's list.
  for (auto job = pending_.rbegin(); job != pending_.rend(); ++job) {
    if (jobs_[*job].level == kNone) continue;
    int& first = first_planned_[node(jobs_[*job])];
    jobs_[*job].next = first;
    first = static_cast<int>(*job);
  }
  evaluate_plan();
}

void Scheduler::unlink(std::size_t job) {
  if (jobs_[job].level == kNone) return;
  int* link = &first_planned_[node(jobs_[job])];
  while (*link != static_cast<int>(job)) {
    require(*link != kNone, "a planned trial in its block's list");
    link = &jobs_[static_cast<std::size_t>(*link)].next;
  }
  *link = jobs_[job].next;
  jobs_[job].level = kNone;
}

void Scheduler::start_planned(int level, int block, std::vector<Start>& starts) {
  const std::size_t i = tree_.node(level, block);
  if (n_free_[i] == 0) return;
  while (first_planned_[i] != kNone) {
    if (n_free_[i] < (1 << level)) return;  // its free ranks wait for the others
    const auto job = static_cast<std::size_t>(first_planned_[i]);
    const double seconds = seconds_of(job);
    unlink(job);
    if (is_worth_starting(seconds)) {
      start(job, level, block, starts);
      return;
    }
  }
  if (level == 0) return;
  start_planned(level - 1, 2 * block, starts);
  start_planned(level - 1, 2 * block + 1, starts);
}

void Scheduler::refresh_gaps() {
  // Where nothing is planned any more, a trial may run until all of them were to end by the last
  // plan; what has become late since must not buy time for others. With trials left out the end
  // does not matter, only the deadline does.
  bool any_left_out = false;
  for (const std::size_t job : pending_) any_left_out |= jobs_[job].level == kNone;
  const double nothing_planned = any_left_out ? kInfinity : planned_end_s_;
  const std::size_t leaves = tree_.n_nodes() / 2;
  std::fill(gap_end_s_.begin(), gap_end_s_.end(), -kInfinity);
  for (int rank = 0; rank < n_ranks(); ++rank) {
    if (n_free_[leaves + static_cast<std::size_t>(rank)] == 0) continue;
    double& end = gap_end_s_[leaves + static_cast<std::size_t>(rank)];
    end = nothing_planned;
    for (int level = tree_.top_level(); level >= 0; --level) {
      if (first_planned_[tree_.node(level, rank >> level)] == kNone) continue;
      end = tree_.start_s(level, rank >> level);
      break;
    }
  }
  for (std::size_t i = leaves - 1; i >= 1; --i)
    gap_end_s_[i] = std::min(gap_end_s_[2 * i], gap_end_s_[2 * i + 1]);
}

void Scheduler::fill_gaps(std::vector<Start>& starts) {
  if (pending_.empty() || n_free_[1] == 0) return;
  refresh_gaps();
  double longest = 0;
  for (std::size_t i = tree_.n_nodes() / 2; i < tree_.n_nodes(); ++i)
    longest = std::max(longest, gap_end_s_[i] - now_s_);
  const std::vector<std::size_t> candidates = pending_;
  for (const std::size_t job : candidates) {
    if (times_.shortest(job) > longest) continue;
    if (!fill_gap_with(job, starts)) continue;
    if (n_free_[1] == 0) return;
    refresh_gaps();
  }
}

bool Scheduler::fill_gap_with(std::size_t job, std::vector<Start>& starts) {
  for (int level = 0; level < times_.n_levels(); ++level) {
    const double seconds = times_.seconds(job, level);
    if (seconds == kInfinity || !is_worth_starting(seconds)) continue;
    int best = kNone;
    double earliest = kInfinity;
    for (int block = 0; block < tree_.n_blocks(level); ++block) {
      const double end = gap_end_s_[tree_.node(level, block)];
      if (end < now_s_ + seconds || (best != kNone && end >= earliest)) continue;
      earliest = end;
      best = block;
    }
    if (best == kNone) continue;
    unlink(job);
    start(job, level, best, starts);
    return true;
  }
  return false;
}

void Scheduler::start(std::size_t job, int level, int block, std::vector<Start>& starts) {
  Job& started = jobs_[job];
  started.phase = Phase::running;
  started.level = level;
  started.block = block;
  started.start_s = now_s_;
  pending_.erase(std::find(pending_.begin(), pending_.end(), job));
  running_.push_back(job);
  require(n_free_[tree_.node(level, block)] == (1 << level), "a team of free ranks");
  set_free(level, block, false);
  starts.push_back({job, block << level, 1 << level, now_s_ + seconds_of(job)});
}

void Scheduler::set_free(int level, int block, bool is_free) {
  const std::size_t i = tree_.node(level, block);
  std::size_t n = 1;
  int size = 1 << level;
  for (std::size_t first = i; first < tree_.n_nodes(); first *= 2, n *= 2, size /= 2)
    std::fill_n(n_free_.begin() + static_cast<std::ptrdiff_t>(first), n, is_free ? size : 0);
  for (std::size_t a = i / 2; a >= 1; a /= 2) n_free_[a] += is_free ? 1 << level : -(1 << level);
}

bool Scheduler::done() const {
  return running_.empty() && out_of_time().size() == pending_.size();
}

std::vector<Slot> Scheduler::running() const {
  std::vector<Slot> slots;
  for (const std::size_t job : running_) {
    const Job& running = jobs_[job];
    slots.push_back({job, running.block << running.level, 1 << running.level, running.start_s,
                     expected_end_of(job)});
  }
  std::sort(slots.begin(), slots.end(),
            [](const Slot& a, const Slot& b) { return a.first_rank < b.first_rank; });
  return slots;
}

std::vector<Slot> Scheduler::planned() const {
  std::vector<Slot> slots;
  for (int level = tree_.top_level(); level >= 0; --level) {
    for (int block = 0; block < tree_.n_blocks(level); ++block) {
      double start = tree_.start_s(level, block);
      for (int next = first_planned_[tree_.node(level, block)]; next != kNone;) {
        const auto job = static_cast<std::size_t>(next);
        const double end = start + seconds_of(job);
        slots.push_back({job, block << level, 1 << level, start, end});
        start = end;
        next = jobs_[job].next;
      }
    }
  }
  std::stable_sort(slots.begin(), slots.end(),
                   [](const Slot& a, const Slot& b) { return a.start_s < b.start_s; });
  return slots;
}

std::vector<std::size_t> Scheduler::left_out() const {
  std::vector<std::size_t> jobs;
  if (n_plans_ == 0) return jobs;
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    if (jobs_[job].phase == Phase::pending && jobs_[job].level == kNone) jobs.push_back(job);
  }
  return jobs;
}

std::vector<std::size_t> Scheduler::out_of_time() const {
  std::vector<std::size_t> jobs;
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    if (jobs_[job].phase == Phase::pending && !is_worth_starting(times_.shortest(job)))
      jobs.push_back(job);
  }
  return jobs;
}

double Scheduler::expected_end_s() const {
  return std::max(tree_.end_s(), *std::max_element(ready_s_.begin(), ready_s_.end()));
}

double Scheduler::expected_efficiency() const {
  double work = 0;
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    if (jobs_[job].phase != Phase::pending || jobs_[job].level != kNone)
      work += model_.seconds(works_[job], 1);
  }
  const double offered = n_ranks() * (expected_end_s() - first_s_.value_or(0));
  return offered > 0 ? work / offered : 1;
}

LowerBound Scheduler::remaining_bound() const {
  return lower_bound(times_, pending_, ready_s_, now_s_);
}

}  // namespace pg::scheduler
