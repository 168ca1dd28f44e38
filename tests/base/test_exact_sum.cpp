#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/exact_sum.hpp"
#include "base/random.hpp"

using pg::ExactSum;

namespace {

double sum_of(const std::vector<double>& values) {
  ExactSum sum;
  for (const double value : values) sum.add(value);
  return sum.value();
}

/// As an integer all-reduce joins them.
ExactSum joined(const std::vector<ExactSum>& parts) {
  std::array<std::int64_t, ExactSum::kWords> total{};
  for (const ExactSum& part : parts) {
    const auto words = part.words();
    for (std::size_t i = 0; i < words.size(); ++i) total[i] += words[i];
  }
  return ExactSum::from_words(total);
}

constexpr double kTiny = std::numeric_limits<double>::denorm_min();
constexpr double kHuge = std::numeric_limits<double>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

BOOST_AUTO_TEST_SUITE(exact_sum)

BOOST_AUTO_TEST_CASE(nothing_and_single_values_come_back) {
  BOOST_TEST(sum_of({}) == 0.0);
  for (const double value : {0.0, 1.0, -1.5, 0.1, -1e-300, 1e300, kTiny, -kTiny, 3 * kTiny, kHuge,
                             -kHuge, std::numeric_limits<double>::min()}) {
    BOOST_TEST(sum_of({value}) == value);
  }
}

BOOST_AUTO_TEST_CASE(cancellation_leaves_what_is_left) {
  BOOST_TEST(sum_of({1e300, 1.0, -1e300}) == 1.0);
  BOOST_TEST(sum_of({kHuge, kTiny, -kHuge}) == kTiny);
  BOOST_TEST(sum_of({kHuge, kHuge, -kHuge, -kHuge, -kTiny}) == -kTiny);
  BOOST_TEST(sum_of({1e16, 1.0, -1e16, -1.0}) == 0.0);
  BOOST_TEST(sum_of({kHuge, kHuge}) == kInfinity);
  BOOST_TEST(sum_of({-kHuge, -kHuge}) == -kInfinity);
}

BOOST_AUTO_TEST_CASE(whole_numbers_may_be_scaled) {
  for (const int power : {-1074, -298, -53, 0, 1, 31, 32, 500, 960}) {
    ExactSum sum;
    sum.add(0x1FFFFFFFFFFFFFULL, power);
    sum.add(0, power);
    BOOST_TEST(sum.value() == std::ldexp(0x1FFFFFFFFFFFFFp0, power), "power " << power);
  }
  ExactSum whole;
  whole.add(~0ULL, 5);
  whole.add(-32.0 * 0x1p64);
  BOOST_TEST(whole.value() == -32.0);
  BOOST_CHECK_THROW(whole.add(1, 961), pg::InternalError);
  BOOST_CHECK_THROW(whole.add(1, -1089), pg::InternalError);
}

BOOST_AUTO_TEST_CASE(one_rounding_to_nearest_ties_to_even) {
  const double two53 = 0x1p53;
  BOOST_TEST(sum_of({two53, 1.0}) == two53);              // a tie, down to even
  BOOST_TEST(sum_of({two53, 1.0, kTiny}) == two53 + 2);   // just above the tie
  BOOST_TEST(sum_of({two53, 3.0}) == two53 + 4);          // a tie, up to even
  BOOST_TEST(sum_of({two53, 3.0, -kTiny}) == two53 + 2);  // just below it
  BOOST_TEST(sum_of({-two53, -1.0, -kTiny}) == -two53 - 2);
  // Rounding in two steps (64 bits, then 53) would end at the even neighbour.
  BOOST_TEST(sum_of({0x1p64, 0x1p11, 0x1p-40}) == 0x1p64 + 0x1p12);
}

BOOST_AUTO_TEST_CASE(agrees_with_128_bit_integers) {
  const pg::random::Stream stream(7, pg::random::Purpose::test);
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    std::vector<double> values;
    __int128 exact = 0;  // in units of 2^-40
    for (std::uint64_t i = 0; i < 300; ++i) {
      const std::uint64_t bits = stream.bits(trial * 1000 + i);
      const auto mantissa = static_cast<std::int64_t>(bits >> 12U) - (std::int64_t{1} << 51);
      const int power = static_cast<int>(bits & 31U);
      values.push_back(std::ldexp(static_cast<double>(mantissa), power - 40));
      exact += static_cast<__int128>(mantissa) << power;
    }
    // long double holds 64 bits: round the 128-bit integer to odd there, then once to double.
    const bool negative = exact < 0;
    unsigned __int128 magnitude = negative ? -exact : exact;
    int shift = 0;
    bool sticky = false;
    while ((magnitude >> 60) != 0) {
      sticky = sticky || (magnitude & 1) != 0;
      magnitude >>= 1;
      ++shift;
    }
    auto odd = static_cast<std::uint64_t>(magnitude);
    if (sticky) odd |= 1U;
    const double expected = std::ldexp(static_cast<double>(odd), shift - 40);
    BOOST_TEST(sum_of(values) == (negative ? -expected : expected));
  }
}

