#include "train/schedule.hpp"

#include <cmath>
#include <numbers>

namespace pg::train {

double learning_rate(double peak, const config::ScheduleSettings& schedule, std::int64_t steps,
                     std::int64_t t) {
  const std::int64_t warmup = schedule.warmup_steps;
  if (t < warmup) return peak * static_cast<double>(t + 1) / static_cast<double>(warmup);
  if (schedule.kind == "constant") return peak;
  // Progress is 0 at the end of the warm-up and 1 at the last step.
  const std::int64_t start = std::max<std::int64_t>(warmup - 1, 0);
  const std::int64_t span = steps - 1 - start;
  const double progress =
      span > 0 ? static_cast<double>(t - start) / static_cast<double>(span) : 1.0;
  const double remaining =
      schedule.kind == "linear" ? 1 - progress : 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return peak * (schedule.final_fraction + (1 - schedule.final_fraction) * remaining);
}

}  // namespace pg::train
