#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "scheduler/block_tree.hpp"
#include "scheduler/cost_model.hpp"
#include "scheduler/lower_bound.hpp"
#include "scheduler/planner.hpp"
#include "scheduler/time_table.hpp"

namespace pg::scheduler {

/// A decision: ranks [first_rank, first_rank + size) train the trial from now on.
struct Start {
  std::size_t job = 0;
  int first_rank = 0;
  int size = 1;
  double expected_end_s = 0;
};

/// A trial on its team, now or as planned.
struct Slot {
  std::size_t job = 0;
  int first_rank = 0;
  int size = 1;
  double start_s = 0;
  double expected_end_s = 0;
};

/// Places trials on teams (aligned blocks of 2^k ranks) and learns what they cost as they end. A
/// replicated state machine: it has no clock and no randomness, so all ranks hold one, feed it the
/// same events in the same order and reach the same decisions without a message. Times are seconds
/// since any common start and must not decrease. Misuse (a trial that is not running ends, time
/// runs backwards) throws InternalError.
class Scheduler {
 public:
  /// Trials are known by their position in `works`. No trial starts that is not expected to end by
  /// `deadline_s`, with the margin that earlier predictions call for; or, where an interrupted
  /// trial keeps its work, to run for `keeps_after_s`: then it may start and go on another time.
  Scheduler(int n_ranks, std::vector<Work> works, const CostModel& model,
            std::optional<double> deadline_s = std::nullopt,
            std::optional<double> keeps_after_s = std::nullopt);

  /// A running trial has ended, and its ranks are free.
  void finished(std::size_t job, double now_s, const Measurement& measurement);
  /// The trials to start now. Call once at first, then after one or more finished().
  std::vector<Start> decide(double now_s);

  /// Nothing runs, and nothing can start any more.
  [[nodiscard]] bool done() const;
  /// By first rank.
  [[nodiscard]] std::vector<Slot> running() const;
  /// Trials that wait for their ranks, where and when the plan has them, by start.
  [[nodiscard]] std::vector<Slot> planned() const;
  /// Trials that are neither started nor planned: nowhere do they end by the deadline. Only those
  /// that out_of_time() names are lost for certain; the others start if ranks come free early.
  [[nodiscard]] std::vector<std::size_t> left_out() const;
  /// Trials that could not end by the deadline even on free ranks.
  [[nodiscard]] std::vector<std::size_t> out_of_time() const;

  /// When the last trial is expected to end, running or planned.
  [[nodiscard]] double expected_end_s() const;
  /// One-rank seconds of everything that is done or planned, as a share of what all ranks could do
  /// from the first decision to the expected end. 1 if there is nothing to do.
  [[nodiscard]] double expected_efficiency() const;
  /// Of what is left at the last decision, whoever plans it; the deadline aside.
  [[nodiscard]] LowerBound remaining_bound() const;
  /// A trial starts only if now + this * its expected seconds is not past the deadline.
  [[nodiscard]] double safety_factor() const;

  [[nodiscard]] int n_ranks() const { return tree_.n_ranks(); }
  [[nodiscard]] int n_plans() const { return n_plans_; }
  [[nodiscard]] const std::vector<Work>& works() const { return works_; }
  [[nodiscard]] const CostModel& cost_model() const { return model_; }

 private:
  static constexpr int kNone = -1;
  enum class Phase { pending, running, finished };
  struct Job {
    Phase phase = Phase::pending;
    int level = kNone;  // of the block it is planned or runs on; kNone: left out
    int block = kNone;
    int next = kNone;  // planned on the same block after it
    double start_s = 0;
    double planned_seconds = 0;  // on one rank, as believed at the last plan
  };

  // What is believed now.
  void refresh_times();
  void refresh_ready();
  void evaluate_plan();
  [[nodiscard]] double seconds_of(std::size_t job) const;  // on the team it has or is planned for
  [[nodiscard]] double expected_end_of(std::size_t job) const;  // of a running one
  [[nodiscard]] bool is_worth_starting(double seconds) const;
  [[nodiscard]] double plan_limit_s() const;
  // The plan.
  [[nodiscard]] bool plan_is_stale() const;
  void make_plan();
  void adopt(const Plan& plan);
  void unlink(std::size_t job);
  // Decisions.
  void start_planned(int level, int block, std::vector<Start>& starts);
  void fill_gaps(std::vector<Start>& starts);
  bool fill_gap_with(std::size_t job, std::vector<Start>& starts);
  void refresh_gaps();
  void start(std::size_t job, int level, int block, std::vector<Start>& starts);
  void set_free(int level, int block, bool is_free);
  [[nodiscard]] std::size_t node(const Job& job) const { return tree_.node(job.level, job.block); }

  std::vector<Work> works_;
  CostModel model_;
  std::optional<double> deadline_s_;
  std::optional<double> keeps_after_s_;
  TimeTable times_;
  Planner planner_;
  BlockTree tree_;  // the plan, from what runs now on
  std::vector<Job> jobs_;
  std::vector<std::size_t> pending_;  // longest first, as believed at the last plan
  std::vector<std::size_t> running_;  // in the order of their starts
  std::vector<int> first_planned_;    // per block of the tree
  std::vector<int> n_free_;           // ranks, per block of the tree
  std::vector<double> ready_s_;       // per rank
  std::vector<double> gap_end_s_;     // per block: until when its free ranks have nothing to do
  std::optional<double> first_s_;
  double now_s_ = 0;
  double error_squared_;        // of predictions, relative: a decaying mean
  bool times_are_old_ = false;  // something was learnt since
  std::size_t n_events_ = 0;    // since the last plan
  double planned_end_s_ = 0;    // at the last plan
  int n_plans_ = 0;
};

}  // namespace pg::scheduler
