#include "ledger/ledger.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.hpp"
#include "ops/bfloat16.hpp"
#include "shard/unit_layout.hpp"

namespace pg::ledger {
namespace {

bool is_half(const Job& job) {
  return job.precision != "float32";
}

Products products_of(const Job& job, bool on_gpu) {
  if (on_gpu) return is_half(job) ? Products::device_half : Products::device_float32;
  if (!is_half(job)) return Products::cpu_float32;
  const bool is_native = job.precision == "bfloat16" && ops::bfloat16_instructions() != nullptr;
  return is_native ? Products::cpu_bfloat16 : Products::cpu_rounded;
}

std::int64_t operands_of(const Job& job) {
  std::int64_t sum = 0;
  for (const UnitSize& unit : job.units) sum += unit.operands;
  return sum;
}

/// Buffers of a binary counter of n partial sums.
std::int64_t counter_buffers(std::int64_t n) {
  return std::bit_width(static_cast<std::uint64_t>(n));
}

/// `bytes` a rank holds in the end, of which each of n ranks brings an equal part; the ranks stand
/// `stride` apart.
Traffic received(double bytes, int n, int stride, int ranks_per_node) {
  const int neighbours = std::clamp(ranks_per_node / stride, 1, n);
  const double part = bytes / n;
  return {part * (neighbours - 1), part * (n - neighbours)};
}

Traffic operator+(const Traffic& a, const Traffic& b) {
  return {a.in_node + b.in_node, a.between_nodes + b.between_nodes};
}

Traffic operator*(double factor, const Traffic& a) {
  return {factor * a.in_node, factor * a.between_nodes};
}

double seconds_of(const Traffic& traffic, const Device& device) {
  return traffic.in_node / device.node_link_bytes_per_s +
         traffic.between_nodes / device.link_bytes_per_s;
}

/// Forward passes that a step costs: one, the backward pass's two, and one more for what is
/// computed again, which is all but the head.
double passes(const Job& job) {
  if (!job.shape.model.activation_checkpointing) return 3;
  const auto& head = job.shape.specs.front().shape;  // of the embedding's shape
  const double head_flops =
      2.0 * static_cast<double>(job.shape.n_targets) * static_cast<double>(head[0] * head[1]);
  return 4 - head_flops / job.forward_flops;
}

/// What sums in the tree's order receive into.
std::int64_t received_bytes(const Job& job) {
  if (!job.in_tree_order) return 0;
  const std::int64_t in_flight = std::max<std::int64_t>(1, job.shard.prefetch);
  std::int64_t elements = job.degree() > 1 ? received_elements(job.units, in_flight) : 0;
  // The first half of a sum over replicas of the shard.
  if (job.replicas() > 1) elements += shard_elements(job.shape.specs, job.degree(), 0) / 2;
  return kFloat * elements;
}

}  // namespace

int Job::degree() const {
  return shard.degree == 0 ? team : std::min(static_cast<int>(shard.degree), team);
}

int Job::replicas() const {
  return team / degree();
}

std::int64_t Job::micro_steps() const {
  // A group of ranks that share the tensors computes a sub-tree of the chunks.
  const auto leaves =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n_chunks)));
  const std::int64_t of_group = std::max<std::int64_t>(1, leaves / replicas());
  return (std::min(n_chunks, of_group) + degree() - 1) / degree();
}

std::int64_t Job::n_parameters() const {
  return shard_elements(shape.specs, 1, 0);
}

int team_of(std::int64_t n_chunks, std::int64_t degree, int n_ranks) {
  const auto most = static_cast<std::int64_t>(std::bit_floor(static_cast<unsigned>(n_ranks)));
  if (degree == 0) return static_cast<int>(most);
  const auto leaves =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n_chunks)));
  return static_cast<int>(std::min(most, std::max(leaves, degree)));
}

