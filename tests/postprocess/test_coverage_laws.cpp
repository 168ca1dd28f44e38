// Do the intervals of the nonlinear laws and of weighted, robust and resampled lines cover, and
// does the test for a break keep its level? As test_coverage.cpp, with the methods that fail
// beside.
#define BOOST_TEST_MODULE coverage_laws
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "postprocess/coverage.hpp"
#include "postprocess/fits/breakpoint.hpp"
#include "postprocess/fits/law.hpp"

namespace {

using namespace pg::post;
using namespace pg::test;

BOOST_AUTO_TEST_CASE(level_of_the_test_for_a_break) {
  for (const std::size_t n : {7, 12}) {
    for (const bool weighted : {false, true}) {
      const auto share = shares<3>(kFits, [&](std::size_t r) {
        Noise noise(21, r);
        LawData data;
        data.x = {{}};
        for (std::size_t i = 0; i < n; ++i) {
          data.x[0].push_back(std::exp2(3 + static_cast<double>(i)));
          const double variance = weighted ? std::exp2(static_cast<double>(i % 4)) : 1;
          if (weighted) data.weights.push_back(1 / variance);
          data.y.push_back(2 * std::pow(data.x[0][i], 0.6) *
                           std::exp(0.2 * std::sqrt(variance) * noise()));
        }
        const BreakTest test = test_break(data, 199, r, 1);
        const double df = static_cast<double>(n) - 3;
        const double ratio = test.removed / (1 - test.removed);
        return std::array{test.ok() && test.p <= 0.05, fisher_upper_p(ratio * df, 1, df) <= 0.05,
                          fisher_upper_p(ratio * (df - 1) / 2, 2, df - 1) <= 0.05};
      });
      BOOST_TEST_MESSAGE(n << (weighted ? " weighted points:" : " points:"));
      check_size("  one line, bootstrap", share[0], kFits);
      // Davies' problem: neither a break as if it were known nor one counted as a parameter.
      BOOST_TEST_MESSAGE("  F(1, n - 3): " << share[1] << ", F(2, n - 4): " << share[2]);
      BOOST_TEST(share[1] > 0.07, "F(1, n - 3) keeps its level: " << share[1]);
      if (n == 7) check_at_most("  F(2, n - 4)", share[2], 0.04, kFits);
    }
  }
}

}  // namespace
