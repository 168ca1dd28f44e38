#include "ledger/unit_memory.hpp"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

// Follows ShardedParameters call by call.

namespace pg::ledger {

UnitMemory::UnitMemory(std::vector<UnitSize> units, bool half,
                       const config::ShardSettings& settings)
    : units_(std::move(units)), half_(half), settings_(settings), states_(units_.size()) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) forward(unit);
  for (std::size_t unit = units_.size(); unit-- > 1;) backward(unit);
  finish_units_after(0);
  take(0, Use::packed_gradients);
}

std::int64_t UnitMemory::length(std::size_t unit, Use use) const {
  const bool half = half_ && (use == Use::values || use == Use::packed_values);
  const bool packed = use == Use::packed_values || use == Use::packed_gradients;
  return packed ? units_[unit].packed_words(half) : units_[unit].words(half);
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
  if (std::exchange(state.values, true)) return;
  state.gathering = true;
  take(unit, Use::values);
  take(unit, Use::packed_values);
}

void UnitMemory::gather(std::size_t unit) {
  start_gather(unit);
  if (std::exchange(states_[unit].gathering, false)) give_back(unit, Use::packed_values);
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
  if (!std::exchange(states_[unit].reducing, false)) return;
  give_back(unit, Use::packed_gradients);
  give_back(unit, Use::gradients);
}

void UnitMemory::finish_units_after(std::size_t unit) {
  const auto in_flight = static_cast<std::size_t>(std::max<std::int64_t>(1, settings_.prefetch));
  for (std::size_t u = units_.size() - 1; u > unit; --u) {
    if (!states_[u].gradients) continue;
    for (std::size_t older = u + in_flight; older < units_.size(); ++older) {
      finish_reduction(older);
    }
    if (settings_.reshard_after_forward) release(u);
    take(u, Use::packed_gradients);
    states_[u].reducing = true;
    states_[u].gradients = false;
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
  std::multiset<std::int64_t> free;
  std::deque<std::vector<std::int64_t>> in_use;  // of a unit each
  std::int64_t sum = 0;
  for (std::size_t unit = units.size(); unit-- > 0;) {
    if (static_cast<std::int64_t>(in_use.size()) == in_flight) {
      free.insert(in_use.front().begin(), in_use.front().end());
      in_use.pop_front();
    }
    auto& taken = in_use.emplace_back();
    const auto take = [&](std::int64_t elements) {
      const std::int64_t half = (elements + 1) / 2;
      const auto fits = free.lower_bound(half);
      if (fits != free.end()) {
        taken.push_back(*fits);
        free.erase(fits);
      } else {
        taken.push_back(half);
        sum += half;
      }
    };
    for (const std::int64_t elements : units[unit].large) take(elements);
    take(units[unit].packed);
  }
  return sum;
}

}  // namespace pg::ledger