std::int64_t shard_elements(const std::vector<model::ParameterSpec>& specs, int degree, int part) {
  std::int64_t sum = 0;
  for (const model::ParameterSpec& spec : specs) sum += shard::rows_of(spec, part, degree).count;
  return sum;
}

std::int64_t process_bytes(bool on_gpu) {
  // On a CPU the resident memory of pgmpi after a tiny trial (203 to 206 MB on Debian 12): program,
  // LibTorch and what Debian's is linked with, MPI. On a GPU CUDA's context, library workspaces,
  // NCCL's channels: an assumption, never measured by this project.
  return on_gpu ? 1'500'000'000 : 200'000'000;
}

std::vector<MemoryLine> memory_of(const Job& job, bool on_gpu) {
  const int degree = job.degree();
  const std::int64_t shard = kFloat * shard_elements(job.shape.specs, degree, 0);
  const BytesByUse pass =
      pass_memory(job.shape, products_of(job, on_gpu), job.precision == "float16");
  const auto of = [&](Use use) { return pass[static_cast<std::size_t>(use)]; };
  std::int64_t gathered = 0;
  std::int64_t unit_gradients = 0;
  std::int64_t buffers = 0;
  if (degree > 1) {
    const UnitMemory units(job.units, is_half(job), job.shard);
    const auto bytes = [&](UnitMemory::Use use) { return kFloat * units.words(use); };
    gathered = bytes(UnitMemory::Use::values);
    unit_gradients = bytes(UnitMemory::Use::gradients);
    buffers = bytes(UnitMemory::Use::packed_values) + bytes(UnitMemory::Use::packed_gradients);
    // In the end each tensor is made whole for its hash, beside what a pass has left.
    std::int64_t largest = 0;
    for (const auto& spec : job.shape.specs) largest = std::max(largest, spec.n_elements());
    buffers += std::max<std::int64_t>(0, kFloat * largest - of(Use::activations) - of(Use::logits));
  }
  buffers += received_bytes(job);
  const bool sums = job.micro_steps() > 1 && (degree > 1 || job.in_tree_order);
  return {
      {"parameters",
       "4 bytes of each parameter of the shard, ceil(rows / degree) rows of each "
       "tensor",
       shard},
      {"rounded_operands", "2 bytes of each weight of a matrix product, where no rank gathers them",
       degree == 1 && is_half(job) ? kHalf * operands_of(job) : 0},
      {"gradients", "the same, of the gradients", shard},
      {"moments", "twice the same", 2 * shard},
      {"partial_sums", "the same for each digit of a binary counter of the rank's chunks",
       sums ? counter_buffers(job.micro_steps()) * shard : 0},
      {"gathered_units",
       "full parameters of the units in use and of those gathered ahead, as products take them",
       gathered},
      {"unit_gradients", "full gradients of the units in their backward pass or being summed",
       unit_gradients},
      {"communication_buffers",
       "a unit's small tensors while they are exchanged, half a unit for "
       "gradients that arrive, half the shard for sums over replicas",
       buffers},
      {"activations", "what the operators keep for the backward pass, and what runs",
       of(Use::activations)},
      {"logits", "logits of a piece of rows with their gradient, and the head's gradients",
       of(Use::logits)},
      {"checkpoint_copy", "12 bytes of each parameter, over the team",
       job.saves ? 12 * job.n_parameters() / job.team : 0, /*on_host=*/true},
      {"base_process", "program and libraries before anything is trained", process_bytes(on_gpu)},
  };
}

std::int64_t total_bytes(const std::vector<MemoryLine>& lines, bool on_gpu) {
  std::int64_t sum = 0;
  for (const MemoryLine& line : lines) sum += on_gpu && line.on_host ? 0 : line.bytes;
  return sum;
}

Traffic Wire::total() const {
  return gather_forward + gather_backward + reduce + across;
}

