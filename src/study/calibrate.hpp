#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "comm/communicator.hpp"
#include "data/corpus.hpp"
#include "scheduler/cost_model.hpp"
#include "study/trial.hpp"

namespace pg::study {

/// A cost model that has measured what these trials are made of, on these ranks, all of them busy
/// at once as they will be: chunks and optimizer steps of the shapes that make up most of the work,
/// on this rank's `device`, and the reductions of teams of every size. Takes about `budget_s`
/// seconds. Collective over `world`; the same on every rank. Trials that the corpus is too short
/// for are passed over, and so is the timing of those that would take too long.
scheduler::CostModel calibrate(const std::vector<const Trial*>& trials, const data::Corpus& corpus,
                               const comm::Communicator& world, const comm::Teams& teams,
                               at::Device device, double budget_s);

}  // namespace pg::study
