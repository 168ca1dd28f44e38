// ledger: what a trial will hold in memory, send and compute, before any of it runs. May know
// shard, model, ops, config and base.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "ledger/device.hpp"
#include "ledger/pass_memory.hpp"
#include "ledger/unit_memory.hpp"
#include "model/parameters.hpp"

namespace pg::ledger {

/// A trial, in what its memory and its time follow from.
struct Job {
  PassShape shape;              ///< of a chunk
  std::vector<UnitSize> units;  ///< in the order of the forward pass
  std::string precision = "float32";
  bool in_tree_order = true;  ///< reproducible: strict
  std::int64_t n_chunks = 1;  ///< of a batch
  std::int64_t batch = 1;     ///< sequences of a step
  std::int64_t steps = 1;
  double forward_flops = 0;  ///< of a sequence
  config::ShardSettings shard;
  int team = 1;       ///< ranks, a power of two
  bool saves = true;  ///< writes generations

  [[nodiscard]] int degree() const;    ///< ranks that share out the tensors
  [[nodiscard]] int replicas() const;  ///< team / degree
  /// Chunks that the busiest rank computes in a step, one after the other.
  [[nodiscard]] std::int64_t micro_steps() const;
  [[nodiscard]] std::int64_t n_parameters() const;
};

/// The team that a trial gets of `n_ranks`: all that have a chunk of its own to compute, or as many
/// as the degree asks for.
int team_of(std::int64_t n_chunks, std::int64_t degree, int n_ranks);

/// Elements of part `part` of `degree` (rows_of); the first has the most.
std::int64_t shard_elements(const std::vector<model::ParameterSpec>& specs, int degree, int part);

/// A line of the table of a rank's memory.
struct MemoryLine {
  const char* name;     ///< snake_case
  const char* meaning;  ///< how the bytes follow from the job
  std::int64_t bytes;
  bool on_host = false;  ///< not in the device's memory, where that is its own
};

/// What the first rank of a team holds at the fullest moment of a step, the most of all ranks. What
/// the libraries' products need beside their operands is not counted, nor what the heap loses.
std::vector<MemoryLine> memory_of(const Job& job, bool on_gpu);
/// The line base_process of that table: program and libraries before anything is trained.
std::int64_t process_bytes(bool on_gpu);
/// Of the lines in the memory of a device that computes; on a CPU that is all of them.
std::int64_t total_bytes(const std::vector<MemoryLine>& lines, bool on_gpu);

/// Bytes that a rank receives in a step, by where they come from.
struct Traffic {
  double in_node = 0;
  double between_nodes = 0;
  [[nodiscard]] double total() const { return in_node + between_nodes; }
};

struct Wire {
  Traffic gather_forward;   ///< all-gather of the units before their forward pass
  Traffic gather_backward;  ///< the same before the backward pass
  Traffic reduce;           ///< reduce-scatter of the gradients
  Traffic across;           ///< sum of the gradients over ranks with the same shard, there and back
  [[nodiscard]] Traffic total() const;
};
Wire wire_of(const Job& job, const Device& device);

/// A step of the busiest rank, bounded by the device's roofline.
struct StepTime {
  double compute_s = 0;    ///< matrix products at the device's efficiency
  double optimizer_s = 0;  ///< reading and writing gradients, moments and parameters once
  double messages_s = 0;   ///< on the wire
  double exposed_s = 0;    ///< of these, what no computation hides
  const char* bound = "";  ///< what takes the most
  [[nodiscard]] double total_s() const { return compute_s + optimizer_s + exposed_s; }
};
StepTime step_time(const Job& job, const Device& device);

/// FLOPs of a step over all ranks; what activation checkpointing computes again is in it.
double step_flops(const Job& job);

struct Ledger {
  Job job;
  std::vector<MemoryLine> memory;
  std::int64_t memory_bytes = 0;
  Wire wire;
  double flops = 0;
  StepTime time;
  double days = 0;          ///< of all steps
  double device_hours = 0;  ///< of the team's devices
  std::int64_t checkpoint_bytes = 0;
  double checkpoint_s = 0;  ///< written and read again
  [[nodiscard]] bool fits(const Device& device) const {
    return memory_bytes <= device.memory_bytes;
  }
};
Ledger ledger_of(const Job& job, const Device& device);

}  // namespace pg::ledger
