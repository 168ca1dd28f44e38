#define BOOST_TEST_MODULE base
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/parabola.hpp"
#include "base/text.hpp"
#include "support/support.hpp"

using namespace pg;
using pg::testing::check_error;

BOOST_AUTO_TEST_SUITE(errors)

BOOST_AUTO_TEST_CASE(a_message_says_found_expected_and_hint) {
  const Error error({"x is 3", "2", "x=2"}, ExitCode::usage);
  BOOST_TEST(error.what() == std::string("x is 3\n  expected: 2\n  try: x=2"));
  const Error bare({"x is 3", "", ""}, ExitCode::usage);
  BOOST_TEST(bare.what() == std::string("x is 3"));
}

BOOST_AUTO_TEST_CASE(every_type_has_its_exit_code) {
  check_error([] { throw_settings("f", "e", "h"); }, ExitCode::usage, {"f", "e", "h"});
  check_error([] { throw_data("f", "e", "h"); }, ExitCode::bad_data, {"f", "e", "h"});
  check_error([] { throw_io("f", ENOSPC, "h"); }, ExitCode::input_output,
              {"f", "No space left on device", "h"});
  check_error([] { throw NumericalError({"f", "e", "h"}); }, ExitCode::internal, {"f"});
  check_error([] { require(false, "two is two"); }, ExitCode::internal, {"two is two"});
  BOOST_CHECK_NO_THROW(require(true, "nothing"));
  BOOST_TEST(static_cast<int>(ExitCode::usage) == 64);
  BOOST_TEST(static_cast<int>(ExitCode::bad_data) == 65);
  BOOST_TEST(static_cast<int>(ExitCode::internal) == 70);
  BOOST_TEST(static_cast<int>(ExitCode::input_output) == 74);
  BOOST_TEST(static_cast<int>(ExitCode::stopped) == 75);
}

template <typename Action>
Failure failure_of(Action&& action) {
  try {
    action();
  } catch (...) {
    return describe_current_exception();
  }
  return {"nothing thrown", ExitCode::done};
}

BOOST_AUTO_TEST_CASE(any_exception_is_described) {
  const auto ours = failure_of([] { throw_io("disk", EIO, "another"); });
  BOOST_TEST(static_cast<int>(ours.code) == 74);
  BOOST_TEST(ours.message.starts_with("disk: "));
  const auto memory = failure_of([] { throw std::bad_alloc(); });
  BOOST_TEST(static_cast<int>(memory.code) == 70);
  BOOST_TEST(memory.message.starts_with("out of memory"));
  const auto folder = failure_of([] { std::filesystem::create_directory("/proc/no"); });
  BOOST_TEST(static_cast<int>(folder.code) == 74);
  BOOST_TEST(folder.message.find("/proc/no") != std::string::npos);
  const auto standard = failure_of([] { throw std::runtime_error("odd"); });
  BOOST_TEST(static_cast<int>(standard.code) == 70);
  BOOST_TEST(standard.message.find("odd") != std::string::npos);
  const auto alien = failure_of([] { throw 7; });
  BOOST_TEST(static_cast<int>(alien.code) == 70);
  BOOST_TEST(!alien.message.empty());
}

BOOST_AUTO_TEST_SUITE_END()

