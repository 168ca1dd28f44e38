// Lines from cells: against R's survreg, against least squares where the cells are narrow, and
// where nothing can be said.
#define BOOST_TEST_MODULE post_censored
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/random.hpp"
#include "postprocess/stats/censored.hpp"
#include "postprocess/stats/line_fit.hpp"

namespace {

using namespace pg::post;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_close(double value, double expected, double relative) {
  BOOST_TEST(std::abs(value - expected) <= relative * std::abs(expected),
             value << " is not " << expected);
}

/// The cells of optima (indices from 1) on the study's grid: log-midpoints, open at both ends.
std::vector<Interval> grid_cells(const std::vector<std::size_t>& indices) {
  const std::vector<double> grid = {3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2};
  std::vector<Interval> cells;
  for (const std::size_t k : indices) {
    const double low = k == 1 ? -kInfinity : std::log(grid[k - 2] * grid[k - 1]) / 2;
    const double high = k == grid.size() ? kInfinity : std::log(grid[k - 1] * grid[k]) / 2;
    cells.push_back({low, high});
  }
  return cells;
}

std::vector<double> log_batches() {
  std::vector<double> x;
  for (const double b : {8, 16, 32, 64, 128, 256, 512}) x.push_back(std::log(b));
  return x;
}

void check_undetermined(const CensoredLine& fit, const std::string& word) {
  BOOST_TEST((fit.status == FitStatus::not_identifiable), to_string(fit.status));
  BOOST_TEST(fit.detail.find(word) != std::string::npos, fit.detail);
  BOOST_TEST(std::isinf(fit.slope_se));
  BOOST_TEST(!fit.slope_ci95.finite());
}

}  // namespace

// R 4.2, library(survival): s <- survreg(Surv(low, high, type = "interval2") ~ x,
// dist = "gaussian", control = list(rel.tolerance = 1e-14, maxiter = 200)); coef(s), s$scale,
// sqrt(diag(vcov(s))), s$loglik[2]. Profile: uniroot of 2 (loglik - loglik(b)) - qchisq(.95, 1),
// loglik(b) from survreg on low - b x, high - b x.
BOOST_AUTO_TEST_CASE(optima_on_a_grid_as_survreg) {
  const auto phase2 = fit_censored_line(log_batches(), grid_cells({3, 3, 3, 4, 3, 3, 1}));
  BOOST_REQUIRE_MESSAGE(phase2.ok(), phase2.detail);
  check_close(phase2.intercept, -6.733080917326, 1e-9);
  check_close(phase2.slope, -0.366323992419, 1e-9);
  check_close(phase2.sigma, 0.765259328173, 1e-9);
  check_close(phase2.intercept_se, 1.005351916724, 1e-8);
  check_close(phase2.slope_se, 0.229906775776, 1e-8);
  check_close(phase2.log_likelihood, -7.534862055217, 1e-9);
  check_close(phase2.slope_ci95.low, -0.947494900364, 1e-7);
  check_close(phase2.slope_ci95.high, 0.152613276568, 1e-7);

  const auto noisy = fit_censored_line(log_batches(), grid_cells({3, 3, 4, 5, 4, 6, 6}));
  BOOST_REQUIRE_MESSAGE(noisy.ok(), noisy.detail);
  check_close(noisy.intercept, -10.137045441052, 1e-9);
  check_close(noisy.slope, 0.884845907071, 1e-9);
  check_close(noisy.sigma, 0.451211085060, 1e-9);
  check_close(noisy.intercept_se, 0.696847165464, 1e-8);
  check_close(noisy.slope_se, 0.158049039312, 1e-8);
  check_close(noisy.log_likelihood, -4.919217056350, 1e-9);
  check_close(noisy.slope_ci95.low, 0.540178942648, 1e-7);
  check_close(noisy.slope_ci95.high, 1.237333346751, 1e-7);
}

