#include <boost/test/unit_test.hpp>
#include <vector>

#include "base/signal_stack.hpp"

BOOST_AUTO_TEST_SUITE(signal_stack)

BOOST_AUTO_TEST_CASE(a_small_stack_makes_way_and_comes_back) {
  std::vector<char> small(static_cast<std::size_t>(32) * 1024);
  stack_t its = {};
  its.ss_sp = small.data();
  its.ss_size = small.size();
  stack_t before = {};
  BOOST_REQUIRE(::sigaltstack(&its, &before) == 0);
  const auto current = [] {
    stack_t found = {};
    ::sigaltstack(nullptr, &found);
    return found;
  };
  {
    const pg::SignalStack outer;
    const stack_t of_outer = current();
    BOOST_TEST(of_outer.ss_size >= 64 * 1024U);
    {
      const pg::SignalStack inner;
      BOOST_TEST(current().ss_sp != of_outer.ss_sp);
    }
    BOOST_TEST(current().ss_sp == of_outer.ss_sp);
  }
  BOOST_TEST(current().ss_sp == its.ss_sp);
  BOOST_TEST(::sigaltstack(&before, nullptr) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