// FIPS 180-4 examples and the empty message.
BOOST_AUTO_TEST_CASE(sha256_of_known_messages) {
  BOOST_TEST(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  BOOST_TEST(sha256_hex("abc") ==
             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 in_pieces;
  for (int i = 0; i < 1000; ++i) in_pieces.add(std::string(1000, 'a'));
  BOOST_TEST(in_pieces.hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

BOOST_AUTO_TEST_SUITE(parabola)

BOOST_AUTO_TEST_CASE(exact_parabolas_are_found) {
  for (const double vertex : {-1.0, 0.25, 1.9}) {
    const double x[3] = {-1.5, 0.5, 2.25};
    double y[3];
    for (int i = 0; i < 3; ++i) y[i] = 4.0 + 0.75 * (x[i] - vertex) * (x[i] - vertex);
    const auto fit = fit_parabola(x, y);
    BOOST_REQUIRE(fit.has_value());
    BOOST_TEST(fit->x == vertex, boost::test_tools::tolerance(1e-13));
    BOOST_TEST(fit->y == 4.0, boost::test_tools::tolerance(1e-13));
    BOOST_TEST(fit->curvature == 0.75, boost::test_tools::tolerance(1e-13));
  }
}

BOOST_AUTO_TEST_CASE(sensitivity_is_the_numeric_derivative) {
  const double x[3] = {-9.2, -8.1, -6.4};
  const double y[3] = {2.31, 2.17, 2.29};
  const auto fit = fit_parabola(x, y);
  BOOST_REQUIRE(fit.has_value());
  for (int i = 0; i < 3; ++i) {
    constexpr double kStep = 1e-5;
    double up[3] = {y[0], y[1], y[2]};
    double down[3] = {y[0], y[1], y[2]};
    up[i] += kStep;
    down[i] -= kStep;
    const double slope = (fit_parabola(x, up)->x - fit_parabola(x, down)->x) / (2 * kStep);
    BOOST_TEST(fit->sensitivity[i] == slope, boost::test_tools::tolerance(1e-7));
  }
}

BOOST_AUTO_TEST_CASE(no_minimum_no_answer) {
  const double x[3] = {0, 1, 2};
  BOOST_TEST(!fit_parabola(x, {0, 1, 0}).has_value());    // opens downwards
  BOOST_TEST(!fit_parabola(x, {0, 1, 2}).has_value());    // a line
  BOOST_TEST(!fit_parabola(x, {0, 1, 2.5}).has_value());  // vertex left of the points
  BOOST_TEST(!fit_parabola(x, {2.5, 1, 0}).has_value());  // right of them
  BOOST_TEST(!fit_parabola({0, 0, 1}, {1, 0, 1}).has_value());
  BOOST_TEST(!fit_parabola(x, {1, NAN, 1}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(text)

BOOST_AUTO_TEST_CASE(numbers_are_written_short) {
  BOOST_TEST(shortest(0.001) == "0.001");
  BOOST_TEST(shortest(3e-5) == "3e-05");
  BOOST_TEST(shortest(64) == "64");
  BOOST_TEST(std::stod(shortest(0.1 + 0.2)) == 0.1 + 0.2);
  BOOST_TEST(quantity(950) == "950");
  BOOST_TEST(quantity(12345) == "12.3 k");
  BOOST_TEST(quantity(4.56e6) == "4.56 M");
  BOOST_TEST(quantity(9.1e9) == "9.10 G");
  BOOST_TEST(grouped(0) == "0");
  BOOST_TEST(grouped(999) == "999");
  BOOST_TEST(grouped(1000) == "1,000");
  BOOST_TEST(grouped(1115394) == "1,115,394");
  BOOST_TEST(grouped(-123) == "-123");
  BOOST_TEST(grouped(-123456) == "-123,456");
}

BOOST_AUTO_TEST_CASE(durations_read_well) {
  BOOST_TEST(duration(45) == "45 s");
  BOOST_TEST(duration(59.7) == "1 min 00 s");
  BOOST_TEST(duration(200) == "3 min 20 s");
  BOOST_TEST(duration(3599.6) == "1 h 00 min");
  BOOST_TEST(duration(7500) == "2 h 05 min");
  BOOST_TEST(duration(3 * 86400 + 4 * 3600 + 60) == "3 d 4 h");
  BOOST_TEST(duration(-1) == "unknown");
  BOOST_TEST(duration(NAN) == "unknown");
  BOOST_TEST(duration(INFINITY) == "unknown");
  BOOST_TEST(duration(1e300) == "unknown");
}

BOOST_AUTO_TEST_CASE(numbers_are_read_strictly) {
  BOOST_TEST(parse_real("1e-3").value() == 1e-3);
  BOOST_TEST(parse_real(" +2.5 ").value() == 2.5);
  for (const char* wrong : {"", " ", "1e-3x", "nan", "inf", "1e999", "0x10", "1,5", "+-5", "++5"}) {
    BOOST_TEST(!parse_real(wrong).has_value(), wrong);
  }
  BOOST_TEST(parse_integer("-42").value() == -42);
  for (const char* wrong : {"", "1.0", "1e3", "9223372036854775808", "+-5", "12 3"}) {
    BOOST_TEST(!parse_integer(wrong).has_value(), wrong);
  }
}

BOOST_AUTO_TEST_CASE(pieces) {
  BOOST_TEST(trim(" \t a b\r\n") == "a b");
  BOOST_TEST(trim(" \n").empty());
  BOOST_TEST(split("a,,b,", ',') == (std::vector<std::string>{"a", "", "b", ""}),
             boost::test_tools::per_element());
  BOOST_TEST(split("", ',').size() == 1U);
  const std::vector<std::string> parts = {"a", "b", "c"};
  BOOST_TEST(join(parts, ", ") == "a, b, c");
  BOOST_TEST(join({}, ", ").empty());
}

BOOST_AUTO_TEST_CASE(the_nearest_word_is_offered_only_when_near) {
  const std::vector<std::string> words = {"learning_rate", "batch", "steps"};
  BOOST_TEST(nearest_word("baych", words).value() == "batch");
  BOOST_TEST(nearest_word("learningrate", words).value() == "learning_rate");
  BOOST_TEST(nearest_word("learing_rat", words).value() == "learning_rate");
  BOOST_TEST(!nearest_word("optimizer", words).has_value());
  BOOST_TEST(!nearest_word("batch", {}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
