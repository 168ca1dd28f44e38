#include "ledger/unit_memory.hpp"

#include <algorithm>
#include <deque>
#include <utility>

// Follows ShardedParameters call by call.

namespace pg::ledger {

UnitMemory::UnitMemory(std::vector<UnitSize> units, bool half,
                       const config::ShardSettings& settings)
    : units_(std::move(units)), half_(half), settings_(settings), states_(units_.size()) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) forward(unit);
  for (std::size_t unit = units_.size(); unit-- > 1;) backward(unit);
  finish_units_after(0);
  take(0, Use::gradients_on_wire);
  give_back(0, Use::gradients);
}

std::int64_t UnitMemory::length(std::size_t unit, Use use) const {
  const bool values = use == Use::values || use == Use::values_on_wire;
  return units_[unit].words(values && half_);
}

std::int64_t UnitMemory::words(Use use) const {
  const auto found = fullest_.find(use);
  return found == fullest_.end() ? 0 : found->second;
}

void UnitMemory::take(std::size_t unit, Use use) {
  in_use_[use] += length(unit, use);
  std::int64_t total = 0;
  for (const auto& [each, words] : in_use_) total += words;
  if (total <= most_) return;
  most_ = total;
  fullest_ = in_use_;
}

void UnitMemory::give_back(std::size_t unit, Use use) {
  in_use_[use] -= length(unit, use);
}

void UnitMemory::start_gather(std::size_t unit) {
  State& state = states_[unit];
  if (state.values || state.gathering) return;
  state.gathering = true;
  take(unit, Use::values_on_wire);
}

void UnitMemory::gather(std::size_t unit) {
  State& state = states_[unit];
  if (state.values) return;
  start_gather(unit);
  take(unit, Use::values);
  give_back(unit, Use::values_on_wire);
  state.gathering = false;
  state.values = true;
}

void UnitMemory::release(std::size_t unit) {
  if (std::exchange(states_[unit].values, false)) give_back(unit, Use::values);
}

void UnitMemory::forward(std::size_t unit) {
  gather(unit);
  const auto last =
      std::min(unit + static_cast<std::size_t>(settings_.prefetch), units_.size() - 1);
  for (std::size_t next = unit + 1; next <= last; ++next) start_gather(next);
  const bool stays = unit == 0 || unit + 1 == units_.size();
  if (settings_.reshard_after_forward && !stays) release(unit);
}

void UnitMemory::finish_reduction(std::size_t unit) {
  if (std::exchange(states_[unit].reducing, false)) give_back(unit, Use::gradients_on_wire);
}

void UnitMemory::finish_units_after(std::size_t unit) {
  const auto in_flight = static_cast<std::size_t>(std::max<std::int64_t>(1, settings_.prefetch));
  for (std::size_t u = units_.size() - 1; u > unit; --u) {
    if (!states_[u].gradients) continue;
    for (std::size_t older = u + in_flight; older < units_.size(); ++older) {
      finish_reduction(older);
    }
    if (settings_.reshard_after_forward) release(u);
    take(u, Use::gradients_on_wire);
    states_[u].reducing = true;
    states_[u].gradients = false;
    give_back(u, Use::gradients);
    if (settings_.prefetch == 0) finish_reduction(u);
  }
}

void UnitMemory::backward(std::size_t unit) {
  const auto make_gradients = [&](std::size_t u) {
    if (!std::exchange(states_[u].gradients, true)) take(u, Use::gradients);
  };
  make_gradients(0);
  finish_units_after(unit);
  gather(unit);
  make_gradients(unit);
  for (std::int64_t k = 1; k <= settings_.prefetch && static_cast<std::size_t>(k) < unit; ++k) {
    start_gather(unit - static_cast<std::size_t>(k));
  }
}

std::int64_t received_elements(const std::vector<UnitSize>& units, std::int64_t in_flight) {
  std::vector<std::int64_t> free;
  std::deque<std::int64_t> in_use;
  std::int64_t sum = 0;
  for (std::size_t unit = units.size(); unit-- > 0;) {
    if (static_cast<std::int64_t>(in_use.size()) == in_flight) {
      free.push_back(in_use.front());
      in_use.pop_front();
    }
    const std::int64_t half = (units[unit].elements + 1) / 2;
    const auto fits =
        std::find_if(free.begin(), free.end(), [&](std::int64_t n) { return n >= half; });
    if (fits != free.end()) {
      in_use.push_back(*fits);
      free.erase(fits);
    } else {
      in_use.push_back(half);
      sum += half;
    }
  }
  return sum;
}

}  // namespace pg::ledger
