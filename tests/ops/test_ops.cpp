#define BOOST_TEST_MODULE ops
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdint>

#include "ops/ops.hpp"

namespace {

/// Cycles a second, from a chain of multiplications that takes three or four a link.
double clock_at_most() {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kLinks = 20'000'000;
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    volatile std::uint64_t seed = 3;
    std::uint64_t x = seed;
    const auto start = Clock::now();
    for (std::int64_t i = 0; i < kLinks; ++i) x *= x | 1;
    seed = x;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 4.0 * static_cast<double>(kLinks) / seconds);
  }
  return best;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_peak_is_possible) {
  // No core does more than two multiply-adds of 16 lanes a cycle. A compiler that saw through the
  // measurement (the ten chains were alike once, and computed as one) would pass that.
  BOOST_TEST(pg::ops::measure_peak_flops() < 64 * clock_at_most());
}
