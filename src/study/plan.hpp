#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "config/settings.hpp"
#include "scheduler/cost_model.hpp"
#include "scheduler/simulate.hpp"

namespace pg::study {

/// How the grid would run on a number of ranks: the scheduler itself, with a clock that jumps.
struct Schedule {
  int n_ranks = 1;
  double work_s = 0;       ///< one-rank seconds of all trials
  double bound_s = 0;      ///< no schedule ends before
  scheduler::Rates rates;  ///< of the trial with the most work
  scheduler::Communication communication;
  scheduler::Origin communication_origin = scheduler::Origin::assumed;
  scheduler::Timeline timeline;
  std::vector<int> team_sizes;  ///< by trial
};

/// What a study will cost, before any of it runs. FLOPs count multiply and add; a training step
/// costs three forward passes; attention counts the visible half only where it is causal.
struct Plan {
  struct Row {
    std::string id;
    std::int64_t n_parameters;
    std::int64_t steps;
    std::int64_t tokens;
    double flops;
  };
  std::string study;
  std::vector<Row> rows;  ///< the grid's trials; refine and transfer depend on results
  std::int64_t tokens = 0;
  double flops = 0;
  bool adds_trials = false;          ///< refine or transfer will
  std::optional<Schedule> schedule;  ///< if a number of ranks was given
};

/// A text corpus is read for its alphabet. Throws InvalidInput (data) or IoError.
Plan make_plan(const config::Study& study);
/// Also plans for `n_ranks`: measures chunks and steps for a second or two on the ranks of `world`,
/// and messages if there are several. Collective over `world`.
Plan make_plan(const config::Study& study, int n_ranks, const comm::Communicator& world,
               const comm::Teams& teams);
std::string plan_text(const Plan& plan);
std::string plan_json(const Plan& plan);

}  // namespace pg::study
