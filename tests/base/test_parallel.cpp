#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "base/parallel.hpp"

BOOST_AUTO_TEST_SUITE(parallel)

BOOST_AUTO_TEST_CASE(every_element_is_in_one_part) {
  for (const std::int64_t n : {0, 1, 7, 64, 1000}) {
    for (const std::int64_t least : {1, 5, 100}) {
      for (const int n_threads : {1, 2, 3, 16}) {
        std::vector<int> seen(static_cast<std::size_t>(n), 0);
        std::atomic<int> n_parts = 0;
        std::atomic<bool> too_small = false;
        pg::in_parallel(n, least, n_threads, [&](std::int64_t first, std::int64_t last) {
          ++n_parts;
          if (last - first < least && last - first < n) too_small = true;
          for (std::int64_t i = first; i < last; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        BOOST_TEST_CONTEXT(n << " of at least " << least << " on " << n_threads) {
          BOOST_TEST(seen == std::vector<int>(static_cast<std::size_t>(n), 1));
          BOOST_TEST(n_parts <= n_threads);
          BOOST_TEST(!too_small);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_a_part_throws_comes_out_when_all_are_over) {
  std::atomic<int> n_over = 0;
  const auto body = [&](std::int64_t first, std::int64_t /*last*/) {
    if (first > 0) throw std::runtime_error("of another thread");
    ++n_over;
  };
  BOOST_CHECK_THROW(pg::in_parallel(100, 1, 4, body), std::runtime_error);
  BOOST_TEST(n_over == 1);
}

BOOST_AUTO_TEST_CASE(there_is_a_processor) {
  BOOST_TEST(pg::n_processors() >= 1);
}

BOOST_AUTO_TEST_SUITE_END()