BOOST_AUTO_TEST_CASE(order_and_grouping_do_not_matter) {
  const pg::random::Stream stream(8, pg::random::Purpose::test);
  std::vector<double> values;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const double scale = std::ldexp(1.0, static_cast<int>(stream.below(600, 2 * i)) - 300);
    values.push_back(stream.normal(2 * i + 1) * scale);
  }
  const double expected = sum_of(values);
  double plain = 0;
  for (const double value : values) plain += value;
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  BOOST_TEST(sum_of(sorted) == expected);
  double plain_sorted = 0;
  for (const double value : sorted) plain_sorted += value;
  BOOST_TEST(plain != plain_sorted);  // the test can tell orders apart

  for (const std::size_t n_parts : {1U, 2U, 3U, 7U, 64U}) {
    std::vector<ExactSum> parts(n_parts);
    for (std::size_t i = 0; i < values.size(); ++i) parts[i * i % n_parts].add(values[i]);
    BOOST_TEST(joined(parts).value() == expected);
  }
}

BOOST_AUTO_TEST_CASE(squares_are_exact_and_add_up_in_any_cut) {
  const pg::random::Stream stream(9, pg::random::Purpose::test);
  std::vector<float> values;
  for (std::uint64_t i = 0; i < 600'000; ++i) {
    const double scale = std::ldexp(1.0, static_cast<int>(stream.below(200, 2 * i)) - 140);
    values.push_back(static_cast<float>(stream.normal(2 * i + 1) * scale));
  }
  values[5] = std::numeric_limits<float>::denorm_min();
  values[6] = std::numeric_limits<float>::max();
  values[7] = 0;
  ExactSum one_by_one;
  for (const float value : values) {
    one_by_one.add(static_cast<double>(value) * static_cast<double>(value));  // exact: 48 bits
  }
  ExactSum at_once;
  at_once.add_squares(values);
  BOOST_TEST(at_once.value() == one_by_one.value());

  const std::span<const float> all(values);
  std::vector<ExactSum> parts(3);
  parts[2].add_squares(all.first(100'001));
  parts[0].add_squares(all.subspan(100'001, 7));
  parts[1].add_squares(all.subspan(100'008));
  BOOST_TEST(joined(parts).value() == at_once.value());
}

BOOST_AUTO_TEST_CASE(many_equal_values_do_not_overflow_a_table) {
  const float largest_mantissa = std::nextafter(2.0F, 1.0F);
  const std::vector<float> values(1'000'003, largest_mantissa);
  ExactSum sum;
  sum.add_squares(values);
  const double square = static_cast<double>(largest_mantissa) * largest_mantissa;
  ExactSum expected;
  for (std::size_t i = 0; i < values.size(); ++i) expected.add(square);
  BOOST_TEST(sum.value() == expected.value());
}

BOOST_AUTO_TEST_CASE(what_is_no_number_stays_visible) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST(std::isnan(sum_of({1.0, nan, 2.0})));
  BOOST_TEST(std::isnan(sum_of({kInfinity, -kInfinity})));
  BOOST_TEST(sum_of({1.0, kInfinity}) == kInfinity);
  BOOST_TEST(sum_of({1.0, -kInfinity}) == -kInfinity);
  ExactSum squares;
  const std::vector<float> values = {1.0F, -std::numeric_limits<float>::infinity()};
  squares.add_squares(values);
  BOOST_TEST(squares.value() == kInfinity);
  ExactSum part;
  part.add(nan);
  BOOST_TEST(std::isnan(joined({ExactSum(), part, squares}).value()));
}

BOOST_AUTO_TEST_SUITE_END()
