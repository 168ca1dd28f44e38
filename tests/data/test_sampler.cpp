#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <numeric>
#include <vector>

#include "base/error.hpp"
#include "data/sampler.hpp"

using namespace pg::data;

namespace {

std::vector<std::int64_t> epoch_positions(const Sampler& sampler, std::int64_t epoch) {
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < sampler.n_windows(); ++i) {
    positions.push_back(sampler.position(epoch * sampler.n_windows() + i, 0, 1));
  }
  return positions;
}

/// Pearson's sum over equally likely cells lies below a limit that is crossed once in 10,000 times.
bool looks_uniform(const std::vector<double>& counts) {
  const double expected =
      std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum < quantile(boost::math::chi_squared(static_cast<double>(counts.size() - 1)), 1 - 1e-4);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sampler)

BOOST_AUTO_TEST_CASE(an_epoch_uses_every_window_once) {
  for (const std::int64_t length : {1, 2, 7, 32}) {
    for (std::int64_t n_tokens = length + 1; n_tokens < 6 * length + 40; ++n_tokens) {
      const Sampler sampler(n_tokens, length, 42);
      for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        std::vector<std::int64_t> positions = epoch_positions(sampler, epoch);
        std::sort(positions.begin(), positions.end());
        const std::int64_t phase = positions.front();
        BOOST_REQUIRE(phase >= 0);
        BOOST_REQUIRE(phase < length);
        for (std::size_t i = 0; i < positions.size(); ++i) {
          BOOST_REQUIRE(positions[i] == phase + static_cast<std::int64_t>(i) * length);
        }
        BOOST_REQUIRE(positions.back() + length + 1 <= n_tokens);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(no_further_window_would_fit_at_the_largest_phase) {
  const Sampler sampler(1000, 32, 1);
  BOOST_TEST(sampler.n_windows() == 30);  // (1000 - 32) / 32 = 30.25
  BOOST_TEST(Sampler(33, 32, 1).n_windows() == 1);
  BOOST_TEST(Sampler(33, 32, 1).position(5, 3, 8) == 0);
}

BOOST_AUTO_TEST_CASE(a_sample_does_not_depend_on_how_the_batch_is_cut) {
  const Sampler sampler(10'000, 16, 42);
  const Sampler again(10'000, 16, 42);
  for (std::int64_t sample = 2000; sample-- > 0;) {  // in any order
    const std::int64_t expected = sampler.position(sample, 0, 1);
    BOOST_REQUIRE(sampler.position(sample / 8, sample % 8, 8) == expected);
    BOOST_REQUIRE(again.position(sample / 512, sample % 512, 512) == expected);
  }
}

BOOST_AUTO_TEST_CASE(seeds_and_epochs_differ) {
  const Sampler sampler(100'000, 16, 42);
  const auto first = epoch_positions(sampler, 0);
  const auto second = epoch_positions(sampler, 1);
  const auto other_seed = epoch_positions(Sampler(100'000, 16, 43), 0);
  const auto equal_places = [&](const std::vector<std::int64_t>& other) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < first.size(); ++i) count += first[i] / 16 == other[i] / 16 ? 1 : 0;
    return count;
  };
  // Of 6,249 places a random order keeps one on average; ten happen once in ten million times.
  BOOST_TEST(equal_places(second) < 10U);
  BOOST_TEST(equal_places(other_seed) < 10U);
}

BOOST_AUTO_TEST_CASE(phases_and_places_are_uniform) {
  constexpr std::int64_t kLength = 16;
  const Sampler sampler(16 * 21, kLength, 7);
  BOOST_REQUIRE(sampler.n_windows() == 20);
  std::vector<double> phases(16);
  std::vector<double> first_windows(20);
  std::vector<double> last_windows(20);
  for (std::int64_t epoch = 0; epoch < 4000; ++epoch) {
    const std::int64_t first = sampler.position(epoch * 20, 0, 1);
    const std::int64_t last = sampler.position(epoch * 20 + 19, 0, 1);
    ++phases[static_cast<std::size_t>(first % kLength)];
    ++first_windows[static_cast<std::size_t>(first / kLength)];
    ++last_windows[static_cast<std::size_t>(last / kLength)];
  }
  BOOST_TEST(looks_uniform(phases));
  BOOST_TEST(looks_uniform(first_windows));
  BOOST_TEST(looks_uniform(last_windows));
}

// Over many epochs the inner tokens are targets equally often, and the outermost tokens still are.
BOOST_AUTO_TEST_CASE(every_token_is_a_target_in_some_epoch) {
  constexpr std::int64_t kTokens = 500;
  constexpr std::int64_t kLength = 16;
  constexpr std::int64_t kEpochs = 400;
  const Sampler sampler(kTokens, kLength, 3);
  std::vector<std::int64_t> used(kTokens);
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    for (const std::int64_t position : epoch_positions(sampler, epoch)) {
      for (std::int64_t t = 1; t <= kLength; ++t) ++used[static_cast<std::size_t>(position + t)];
    }
  }
  BOOST_TEST(used[0] == 0);  // nothing stands before it
  const std::int64_t end = sampler.n_windows() * kLength;
  for (std::int64_t token = kLength; token <= end; ++token) {
    BOOST_REQUIRE(used[static_cast<std::size_t>(token)] == kEpochs);
  }
  BOOST_TEST(used[1] > 0);
  BOOST_TEST(used[static_cast<std::size_t>(end + kLength - 1)] > 0);
}

BOOST_AUTO_TEST_CASE(epochs_count_the_reading) {
  const Sampler sampler(16 * 21, 16, 7);
  BOOST_TEST(sampler.epochs(10, 4) == 2.0);
  BOOST_TEST(sampler.epochs(5, 2) == 0.5);
  BOOST_TEST(sampler.epochs(5000, 512) == 128'000.0);
}

BOOST_AUTO_TEST_CASE(the_validation_windows_are_fixed) {
  const std::vector<std::int64_t> all = {0, 4, 8};
  BOOST_TEST(validation_positions(13, 4, 0) == all, boost::test_tools::per_element());
  BOOST_TEST(validation_positions(16, 4, 0) == all, boost::test_tools::per_element());
  BOOST_TEST(validation_positions(17, 4, 0).size() == 4U);
  BOOST_TEST(validation_positions(1000, 4, 2) == (std::vector<std::int64_t>{0, 4}),
             boost::test_tools::per_element());
  BOOST_TEST(validation_positions(5, 4, 100).size() == 1U);
}

BOOST_AUTO_TEST_CASE(what_a_caller_must_not_do_is_caught) {
  using pg::InternalError;
  BOOST_CHECK_THROW(Sampler(16, 16, 1), InternalError);
  BOOST_CHECK_THROW(Sampler(16, 0, 1), InternalError);
  const Sampler sampler(100, 16, 1);
  BOOST_CHECK_THROW((void)sampler.position(0, 4, 4), InternalError);
  BOOST_CHECK_THROW((void)sampler.position(-1, 0, 4), InternalError);
  BOOST_CHECK_THROW((void)validation_positions(4, 4, 0), InternalError);
}

BOOST_AUTO_TEST_SUITE_END()
