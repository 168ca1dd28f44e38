#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/peak.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <chrono>

#include "ops/ops.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// `rounds` times ten multiply-adds that do not wait for each other: more than any core has in
/// flight. Returns their sum, so that the work is needed. `start` must not be known to the
/// compiler, which would compute the ten as one if it saw that they are alike.
float multiply_add(std::int64_t rounds, const float* start, double& flops) {
  const Vec factor = set(0.999F);
  const Vec term = set(0.001F);
  Vec a = set(start[0]), b = set(start[1]), c = set(start[2]), d = set(start[3]), e = set(start[4]),
      f = set(start[5]), g = set(start[6]), h = set(start[7]), i = set(start[8]), j = set(start[9]);
  for (std::int64_t round = 0; round < rounds; ++round) {
    a = hn::MulAdd(a, factor, term);
    b = hn::MulAdd(b, factor, term);
    c = hn::MulAdd(c, factor, term);
    d = hn::MulAdd(d, factor, term);
    e = hn::MulAdd(e, factor, term);
    f = hn::MulAdd(f, factor, term);
    g = hn::MulAdd(g, factor, term);
    h = hn::MulAdd(h, factor, term);
    i = hn::MulAdd(i, factor, term);
    j = hn::MulAdd(j, factor, term);
  }
  flops = 20.0 * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(Floats()));
  const Vec first = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, d)), hn::Add(e, f));
  return sum_lanes(hn::Add(first, hn::Add(hn::Add(g, h), hn::Add(i, j))));
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops {
namespace {
HWY_EXPORT(multiply_add);
}  // namespace

double measure_peak_flops() {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kRounds = 400000;
  double best = 0;
  volatile float sink = 0;
  const float start[10] = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F, 0.9F, 1.0F};
  for (int repeat = 0; repeat < 5; ++repeat) {
    double flops = 0;
    const auto begin = Clock::now();
    sink = sink + HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, start, flops);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, flops / seconds);
  }
  return best;
}

}  // namespace pg::ops
#endif  // HWY_ONCE
