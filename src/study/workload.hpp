#pragma once

#include <cstdint>
#include <string>

#include "config/settings.hpp"
#include "data/corpus.hpp"
#include "scheduler/cost_model.hpp"

namespace pg::study {

/// What a trial has to do, in the words of the scheduler.
scheduler::Work work_of(const config::Settings& settings, const data::Corpus& corpus);

/// FLOPs of one token's forward pass; multiply and add are two, and attention counts the visible
/// half only where it is causal.
double forward_flops_per_token(const config::Settings& settings, std::int64_t vocabulary);

}  // namespace pg::study
