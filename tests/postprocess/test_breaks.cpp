// Laws that change their exponent: a corner, a smooth bend, and whether there is one at all.
#define BOOST_TEST_MODULE breaks
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "postprocess/fits/breakpoint.hpp"
#include "postprocess/law_examples.hpp"
#include "postprocess/profile_check.hpp"

namespace {

using namespace pg::post;
using namespace pg::test;

/// A bend at 2000 from exponent 0.1 to 0.7, over a floor of 0.05.
double smooth(double x) {
  return 0.05 + 3 * std::pow(x, -0.1) * std::pow(1 + std::pow(x / 2000, 1 / 0.3), -0.6 * 0.3);
}

/// Thirty points from 10 to 1e6.
std::vector<double> across_the_bend() {
  std::vector<double> x;
  for (int i = 0; i < 30; ++i) x.push_back(10 * std::pow(1e5, i / 29.0));
  return x;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_broken_power_law_gives_its_break) {
  const auto broken = [](double x) {
    return x < 100 ? std::pow(x / 100, 0.8) : std::pow(x / 100, 0.1);
  };
  LawFit fit = fit_law("broken_power", curve(powers_of_two(3, 12), broken));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("beta_1").estimate, 0.8, 1e-6));
  BOOST_TEST(close(fit.parameter("beta_2").estimate, 0.1, 1e-6));
  BOOST_TEST(close(fit.parameter("x_break").estimate, 100, 1e-6));
  BOOST_TEST(warned(fit, "exploratory"));
  fit = fit_law("broken_power", curve(powers_of_two(3, 12), broken, 0.02));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(fit.parameter("x_break").ci95.contains(100));
  BOOST_TEST(fit.rss < fit_law("power", curve(powers_of_two(3, 12), broken, 0.02)).rss / 50);
  BOOST_TEST((fit_law("broken_power", curve(powers_of_two(3, 8), broken)).status ==
              FitStatus::not_identifiable));
}

BOOST_AUTO_TEST_CASE(a_smooth_break_gives_its_bend) {
  std::vector<double> x = across_the_bend();
  const LawFit fit = fit_law("bnsl", curve(x, smooth));
  BOOST_REQUIRE_MESSAGE(fit.ok(), to_string(fit.status) << " " << fit.detail);
  BOOST_TEST(close(fit.parameter("d").estimate, 2000, 1e-4));
  BOOST_TEST(close(fit.parameter("c0").estimate, 0.1, 1e-4));
  BOOST_TEST(close(fit.parameter("c1").estimate, 0.6, 1e-4));
  BOOST_TEST(close(fit.parameter("f").estimate, 0.3, 1e-4));
  x.resize(14);
  BOOST_TEST((fit_law("bnsl", curve(x, smooth)).status == FitStatus::not_identifiable));
}

BOOST_AUTO_TEST_CASE(the_profile_of_a_smooth_break) {
  const std::vector<double> x = across_the_bend();
  const LawData close_by = curve(x, smooth, 0.02);
  BOOST_TEST(check_profile(fit_law("bnsl", close_by), close_by) == 0U);
  // With errors of 10 % a corner (f = 0) fits as well as a bend: f has no lower end. Near the
  // corner the sum of squares is rough, and the check's own refits stop a little short.
  const LawData scattered = curve(x, smooth, 0.1, 3);
  const LawFit fit = fit_law("bnsl", scattered);
  BOOST_TEST(check_profile(fit, scattered, 1e-4) == 1U);
  BOOST_TEST(fit.parameter("f").ci95.low == 0);
  BOOST_TEST(warned(fit, "do not bound f from below"));
}

// The closed form of each gap against least squares on a fine grid of breaks.
BOOST_AUTO_TEST_CASE(the_break_is_the_best_one) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    LawData data = curve(
        powers_of_two(1, 12), [](double x) { return std::pow(x, 0.4); }, 0.1, seed);
    data.x[0][4] = data.x[0][3];  // a repeated x, and rows out of order
    std::swap(data.x[0][1], data.x[0][9]);
    if (seed % 2 == 0) {
      for (std::size_t i = 0; i < data.size(); ++i) data.weights.push_back(1 + (i * seed) % 5);
    }
    const auto rss = [&](double k) {
      Matrix design(data.size(), 3);
      std::vector<double> ln_y;
      for (std::size_t i = 0; i < data.size(); ++i) {
        design(i, 0) = 1;
        design(i, 1) = std::log(data.x[0][i]);
        design(i, 2) = std::max(0.0, std::log(data.x[0][i]) - k);
        ln_y.push_back(std::log(data.y[i]));
      }
      return fit_linear(design, ln_y, Constant::present, data.weights)->rss;
    };
    std::vector<double> x = data.x[0];
    std::sort(x.begin(), x.end());
    double best = rss(std::log(x[2]));
    for (std::size_t i = 2; i + 3 < x.size(); ++i) {
      for (int j = 0; j <= 200; ++j) {
        const double t = j / 200.0;
        best = std::min(best, rss((1 - t) * std::log(x[i]) + t * std::log(x[i + 1])));
      }
    }
    const double found = rss(find_break(data).value());
    BOOST_TEST(found <= best * (1 + 1e-12));
    BOOST_TEST(found > best * 0.999);
    BOOST_TEST(close(fit_law("broken_power", data).rss, found, 1e-12));
    BOOST_TEST(
        close(test_break(data, 1, 1, 1).removed, 1 - found / fit_law("power", data).rss, 1e-10));
  }
}

BOOST_AUTO_TEST_CASE(a_break_has_a_p_value_by_bootstrap) {
  const auto broken = [](double x) { return std::pow(x / 100, x < 100 ? 0.8 : 0.1); };
  const auto straight = [](double x) { return 3 * std::pow(x, 0.5); };
  const LawData bent = curve(powers_of_two(3, 12), broken, 0.05);
  BreakTest test = test_break(bent, 999, 5, 1);
  BOOST_TEST(test.ok(), test.status);
  BOOST_TEST(test.p == 1.0 / 1000);
  BOOST_TEST(test.removed > 0.95);
  const LawData line = curve(powers_of_two(3, 12), straight, 0.05);
  test = test_break(line, 999, 5, 1);
  BOOST_TEST(test.p > 0.05);
  BOOST_TEST(test_break(line, 999, 5, 2).p == test.p);
  BOOST_TEST(test_break(line, 999, 6, 1).p != test.p);
  LawData turned = line;
  std::reverse(turned.x[0].begin(), turned.x[0].end());
  std::reverse(turned.y.begin(), turned.y.end());
  BOOST_TEST(test_break(turned, 999, 5, 1).p == test.p);
  LawData scaled = line;  // another line, four times the scatter: the same question
  for (std::size_t i = 0; i < line.size(); ++i) {
    scaled.y[i] = 7 * std::pow(line.x[0][i], -2) * std::pow(line.y[i], 4);
  }
  BOOST_TEST(test_break(scaled, 999, 5, 1).p == test.p);
  // Six points, six of one x, a perfect line: no p-value, and why.
  BOOST_TEST(test_break(curve(powers_of_two(3, 8), broken, 0.05), 999, 5, 1).status ==
             "6 points, but a break needs 7");
  LawData repeated = curve(powers_of_two(3, 10), broken, 0.05);
  std::fill_n(repeated.x[0].begin(), 5, 8.0);
  BOOST_TEST(!test_break(repeated, 999, 5, 1).ok());
  BOOST_TEST(!test_break(curve(powers_of_two(3, 12), straight), 999, 5, 1).ok());
}