BOOST_AUTO_TEST_CASE(one_sided_cells_as_survreg) {
  std::vector<double> x;
  for (int i = 0; i < 12; ++i) x.push_back(i);
  const std::vector<Interval> cells = {{-kInfinity, 1}, {0, kInfinity}, {-kInfinity, 0.5},
                                       {0, 2},          {1, kInfinity}, {-kInfinity, 2},
                                       {2, kInfinity},  {1, 1.5},       {-kInfinity, 3},
                                       {3, kInfinity},  {2, 5},         {4, 4.5}};
  const auto fit = fit_censored_line(x, cells);
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  BOOST_TEST(fit.n == 12);
  check_close(fit.intercept, -0.3448052688381, 1e-8);
  check_close(fit.slope, 0.3866818280360, 1e-8);
  check_close(fit.sigma, 0.5967884531763, 1e-8);
  check_close(fit.intercept_se, 0.4983122791455, 1e-7);
  check_close(fit.slope_se, 0.0727519212569, 1e-7);
  check_close(fit.log_likelihood, -7.8286369942756, 1e-9);
  // A cell that is the whole line says nothing.
  x.push_back(100);
  std::vector<Interval> more = cells;
  more.push_back({-kInfinity, kInfinity});
  const auto same = fit_censored_line(x, more);
  BOOST_TEST(same.n == 12);
  BOOST_TEST(same.slope == fit.slope);
}

BOOST_AUTO_TEST_CASE(narrow_cells_give_least_squares) {
  const pg::random::Stream noise(7, pg::random::Purpose::test, 0);
  std::vector<double> x, y;
  std::vector<Interval> cells;
  for (std::size_t i = 0; i < 20; ++i) {
    x.push_back(0.3 * static_cast<double>(i));
    y.push_back(2 - 0.7 * x[i] + noise.uniform(i));
    cells.push_back({y[i] - 1e-5, y[i] + 1e-5});
  }
  const auto line = fit_line(x, y);
  const auto fit = fit_censored_line(x, cells);
  BOOST_REQUIRE(line);
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  check_close(fit.slope, line->slope, 1e-6);
  check_close(fit.intercept, line->intercept, 1e-6);
  const double sigma = std::sqrt(line->rss / 20);  // maximum likelihood divides by n
  check_close(fit.sigma, sigma, 1e-6);
  check_close(fit.slope_se, line->slope_se * sigma / line->s, 1e-6);
}

BOOST_AUTO_TEST_CASE(units_and_origins_change_nothing_else) {
  const std::vector<double> x = log_batches();
  const std::vector<Interval> cells = grid_cells({3, 3, 4, 5, 4, 7, 6});
  const auto fit = fit_censored_line(x, cells);
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  std::vector<double> moved_x;
  std::vector<Interval> moved;
  for (std::size_t i = 0; i < x.size(); ++i) {
    moved_x.push_back(1e4 * x[i] + 3e5);
    moved.push_back({-20 * cells[i].high + 1e3, -20 * cells[i].low + 1e3});  // mirrored as well
  }
  const auto other = fit_censored_line(moved_x, moved);
  BOOST_REQUIRE_MESSAGE(other.ok(), other.detail);
  check_close(other.slope, -20 * fit.slope / 1e4, 1e-8);
  check_close(other.sigma, 20 * fit.sigma, 1e-8);
  check_close(other.slope_se, 20 * fit.slope_se / 1e4, 1e-7);
  check_close(other.slope_ci95.low, -20 * fit.slope_ci95.high / 1e4, 1e-7);
  check_close(other.intercept + other.slope * 3e5, 1e3 - 20 * fit.intercept, 1e-7);
}

