#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "config/settings.hpp"

namespace pg::shard {

/// The memory of ShardedParameters beside the shards: the buffers of its pool at their fullest
/// moment in a pass, in elements.
class UnitMemory {
 public:
  /// What a buffer holds.
  enum class Use { values, gradients, wire };

  /// `units`: elements of each unit in the order of the forward pass.
  UnitMemory(std::vector<std::int64_t> units, const config::ShardSettings& settings);

  /// Of the buffers that hold this at that moment.
  [[nodiscard]] std::int64_t elements(Use use) const;

 private:
  void take(std::size_t unit, Use use);
  void give_back(std::size_t unit, Use use);
  void start_gather(std::size_t unit);
  void gather(std::size_t unit);
  void release(std::size_t unit);
  void finish_reduction(std::size_t unit);
  void finish_units_after(std::size_t unit);
  void forward(std::size_t unit);
  void backward(std::size_t unit);

  std::vector<std::int64_t> units_;
  config::ShardSettings settings_;
  std::map<Use, std::int64_t> in_use_;
  std::map<Use, std::int64_t> fullest_;
  std::int64_t most_ = 0;
  std::map<std::int64_t, std::int64_t> free_;  ///< buffers by their elements
  struct State {
    bool values = false;
    bool gathering = false;
    bool gradients = false;
    bool reducing = false;
  };
  std::vector<State> states_;
};

/// Elements of the buffers that tree-ordered sums of these units receive into: half a unit each,
/// `in_flight` of them at once, and one that is free serves again where it is long enough.
std::int64_t received_elements(const std::vector<std::int64_t>& units, std::int64_t in_flight);

}  // namespace pg::shard