Wire wire_of(const Job& job, const Device& device) {
  Wire wire;
  const int degree = job.degree();
  const int local = device.ranks_per_node;
  const auto bytes = static_cast<double>(kFloat * job.n_parameters());
  if (job.replicas() > 1) {
    wire.across = 2 * received(bytes / degree, job.replicas(), degree, local);
  }
  if (degree == 1) return wire;
  const auto turns = static_cast<double>(job.micro_steps());
  const auto gathered = [&](const UnitSize& unit) {
    return static_cast<double>(kFloat * unit.words(is_half(job)));
  };
  double once = 0;
  for (const UnitSize& unit : job.units) once += gathered(unit);
  const double first = gathered(job.units.front());
  const double last = gathered(job.units.back());
  const bool again = job.shard.reshard_after_forward;
  // The first unit stays until the parameters change, without resharding all do.
  const double repeated = again ? once - first : 0;
  wire.gather_forward = received(once + (turns - 1) * repeated, degree, 1, local);
  if (again) wire.gather_backward = received(turns * (repeated - last), degree, 1, local);
  wire.reduce = received(turns * bytes, degree, 1, local);
  return wire;
}

double step_flops(const Job& job) {
  return passes(job) * job.forward_flops * static_cast<double>(job.batch);
}

StepTime step_time(const Job& job, const Device& device) {
  StepTime time;
  const double peak = is_half(job) ? device.half_flops : device.float32_flops;
  const auto sequences =
      static_cast<double>(std::min(job.batch, job.micro_steps() * job.shape.sequences));
  time.compute_s = passes(job) * job.forward_flops * sequences / (peak * device.efficiency);
  const auto shard = static_cast<double>(kFloat * shard_elements(job.shape.specs, job.degree(), 0));
  // AdamW reads four buffers and writes three; a partial sum reads two and writes one.
  const double touched = 7 + 3 * static_cast<double>(job.micro_steps());
  time.optimizer_s = touched * shard / device.memory_bytes_per_s;
  time.messages_s = seconds_of(wire_of(job, device).total(), device);
  const bool overlaps = job.degree() > 1 && job.shard.prefetch > 0;
  // The first gather and the last reduce-scatter have nothing to hide behind.
  const double ends = time.messages_s / static_cast<double>(job.units.size());
  time.exposed_s = overlaps ? std::max(ends, time.messages_s - time.compute_s) : time.messages_s;
  const Traffic traffic = wire_of(job, device).total();
  const bool nodes_apart = traffic.between_nodes / device.link_bytes_per_s >
                           traffic.in_node / device.node_link_bytes_per_s;
  const char* const link = nodes_apart ? "the link between nodes" : "the link inside a node";
  const double most = std::max({time.compute_s, time.optimizer_s, time.exposed_s});
  time.bound = most == time.compute_s     ? "matrix products"
               : most == time.optimizer_s ? "memory bandwidth"
                                          : link;
  return time;
}

Ledger ledger_of(const Job& job, const Device& device) {
  require(std::has_single_bit(static_cast<unsigned>(job.team)), "a team of 2^k ranks");
  Ledger ledger;
  ledger.job = job;
  ledger.memory = memory_of(job, device.is_gpu);
  ledger.memory_bytes = total_bytes(ledger.memory, device.is_gpu);
  ledger.wire = wire_of(job, device);
  ledger.flops = step_flops(job);
  ledger.time = step_time(job, device);
  const double seconds = ledger.time.total_s() * static_cast<double>(job.steps);
  ledger.days = seconds / 86400;
  ledger.device_hours = seconds * job.team / 3600;
  ledger.checkpoint_bytes = 12 * job.n_parameters();
  const int nodes = (job.team + device.ranks_per_node - 1) / device.ranks_per_node;
  ledger.checkpoint_s =
      2 * static_cast<double>(ledger.checkpoint_bytes) / (device.disk_bytes_per_s * nodes);
  return ledger;
}

}  // namespace pg::ledger