BOOST_AUTO_TEST_CASE(a_line_through_every_cell_is_no_estimate) {
  // Two exact theories give these optima without noise: every slope in [0.415, 0.830] passes.
  check_undetermined(fit_censored_line(log_batches(), grid_cells({3, 3, 4, 4, 4, 5, 5})), "every");
  check_undetermined(fit_censored_line(log_batches(), grid_cells({7, 7, 7, 7, 7, 7, 7})), "every");
  check_undetermined(fit_censored_line(log_batches(), grid_cells({1, 1, 1, 1, 1, 1, 1})), "every");
  const std::vector<double> two = {1, 2};
  check_undetermined(fit_censored_line(two, std::vector<Interval>{{0, 1}, {5, 6}}), "every");
  // Corners that only touch: the likelihood still rises towards sigma = 0.
  const std::vector<double> three = {0, 1, 2};
  check_undetermined(fit_censored_line(three, std::vector<Interval>{{0, 1}, {1, 2}, {0, 1}}),
                     "every");
  const std::vector<Interval> apart = {{0, 1}, {1.01, 2}, {0, 1}};
  BOOST_TEST(fit_censored_line(three, apart).ok());
}

BOOST_AUTO_TEST_CASE(a_slope_without_end_is_no_estimate) {
  // Two seeds disagree at x = 1, and all that is known elsewhere is a side.
  const std::vector<double> x = {0, 1, 1, 2};
  const std::vector<Interval> cells = {{-kInfinity, 0}, {0, 1}, {2, 3}, {3, kInfinity}};
  check_undetermined(fit_censored_line(x, cells), "steep");
  check_undetermined(
      fit_censored_line(std::vector<double>{1, 1}, std::vector<Interval>{{0, 1}, {2, 3}}), "two x");
  check_undetermined(fit_censored_line({}, {}), "two x");
  check_undetermined(
      fit_censored_line(std::vector<double>{1, 2},
                        std::vector<Interval>{{-kInfinity, kInfinity}, {-kInfinity, kInfinity}}),
      "two x");
}

BOOST_AUTO_TEST_CASE(optima_on_edges_only) {
  // Above the grid or below it, and nothing in between: mixed sides have no line (the larger sigma,
  // the likelier), ordered ones have too many.
  const std::vector<double> x = log_batches();
  check_undetermined(fit_censored_line(x, grid_cells({1, 7, 1, 7, 1, 7, 7})), "sigma grows");
  check_undetermined(fit_censored_line(x, grid_cells({1, 1, 1, 7, 7, 7, 7})), "every");
}

BOOST_AUTO_TEST_CASE(sides_of_scattered_thresholds) {
  const pg::random::Stream noise(11, pg::random::Purpose::test, 0);
  const pg::random::Stream place(11, pg::random::Purpose::test, 1);
  std::vector<double> x;
  std::vector<Interval> cells;
  for (std::size_t i = 0; i < 200; ++i) {
    x.push_back(0.05 * static_cast<double>(i));
    const double y = 1 + 0.5 * x[i] + 0.4 * noise.normal(i);
    const double threshold = 1 + 0.5 * x[i] + 3 * (place.uniform(i) - 0.5);
    cells.push_back(y > threshold ? Interval{threshold, kInfinity}
                                  : Interval{-kInfinity, threshold});
  }
  const auto fit = fit_censored_line(x, cells);
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  BOOST_TEST_MESSAGE("slope " << fit.slope << " +- " << fit.slope_se << ", sigma " << fit.sigma);
  BOOST_TEST(std::abs(fit.slope - 0.5) < 3 * fit.slope_se);
  BOOST_TEST(fit.slope_se < 0.05);
  BOOST_TEST(std::abs(fit.sigma - 0.4) < 0.2);
  BOOST_TEST(fit.slope_ci95.contains(0.5));
}

BOOST_AUTO_TEST_CASE(impossible_cells_are_refused) {
  const std::vector<double> x = {0, 1};
  BOOST_CHECK_THROW(fit_censored_line(x, std::vector<Interval>{{0, 1}, {2, 2}}), pg::InvalidInput);
  BOOST_CHECK_THROW(fit_censored_line(x, std::vector<Interval>{{0, 1}, {3, 2}}), pg::InvalidInput);
  const std::vector<double> infinite = {0, kInfinity};
  BOOST_CHECK_THROW(fit_censored_line(infinite, std::vector<Interval>{{0, 1}, {2, 3}}),
                    pg::InvalidInput);
}
