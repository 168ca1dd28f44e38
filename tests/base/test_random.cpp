#include <array>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/random.hpp"

using namespace pg::random;

namespace {

using Words = std::array<std::uint32_t, 4>;

/// Limit that a chi-square of `cells` equally likely cells exceeds once in 10,000 times.
double chi_square_limit(std::size_t cells) {
  return quantile(boost::math::chi_squared(static_cast<double>(cells - 1)), 1 - 1e-4);
}

double chi_square(const std::vector<double>& counts) {
  double total = 0;
  for (const double count : counts) total += count;
  const double expected = total / static_cast<double>(counts.size());
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(random_numbers)

// The known-answer vectors that Random123 publishes for philox4x32-10.
BOOST_AUTO_TEST_CASE(philox_gives_the_published_answers) {
  BOOST_TEST(
      (philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  BOOST_TEST((philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) ==
              Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  BOOST_TEST(
      (philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
       Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

BOOST_AUTO_TEST_CASE(a_number_depends_on_all_its_coordinates_and_on_nothing_else) {
  std::set<std::uint64_t> seen;
  std::size_t count = 0;
  for (const std::uint64_t seed : {0ULL, 1ULL, 42ULL, ~0ULL}) {
    for (const auto purpose : {Purpose::test, Purpose::bootstrap}) {
      for (const std::uint64_t step : {0ULL, 1ULL, 1ULL << 32, ~0ULL}) {
        const Stream stream(seed, purpose, step);
        const Stream again(seed, purpose, step);
        for (const std::uint64_t index : {0ULL, 1ULL, 1ULL << 32, ~0ULL}) {
          BOOST_TEST(stream.bits(index) == again.bits(index));
          seen.insert(stream.bits(index));
          ++count;
        }
      }
    }
  }
  BOOST_TEST(seen.size() == count);
}

BOOST_AUTO_TEST_CASE(moments_of_the_distributions) {
  const Stream stream(3, Purpose::test);
  constexpr std::uint64_t kCount = 200'000;
  double uniform[2] = {};
  double normal[4] = {};
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double u = stream.uniform(i);
    BOOST_REQUIRE(u >= 0);
    BOOST_REQUIRE(u < 1);
    uniform[0] += u;
    uniform[1] += u * u;
    const double z = stream.normal(i);
    for (int power = 0; power < 4; ++power) normal[power] += std::pow(z, power + 1);
  }
  const double root = std::sqrt(static_cast<double>(kCount));
  const auto near = [&](double sum, double mean, double sd) {  // within four standard errors
    return std::abs(sum / static_cast<double>(kCount) - mean) < 4 * sd / root;
  };
  BOOST_TEST(near(uniform[0], 1.0 / 2, std::sqrt(1.0 / 12)));
  BOOST_TEST(near(uniform[1], 1.0 / 3, std::sqrt(4.0 / 45)));
  BOOST_TEST(near(normal[0], 0, 1));
  BOOST_TEST(near(normal[1], 1, std::sqrt(2)));
  BOOST_TEST(near(normal[2], 0, std::sqrt(15)));
  BOOST_TEST(near(normal[3], 3, std::sqrt(96)));
}

BOOST_AUTO_TEST_CASE(below_is_uniform) {
  const Stream stream(5, Purpose::test);
  for (const std::uint64_t bound : {1ULL, 2ULL, 7ULL, 100ULL}) {
    std::vector<double> counts(bound);
    for (std::uint64_t i = 0; i < 1000 * bound; ++i) {
      const std::uint64_t value = stream.below(bound, i);
      BOOST_REQUIRE(value < bound);
      ++counts[value];
    }
    if (bound > 1) BOOST_TEST(chi_square(counts) < chi_square_limit(counts.size()));
  }
}

BOOST_AUTO_TEST_CASE(a_permutation_is_a_bijection_for_every_size) {
  std::vector<std::uint64_t> sizes = {4095, 4096, 4097, 15625, 65535, 65536, 65537};
  for (std::uint64_t size = 1; size <= 300; ++size) sizes.push_back(size);
  for (const std::uint64_t size : sizes) {
    const Permutation order(size, Stream(11, Purpose::test, size));
    std::vector<bool> hit(size, false);
    for (std::uint64_t i = 0; i < size; ++i) {
      const std::uint64_t value = order(i);
      BOOST_REQUIRE(value < size);
      BOOST_REQUIRE(!hit[value]);
      hit[value] = true;
    }
  }
}

BOOST_AUTO_TEST_CASE(a_permutation_of_a_huge_range_stays_inside) {
  const std::uint64_t size = (1ULL << 40) + 12345;
  const Permutation order(size, Stream(11, Purpose::test));
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint64_t value = order(size - 1 - i);
    BOOST_REQUIRE(value < size);
    seen.insert(value);
  }
  BOOST_TEST(seen.size() == 1000U);
}

// Over many keys, every pair of places goes to every pair of values equally often. (Whole orders do
// not: a Feistel network is always an even permutation.)
BOOST_AUTO_TEST_CASE(places_and_pairs_of_places_are_uniform) {
  for (const std::uint64_t size : {5ULL, 17ULL}) {
    std::vector<double> counts(size * (size - 1));
    for (std::uint64_t key = 0; key < 100 * counts.size(); ++key) {
      const Permutation order(size, Stream(key, Purpose::test));
      const std::uint64_t first = order(0);
      const std::uint64_t last = order(size - 1);
      ++counts[first * (size - 1) + (last < first ? last : last - 1)];
    }
    BOOST_TEST(chi_square(counts) < chi_square_limit(counts.size()));
  }
}

BOOST_AUTO_TEST_CASE(name_hashes_are_fixed_and_differ) {
  // Initial weights depend on them: a change here would change every published number.
  BOOST_TEST(name_hash("") != 0U);
  std::set<std::uint64_t> seen;
  for (int layer = 0; layer < 1000; ++layer) {
    seen.insert(name_hash("block." + std::to_string(layer) + ".weight"));
  }
  BOOST_TEST(seen.size() == 1000U);
}

BOOST_AUTO_TEST_SUITE_END()
