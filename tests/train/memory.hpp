// What training takes in memory, measured twice: by a count of what tensors allocate, and by the
// resident memory of the process.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "config/study.hpp"
#include "data/corpus.hpp"
#include "train/cpu_allocator.hpp"
#include "train/derived.hpp"
#include "train/large_blocks.hpp"
#include "train/peak_memory.hpp"
#include "train/trainer.hpp"

namespace pg::testing {

/// Counts the bytes of tensors, in front of the library's own allocator.
class CountingAllocator final : public train::CpuAllocator {
 public:
  /// From now on, for the whole process.
  static CountingAllocator& install() {
    static CountingAllocator counting = [] {
      train::keep_large_blocks();
      return CountingAllocator(c10::GetCPUAllocator());
    }();
    constexpr std::uint8_t kBeforeTheDefault = 1;
    c10::SetCPUAllocator(&counting, kBeforeTheDefault);
    return counting;
  }
  at::DataPtr make(std::size_t n) const override {
    auto held = std::make_unique<Held>(Held{base_->allocate(n), static_cast<std::int64_t>(n)});
    now_ += held->n;
    most_ = std::max(most_, now_);
    void* const data = held->data.get();
    return {data, held.release(), &release, at::kCPU};
  }
  [[nodiscard]] std::int64_t now() const { return now_; }
  [[nodiscard]] std::int64_t most() const { return most_; }
  void forget_most() { most_ = now_; }

 private:
  explicit CountingAllocator(at::Allocator* base) : base_(base) {}
  struct Held {
    at::DataPtr data;
    std::int64_t n;
  };
  static void release(void* context) {
    const std::unique_ptr<Held> held(static_cast<Held*>(context));
    now_ -= held->n;
  }

  at::Allocator* base_;
  static inline std::int64_t now_ = 0;
  static inline std::int64_t most_ = 0;
};

/// Bytes; what is free goes back to the system first.
inline double resident_bytes() {
  ::malloc_trim(0);
  train::forget_large_blocks();
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// Bytes.
struct MemoryFigures {
  double process = 0;    ///< resident before anything was trained
  double tensors = 0;    ///< most bytes of tensors at once while it trained
  double resident = 0;   ///< largest resident memory, less that of the process
  double predicted = 0;  ///< by the ledger, without the process itself

  /// The ledger's total over the measured peak, both with this process itself.
  [[nodiscard]] double total_ratio() const { return (process + predicted) / (process + resident); }
};

/// (path, value) of settings.
using Values = std::vector<std::pair<const char*, const char*>>;

/// A run as short as one can be that reaches its peak.
inline config::Settings short_run(const Values& values = {}) {
  config::Settings s;
  s.train.steps = 2;
  s.eval.sequences = 1;
  s.eval.interval = 1000;
  s.eval.tail_steps = 1;
  s.schedule.warmup_steps = 0;
  for (const auto& [path, value] : values) s = config::with(s, path, value);
  return s;
}

/// Trains on the team and measures this rank; the prediction is for the first one.
inline MemoryFigures measure_memory(const config::Settings& settings, const data::Corpus& corpus,
                                    const comm::Communicator& team,
                                    const config::ShardSettings& shard) {
  auto& counting = CountingAllocator::install();
  MemoryFigures figures;
  auto job = train::job_of(settings, corpus.vocabulary(), shard, team.size());
  job.saves = false;
  constexpr bool kOnGpu = false;
  const auto lines = ledger::memory_of(job, kOnGpu);
  figures.predicted =
      static_cast<double>(ledger::total_bytes(lines, kOnGpu) - ledger::process_bytes(kOnGpu));
  figures.process = resident_bytes();
  const std::int64_t before = counting.now();
  train::Trainer trainer(settings, corpus, team, {.shard = shard});
  counting.forget_most();
  record::TrialRecord record;
  trainer.run([](const train::Progress&) { return true; }, record);
  figures.tensors = static_cast<double>(counting.most() - before);
  figures.resident = 1e6 * train::peak_memory_mb() - figures.process;
  return figures;
}

/// The same libraries and operators in the smallest size, so that they are loaded and compiled.
inline config::Settings tiny(config::Settings settings) {
  settings.model.n_layers = 1;
  settings.model.d_model = 64;
  settings.model.n_heads = 2;
  settings.model.n_kv_heads = 0;
  settings.model.d_head = 0;
  settings.model.d_ff = 64;
  settings.model.vocab_size = 0;
  settings.model.n_positions = 0;
  settings.data.sequence_length = 64;
  return settings;
}

}  // namespace pg::testing
