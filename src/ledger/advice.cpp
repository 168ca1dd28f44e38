#include "ledger/advice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "base/text.hpp"

namespace pg::ledger {
namespace {

constexpr int kMostRanks = 1024;

/// How far each of the five settings is moved, in the order of reluctance.
enum Knob : std::size_t { kRanks, kPrecision, kChunk, kCheckpointing, kDegree, kKnobs };
using Moves = std::array<int, kKnobs>;

std::int64_t degree_after(const Job& job, int moves) {
  return static_cast<std::int64_t>(job.degree()) << moves;
}

/// Moves that each knob has left.
Moves limits(const Job& job, int n_ranks, const Device& device) {
  const auto log2_of = [](std::int64_t n) {
    return static_cast<int>(
               std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(1, n)))) -
           1;
  };
  Moves most{};
  if (device.is_gpu) most[kRanks] = std::max(0, log2_of(kMostRanks / n_ranks));
  most[kPrecision] = job.precision == "float32" ? 1 : 0;
  most[kChunk] = log2_of(2 * job.shape.sequences - 1);  // to one sequence
  most[kCheckpointing] = job.shape.model.activation_checkpointing ? 0 : 1;
  // The whole team is the most; with more ranks it grows.
  most[kDegree] = job.shard.degree == 0 ? 0 : log2_of(n_ranks / job.degree()) + most[kRanks];
  return most;
}

std::optional<Advice> moved(const Job& job, int n_ranks, const Moves& moves) {
  Advice advice;
  advice.job = job;
  Job& changed = advice.job;
  const int ranks = n_ranks << moves[kRanks];
  const auto set = [&](const char* path, const auto& value) {
    advice.settings.push_back(fmt::format("{}={}", path, value));
  };
  if (moves[kDegree] > 0) {
    changed.shard.degree = degree_after(job, moves[kDegree]);
    if (changed.shard.degree > ranks) return std::nullopt;
    set("shard.degree", changed.shard.degree);
  }
  if (moves[kCheckpointing] > 0) {
    changed.shape.model.activation_checkpointing = true;
    set("model.activation_checkpointing", true);
  }
  if (moves[kChunk] > 0) {
    const std::int64_t pieces = std::int64_t{1} << moves[kChunk];
    changed.shape.sequences = (job.shape.sequences + pieces - 1) / pieces;
    changed.n_chunks = (job.batch + changed.shape.sequences - 1) / changed.shape.sequences;
    set("train.chunk", changed.shape.sequences);
  }
  if (moves[kPrecision] > 0) {
    changed.precision = "bfloat16";
    set("train.precision", changed.precision);
  }
  if (moves[kRanks] > 0) advice.n_ranks = ranks;
  changed.team = team_of(changed.n_chunks, changed.shard.degree, ranks);
  return advice;
}

}  // namespace

std::string Advice::words() const {
  std::vector<std::string> parts;
  for (const std::string& setting : settings) parts.push_back("--set " + setting);
  if (n_ranks > 0) parts.push_back(fmt::format("--ranks {}", n_ranks));
  return join(parts, " ");
}

std::optional<Advice> nearest_fit(const Job& job, int n_ranks, const Device& device) {
  const Moves most = limits(job, n_ranks, device);
  std::vector<Moves> all;
  Moves now{};
  for (bool more = true; more;) {
    all.push_back(now);
    more = false;
    for (std::size_t knob = 0; knob < kKnobs && !more; ++knob) {
      more = now[knob] < most[knob];
      now[knob] = more ? now[knob] + 1 : 0;
    }
  }
  const auto n_changes = [](const Moves& m) { return kKnobs - std::count(m.begin(), m.end(), 0); };
  std::sort(all.begin(), all.end(), [&](const Moves& a, const Moves& b) {
    return std::pair(n_changes(a), a) < std::pair(n_changes(b), b);
  });
  for (const Moves& moves : all) {
    const auto advice = moved(job, n_ranks, moves);
    if (!advice) continue;
    const auto memory = memory_of(advice->job, device.is_gpu);
    if (total_bytes(memory, device.is_gpu) <= device.memory_bytes) return advice;
  }
  return std::nullopt;
}

}  // namespace pg::ledger
