#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "scheduler/cost_model.hpp"

// Studies that the tests schedule.
namespace pg::scheduler::mixes {

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
inline constexpr bool kFast = true;
#else
inline constexpr bool kFast = false;  // fewer and smaller problems, and no word on time
#endif

inline constexpr double kTokensPerS = 95e3;  // the nano transformer on one core
inline constexpr double kChunkS = 4 * 256 / kTokensPerS;
inline constexpr std::int64_t kGradientBytes = 543'232;

/// A model for which one chunk of four sequences takes kChunkS and a step beside it 0.4 ms.
inline Assumptions assumptions() {
  Assumptions assumed;
  assumed.step_seconds_per_byte = 0.4e-3 / kGradientBytes;
  assumed.communication = {30e-6, 1 / 1.5e9};
  return assumed;
}

/// `cost`: parameters and FLOPs as a multiple of the nano transformer's.
inline Work work(int batch, int chunk, std::int64_t steps, double cost = 1) {
  Work work;
  work.steps = steps;
  work.n_chunks = (batch + chunk - 1) / chunk;
  work.eval_chunks = 29 * 100;
  work.chunk_flops = cost * kChunkS * chunk / 4 * assumptions().flops_per_s;
  work.shape = std::to_string(cost) + "/" + std::to_string(chunk);
  work.gradient_bytes = static_cast<std::int64_t>(cost * kGradientBytes);
  return work;
}

/// The grid of the source: 7 batches x 7 learning rates.
inline std::vector<Work> grid(int chunk) {
  std::vector<Work> works;
  for (int batch = 8; batch <= 512; batch *= 2)
    works.insert(works.end(), 7, work(batch, chunk, 5000));
  return works;
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : stream_(seed, random::Purpose::test) {}
  double uniform() { return stream_.uniform(next_++); }
  double log_uniform(double low, double high) { return low * std::pow(high / low, uniform()); }
  int below(int bound) {
    return static_cast<int>(stream_.below(static_cast<std::uint64_t>(bound), next_++));
  }

 private:
  random::Stream stream_;
  std::uint64_t next_ = 0;
};

struct Mix {
  std::string name;
  std::vector<Work> works;
};

inline std::vector<Mix> mixed(std::size_t n, std::uint64_t seed) {
  std::vector<Mix> mixes;
  Dice dice(seed);
  const auto add = [&](const std::string& name, auto make) {
    Mix mix{name, {}};
    for (std::size_t i = 0; i < n; ++i) mix.works.push_back(make(i));
    mixes.push_back(mix);
  };
  constexpr std::int64_t kSteps[] = {2000, 5000, 20000};
  add("mixed", [&](std::size_t) {
    return work(8 << dice.below(7), 4, kSteps[dice.below(3)], dice.log_uniform(1, 32));
  });
  add("any batch", [&](std::size_t) {
    return work(8 + dice.below(505), 4, kSteps[dice.below(3)], dice.log_uniform(1, 32));
  });
  add("one model", [&](std::size_t) { return work(8 << dice.below(7), 4, 5000); });
  add("all equal", [&](std::size_t) { return work(256, 4, 5000, 4); });
  add("few long, many short", [&](std::size_t i) {
    return i < n / 50 ? work(512, 4, 50000, 16) : work(8 << dice.below(4), 4, 2000, 2);
  });
  add("heavy tail", [&](std::size_t) {  // Pareto, exponent 1.2, cut at 1000
    const double pareto = std::pow(1 - dice.uniform() * (1 - std::pow(1000.0, -1.2)), -1 / 1.2);
    return work(8 << dice.below(7), 4, static_cast<std::int64_t>(1000 * pareto), 4);
  });
  add("small batches", [&](std::size_t) {
    return work(8 << dice.below(3), 4, kSteps[dice.below(3)], dice.log_uniform(1, 32));
  });
  add("two steps", [&](std::size_t) {
    return work(32 << dice.below(5), 4, dice.below(2) == 0 ? 2000 : 20000, 8);
  });
  return mixes;
}

}  // namespace pg::scheduler::mixes
