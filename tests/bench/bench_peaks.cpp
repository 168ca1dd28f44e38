// What one core of this machine can do, in one line of key=value: multiply-adds in float32, large
// products in float32 and in bfloat16, and memory read and copied. Usage: bench_peaks
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ledger/device.hpp"
#include "ops/ops.hpp"
#include "train/large_blocks.hpp"
#include "train/trainer.hpp"

namespace {

namespace ops = pg::ops;

/// `work` per second in the best of some runs: what is asked here is what the machine can do, and
/// everything that disturbs a run makes it slower.
double best_rate(double work, const std::function<void()>& body) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRepeats = 7;
  double best = 0;
  body();  // warms up
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = Clock::now();
    body();
    best = std::max(best, work / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

double product_rate(ops::Precision precision) {
  constexpr std::int64_t kSize = 1024;
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({kSize, kSize});
  const at::Tensor w = at::randn({kSize, kSize});
  return best_rate(2.0 * kSize * kSize * kSize,
                   [&] { (void)ops::linear(x, w, std::nullopt, precision); });
}

// More than any cache holds.
constexpr std::size_t kWords = std::size_t{32} << 20;
constexpr double kBytes = 8.0 * kWords;

double read_rate() {
  const std::vector<std::uint64_t> from(kWords, 1);
  volatile std::uint64_t sink = 0;
  return best_rate(kBytes, [&] {
    constexpr std::size_t kLanes = 32;  // sums that do not wait for each other
    std::uint64_t sums[kLanes] = {};
    for (std::size_t i = 0; i < kWords; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += from[i + lane];
    }
    for (const std::uint64_t sum : sums) sink = sink + sum;
  });
}

}  // namespace

int main(int argc, char**) {
  if (argc != 1) {
    fmt::print(stderr, "usage: bench_peaks\n");
    return 64;
  }
  pg::train::use_one_thread();
  pg::train::keep_large_blocks();  // or products would be timed with the making of their pages
  std::string instructions = ops::instruction_set();
  std::erase(instructions, ' ');
  const auto machine = pg::ledger::device_named("cpu", 1);
  fmt::print(
      "instruction_set={} multiply_add_flops={:.6g} linear_float32_flops={:.6g} "
      "linear_bfloat16_flops={:.6g} read_bytes_per_s={:.6g} copy_bytes_per_s={:.6g}\n",
      instructions, machine.float32_flops, product_rate(ops::Precision::float32),
      product_rate(ops::Precision::bfloat16), read_rate(), machine.memory_bytes_per_s);
  return 0;
}
