#pragma once

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "postprocess/stats/bootstrap.hpp"

// Seeded simulations that count how often an interval covers and a test errs.

namespace pg::test {

using Values = std::vector<double>;

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
inline constexpr std::size_t kRepetitions = 2000;  ///< of simulations that resample or iterate
inline constexpr std::size_t kFits = 10000;        ///< of simulations that solve
inline constexpr std::size_t kMany = 20000;        ///< of simulations that only average
#else
inline constexpr std::size_t kRepetitions =
    100;  // unoptimised: for the sanitizers, with wider limits
inline constexpr std::size_t kFits = 200;
inline constexpr std::size_t kMany = 500;
#endif

/// Half the band that a share of 2,000 repetitions must keep, for any other number of them.
inline double slack(double half, std::size_t n) {
  return half * std::max(1.0, std::sqrt(2000.0 / static_cast<double>(n)));
}

/// Numbers of one repetition: standard normal, one after the other.
class Noise {
 public:
  Noise(std::uint64_t seed, std::size_t repetition)
      : stream_(seed, random::Purpose::test, repetition) {}
  double operator()() { return stream_.normal(next_++); }
  Values normal(std::size_t n, double mean = 0, double sd = 1) {
    Values values(n);
    for (double& v : values) v = mean + sd * (*this)();
    return values;
  }

 private:
  random::Stream stream_;
  std::uint64_t next_ = 0;
};

/// Shares of the repetitions in which each of several things happens.
template <std::size_t N, typename Body>
std::array<double, N> shares(std::size_t repetitions, const Body& body) {
  std::vector<std::array<bool, N>> happened(repetitions);
  post::parallel_for(repetitions, 0, [&](std::size_t r) { happened[r] = body(r); });
  std::array<double, N> share{};
  for (const auto& row : happened) {
    for (std::size_t i = 0; i < N; ++i) share[i] += row[i] ? 1.0 : 0.0;
  }
  for (double& s : share) s /= static_cast<double>(repetitions);
  return share;
}

inline void check_share(const char* name, double share, double low, double high, std::size_t n) {
  BOOST_TEST_MESSAGE(name << ": " << share);
  const double middle = (low + high) / 2;
  const double half = slack((high - low) / 2, n);
  BOOST_TEST(
      (middle - half <= share && share <= middle + half),
      name << ": " << share << " is not in [" << middle - half << ", " << middle + half << "]");
}
inline void check_covers(const char* name, double share, std::size_t n) {
  check_share(name, share, 0.935, 0.965, n);
}
inline void check_size(const char* name, double share, std::size_t n) {
  check_share(name, share, 0.04, 0.06, n);
}
inline void check_at_most(const char* name, double share, double limit, std::size_t n) {
  BOOST_TEST_MESSAGE(name << ": " << share);
  BOOST_TEST(share <= limit + slack(0.01, n) - 0.01, name << ": " << share);
}

inline const Values kLnBatch = {std::log(8),   std::log(16),  std::log(32), std::log(64),
                                std::log(128), std::log(256), std::log(512)};

}  // namespace pg::test
