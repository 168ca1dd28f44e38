// train: one trial from its settings to its record: step, loop, schedule, metrics. May know model,
// data, record, ops, config and base; nothing of other trials.
#pragma once

#include <cstdint>

#include "config/settings.hpp"

namespace pg::train {

/// Learning rate of step t, counted from 0, of `steps`: peak * min(1, (t + 1) / warmup_steps) in
/// the warm-up, then constant, or linear or half a cosine down to final_fraction * peak at the last
/// step.
double learning_rate(double peak, const config::ScheduleSettings& schedule, std::int64_t steps,
                     std::int64_t t);

}  // namespace pg::train
