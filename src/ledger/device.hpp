#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pg::ledger {

/// What a rank computes on, in the figures that bound a step. Rates in units per second.
struct Device {
  std::string name;
  bool is_gpu = true;
  std::int64_t memory_bytes = 0;  ///< of a rank
  double float32_flops = 0;       ///< peak of matrix products
  double half_flops = 0;          ///< the same in bfloat16 or float16, sums in float32
  double efficiency = 0;          ///< share of the peak that training reaches
  std::string efficiency_source;  ///< where that is from
  double memory_bytes_per_s = 0;  ///< peak bandwidth
  int ranks_per_node = 1;
  double node_link_bytes_per_s = 0;  ///< of a rank, each way, inside a node
  double link_bytes_per_s = 0;       ///< of a rank, each way, between nodes
  double disk_bytes_per_s = 0;       ///< of a node, writing or reading
};

/// The names that device_named() knows.
std::vector<std::string> known_devices();

/// A device of the table; "cpu" is this machine, of which each of `n_ranks` ranks has its share of
/// the memory; its rates are measured, which takes a fraction of a second. Throws InvalidInput
/// (settings) for an unknown name, listing the known ones.
Device device_named(const std::string& name, int n_ranks);

}  // namespace pg::ledger
