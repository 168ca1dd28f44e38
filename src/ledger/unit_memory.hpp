#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "config/settings.hpp"

namespace pg::ledger {

/// Elements of a unit.
struct UnitSize {
  std::int64_t elements = 0;
  std::int64_t operands = 0;         ///< of these
  std::int64_t packed = 0;           ///< of all of them, what is exchanged together
  std::int64_t packed_operands = 0;  ///< of these
  std::vector<std::int64_t> large;   ///< of each tensor that is exchanged in place

  /// Words of four bytes of its values where operands stand in half precision, or not: what parts
  /// are padded with is not counted.
  [[nodiscard]] std::int64_t words(bool half) const { return words_of(elements, operands, half); }
  [[nodiscard]] std::int64_t packed_words(bool half) const {
    return words_of(packed, packed_operands, half);
  }

 private:
  static std::int64_t words_of(std::int64_t all, std::int64_t operands, bool half) {
    return half ? all - operands + (operands + 1) / 2 : all;
  }
};

/// The memory of ShardedParameters beside the shards: its buffers at their fullest
/// moment in a pass, in words of four bytes.
class UnitMemory {
 public:
  /// What a buffer holds: values and gradients, whole, and of either what is exchanged together.
  enum class Use { values, gradients, packed_values, packed_gradients };

  /// `units`: in the order of the forward pass. `half`: operands are gathered in half precision.
  UnitMemory(std::vector<UnitSize> units, bool half, const config::ShardSettings& settings);

  /// Of the buffers that hold this at that moment.
  [[nodiscard]] std::int64_t words(Use use) const;

 private:
  [[nodiscard]] std::int64_t length(std::size_t unit, Use use) const;
  void take(std::size_t unit, Use use);
  void give_back(std::size_t unit, Use use);
  void start_gather(std::size_t unit);
  void gather(std::size_t unit);
  void release(std::size_t unit);
  void finish_reduction(std::size_t unit);
  void finish_units_after(std::size_t unit);
  void forward(std::size_t unit);
  void backward(std::size_t unit);

  std::vector<UnitSize> units_;
  bool half_;
  config::ShardSettings settings_;
  std::map<Use, std::int64_t> in_use_;
  std::map<Use, std::int64_t> fullest_;
  std::int64_t most_ = 0;
  struct State {
    bool values = false;
    bool gathering = false;
    bool gradients = false;
    bool reducing = false;
  };
  std::vector<State> states_;
};

/// Elements of the buffers that tree-ordered sums of these units receive into: half of what each
/// collective sums, for `in_flight` units at once, and one that is free serves again where it is
/// long enough.
std::int64_t received_elements(const std::vector<UnitSize>& units, std::int64_t in_flight);

}  // namespace pg::ledger
