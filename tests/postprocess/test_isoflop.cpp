// The best size at equal compute: exact parabolas, an exact law, and published points.
#define BOOST_TEST_MODULE isoflop
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "base/random.hpp"
#include "postprocess/fits/isoflop.hpp"
#include "postprocess/law_data.hpp"

namespace {

using namespace pg::post;

struct Points {
  std::vector<double> n;
  std::vector<double> d;
  std::vector<double> loss;
  void add(double size, double flops, double value) {
    n.push_back(size);
    d.push_back(flops / (6 * size));
    loss.push_back(value);
  }
  [[nodiscard]] IsoflopFit fit() const { return fit_isoflop(n, d, loss); }
};

/// Sizes from 1/4 to 4 times 0.1 C^0.5 at each budget; loss(N, C).
template <typename Loss>
Points grid(const Loss& loss, double shift = 0) {
  Points p;
  for (const double flops : {1e18, 1e19, 1e20, 1e21}) {
    for (int k = -4; k <= 4; ++k) {
      const double n = 0.1 * std::sqrt(flops) * std::exp2(0.5 * k + shift);
      p.add(n, flops, loss(n, flops));
    }
  }
  return p;
}

}  // namespace

BOOST_AUTO_TEST_CASE(exact_parabolas_give_their_minima_back) {
  const IsoflopFit fit = grid([](double n, double flops) {
                           const double u = std::log(n) - 0.45 * std::log(flops) - 0.2;
                           return 2 + 0.01 * u * u;
                         }).fit();
  BOOST_TEST(fit.status == "ok");
  BOOST_TEST(fit.budgets.size() == 4U);
  BOOST_TEST(fit.n_unused == 0U);
  BOOST_REQUIRE(fit.line);
  BOOST_TEST(std::abs(fit.line->slope - 0.45) < 1e-9);
  BOOST_TEST(std::abs(fit.best_n(1e22) / std::exp(0.2 + 0.45 * std::log(1e22)) - 1) < 1e-7);
}

BOOST_AUTO_TEST_CASE(a_symmetric_law_has_its_exponent) {
  // L = E + A / N^a + B / D^a is even in ln N about N* = (A / B)^(1 / 2a) sqrt(C / 6): here A / B
  // is such that N* = 0.1 sqrt(C).
  const double a = 0.34;
  const double shape = std::pow(0.1 * std::sqrt(6.0), 2 * a);
  const IsoflopFit fit =
      grid([&](double n, double flops) {
        return 1.7 + 400 * shape / std::pow(n, a) + 400 / std::pow(flops / (6 * n), a);
      }).fit();
  BOOST_REQUIRE(fit.line);
  BOOST_TEST(std::abs(fit.line->slope - 0.5) < 1e-9);
  for (const IsoflopBudgetFit& b : fit.budgets) {
    BOOST_TEST(std::abs(std::exp(b.ln_best_n) / (0.1 * std::sqrt(b.flops)) - 1) < 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(what_has_no_minimum_is_said) {
  const auto bowl = [](double n, double flops) {
    const double u = std::log(n) - 0.5 * std::log(flops) - std::log(0.1);
    return 2 + 0.01 * u * u;
  };
  const IsoflopFit beyond = grid(bowl, 3).fit();  // all sizes lie above the best
  BOOST_TEST(!beyond.line.has_value());
  BOOST_TEST(beyond.budgets[0].status == "the minimum lies beyond the sizes that were run");
  const IsoflopFit hill = grid([&](double n, double c) { return 4 - bowl(n, c); }).fit();
  BOOST_TEST(hill.budgets[0].status == "no minimum: the losses are not convex in ln N");
  const pg::random::Stream noise(5, pg::random::Purpose::test);
  std::uint64_t next = 0;
  const IsoflopFit flat =
      grid([&](double, double) { return 2 + 0.1 * noise.normal(next++); }).fit();
  for (const IsoflopBudgetFit& b : flat.budgets) {
    BOOST_TEST((!b.ok() || b.ln_best_n_ci95.finite()));
  }
  Points few;
  for (int k = 0; k < 3; ++k) few.add(1e6 * (k + 1), 1e18, 3);
  const IsoflopFit none = few.fit();
  BOOST_TEST(none.budgets.empty());
  BOOST_TEST(none.n_unused == 3U);
  BOOST_TEST(none.status != "ok");
}

BOOST_AUTO_TEST_CASE(the_order_of_the_points_changes_nothing) {
  Points p = grid([](double n, double flops) {
    const double u = std::log(n) - 0.5 * std::log(flops) - std::log(0.1);
    return 2 + 0.01 * u * u + 0.001 * std::sin(1e3 * u);
  });
  const IsoflopFit forward = p.fit();
  std::reverse(p.n.begin(), p.n.end());
  std::reverse(p.d.begin(), p.d.end());
  std::reverse(p.loss.begin(), p.loss.end());
  const IsoflopFit backward = p.fit();
  BOOST_TEST(std::abs(forward.line->slope - backward.line->slope) < 1e-12);
}

BOOST_AUTO_TEST_CASE(points_read_off_a_published_figure_give_the_published_exponent) {
  // Hoffmann et al. 2022, table 2: approach 2 has N* ~ C^0.49 (0.462, 0.534).
  const auto data = pg::test::chinchilla_points(true);
  if (!data) return;
  const IsoflopFit fit = fit_isoflop(data->x[0], data->x[1], data->y);
  BOOST_REQUIRE(fit.line);
  BOOST_TEST_MESSAGE("N* ~ C^" << fit.line->slope << " [" << fit.line->slope_ci95.low << ", "
                               << fit.line->slope_ci95.high << "] over " << fit.line->n);
  BOOST_TEST(fit.line->slope > 0.462);
  BOOST_TEST(fit.line->slope < 0.534);
  BOOST_TEST(fit.line->slope_ci95.contains(0.49));
}
