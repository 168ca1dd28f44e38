#pragma once

#include <functional>
#include <string>
#include <vector>

#include "scheduler/scheduler.hpp"

namespace pg::scheduler {

/// What a trial takes in truth, and what it reports at its end.
struct Truth {
  double seconds = 0;
  Measurement measurement;
};
/// Truth of a job (its position in Scheduler::works()) on a team of `size` ranks.
using TruthOf = std::function<Truth(std::size_t job, int size)>;

/// The truth if a cost model is right about a trial.
Truth truth_of_model(const CostModel& model, const Work& work, int size);

/// How a study went, or would go.
struct Timeline {
  struct Bar {
    std::size_t job = 0;
    int first_rank = 0;
    int size = 1;
    double start_s = 0;
    double end_s = 0;
  };
  int n_ranks = 0;
  std::vector<Bar> bars;  ///< by start, then by first rank
  double makespan_s = 0;
  double efficiency = 1;  ///< true one-rank seconds / (n_ranks * makespan_s)
  int n_plans = 0;
  std::vector<std::size_t> not_started;  ///< out of time
};

/// Runs a scheduler against a clock that jumps from event to event. `observe` is called after each
/// decision. Without a truth the scheduler's own model is right.
Timeline simulate(Scheduler scheduler, const TruthOf& truth = nullptr,
                  const std::function<void(const Scheduler&, double now_s)>& observe = nullptr);

/// One line a rank, or a group of ranks where there are more than `max_lines`; `columns` characters
/// from zero to the end; a letter a trial, dots where a rank is idle.
std::string timeline_text(const Timeline& timeline, int columns = 72, int max_lines = 32);
/// job,first_rank,size,start_s,end_s with a heading.
std::string timeline_csv(const Timeline& timeline);

}  // namespace pg::scheduler
