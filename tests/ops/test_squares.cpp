// The fast sum of squares is the exact one: the same words for any numbers.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/random.hpp"
#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"

using namespace pg;
using namespace pg::testing;

namespace {

void check(const std::vector<float>& values) {
  ExactSum expected;
  expected.add_squares(values);
  on_every_instruction_set([&] {
    ExactSum found;
    ops::add_squares(values, found);
    BOOST_TEST(found.words() == expected.words(), boost::test_tools::per_element());
  });
}

/// Normal numbers times 2 to the power of up to `spread` more normal ones.
std::vector<float> numbers(std::size_t n, double spread, double scale = 1) {
  const random::Stream stream(5, random::Purpose::test);
  std::vector<float> result;
  for (std::uint64_t i = 0; i < n; ++i) {
    result.push_back(static_cast<float>(scale * stream.normal(2 * i) *
                                        std::exp2(spread * stream.normal(2 * i + 1))));
  }
  return result;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

BOOST_AUTO_TEST_SUITE(squares)

BOOST_AUTO_TEST_CASE(every_length) {
  for (const std::size_t n : {0, 1, 2, 15, 16, 17, 1023, 1024, 1025, 5000}) check(numbers(n, 0));
}

BOOST_AUTO_TEST_CASE(every_spread) {
  for (const double spread : {1.0, 5.0, 12.0, 30.0, 60.0}) {
    for (const double scale : {1e-36, 1e-20, 1.0, 1e15}) check(numbers(3000, spread, scale));
  }
}

BOOST_AUTO_TEST_CASE(zeros_and_extremes) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  check(std::vector<float>(2000, 0.0F));
  check(std::vector<float>(2000, -0.0F));
  check(std::vector<float>(2000, kLeast));
  check(std::vector<float>(2000, kLargest));
  std::vector<float> mixed = numbers(2000, 3);
  mixed[7] = kLargest;
  mixed[8] = kLeast;
  mixed[1500] = -kLargest;
  check(mixed);
  // Every bit of the mantissa, and what rounds up to a power of two.
  check(std::vector<float>(1024, std::nextafter(1.0F, 0.0F)));
  check(std::vector<float>(1024, std::nextafter(2.0F, 3.0F)));
}

BOOST_AUTO_TEST_CASE(what_is_no_number_is_counted) {
  std::vector<float> values = numbers(3000, 1);
  values[1100] = std::numeric_limits<float>::quiet_NaN();
  check(values);
  values[2] = kInfinity;
  values[2999] = -kInfinity;
  check(values);
}

BOOST_AUTO_TEST_SUITE_END()
