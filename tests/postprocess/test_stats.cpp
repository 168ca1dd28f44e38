// Inference against R and statsmodels.
#define BOOST_TEST_MODULE post_stats
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "base/random.hpp"
#include "postprocess/stats/inference.hpp"
#include "postprocess/stats/line_fit.hpp"
#include "postprocess/stats/linear_model.hpp"

namespace {

using namespace pg::post;

// The two regressions of the study's public predecessor (batch, LR at the raw argmin).
const std::vector<double> kPhase2Batch = {8, 16, 32, 64, 128, 256, 512};
const std::vector<double> kPhase2Lr = {3e-4, 3e-4, 3e-4, 1e-3, 3e-4, 3e-4, 3e-5};
const std::vector<double> kPhase25Batch = {32, 64, 128, 256};
const std::vector<double> kPhase25Lr = {1e-3, 3e-3, 1e-2, 1e-2};

std::vector<double> logs(const std::vector<double>& values) {
  std::vector<double> out;
  for (const double v : values) out.push_back(std::log(v));
  return out;
}

constexpr double kTight = 1e-9;

void check_close(double value, double expected, double relative = kTight) {
  BOOST_TEST(std::abs(value - expected) <= relative * std::abs(expected),
             value << " is not " << expected);
}

}  // namespace

BOOST_AUTO_TEST_CASE(seven_batches_of_the_predecessor) {
  const auto fit = fit_line(logs(kPhase2Batch), logs(kPhase2Lr));
  BOOST_REQUIRE(fit);
  BOOST_TEST(fit->df == 5);
  check_close(fit->slope, -0.35592086730936046);
  check_close(fit->intercept, -6.788439421907343);
  check_close(fit->slope_se, 0.26920986042232825);
  check_close(fit->intercept_se, 1.1801750243572056);
  check_close(fit->slope_ci95.low, -1.0479468447485867);
  check_close(fit->slope_ci95.high, 0.33610511012986577);
  check_close(fit->r2, 0.2590324445278601);
  check_close(fit->adjusted_r2, 0.11083893343343221);
  check_close(fit->s, 0.9874052671935527);
  check_close(fit->rss, 4.874845808407856);
  const std::vector<double> jackknife = {
      -0.5241887448172282,  -0.40446271933235867, -0.361551200045039, -0.3559208673093595,
      -0.38124017520927705, -0.44974736221010597, 0.04962758840474795};
  for (std::size_t i = 0; i < 7; ++i) check_close(fit->leave_one_out_slopes[i], jackknife[i], 1e-8);
  BOOST_TEST(fit->leverage[6] == 0.464, boost::test_tools::tolerance(2e-3));
  BOOST_TEST(fit->cooks_distance[6] == 1.64, boost::test_tools::tolerance(5e-3));
  const auto p = [&](double beta) {
    return student_two_sided_p((fit->slope - beta) / fit->slope_se, fit->df);
  };
  check_close(p(0.667), 0.012632159002561243);
  check_close(p(0.5), 0.024555233084653988);
  check_close(p(0.333), 0.05070523319552557);
  check_close(p(0), 0.24338739087289255);
}

BOOST_AUTO_TEST_CASE(four_batches_of_the_predecessor_exclude_nothing) {
  const auto fit = fit_line(logs(kPhase25Batch), logs(kPhase25Lr));
  BOOST_REQUIRE(fit);
  check_close(fit->slope, 1.170274987882828);
  check_close(fit->r2, 0.894640658551502);
  check_close(fit->slope_ci95.low, -0.05158495818400377, 1e-8);
  check_close(fit->slope_ci95.high, 2.39213493394966);
  for (const double theory : {0.0, 1.0 / 3, 0.5, 2.0 / 3, 1.0}) {
    BOOST_TEST(fit->slope_ci95.contains(theory));
  }
  // Their "+-" was twice the standard error: it excluded three of the five.
  BOOST_TEST(fit->slope - 2 * fit->slope_se > 0.5);
}

BOOST_AUTO_TEST_CASE(weights_and_their_scale) {
  const std::vector<double> x = {0, 1, 2, 3};
  const std::vector<double> y = {1, 2.5, 2.9, 4.4};
  const std::vector<double> w = {1, 4, 4, 1};
  std::vector<double> scaled;
  for (const double v : w) scaled.push_back(1e6 * v);
  const auto fit = fit_line(x, y, w);
  const auto same = fit_line(x, y, scaled);
  BOOST_REQUIRE(fit);
  BOOST_REQUIRE(same);
  // By hand: Sxx = 6.5, Sxy = 5.9 about the weighted means 1.5 and 2.7.
  check_close(fit->slope, 5.9 / 6.5, 1e-12);
  check_close(same->slope_se, fit->slope_se, 1e-12);
  // A point of weight 2 counts as the point twice, but for the degrees of freedom.
  const auto twice = fit_line(std::vector<double>{0, 1, 1, 2}, std::vector<double>{0, 1, 1, 3});
  const auto heavy = fit_line(std::vector<double>{0, 1, 2}, std::vector<double>{0, 1, 3},
                              std::vector<double>{1, 2, 1});
  check_close(heavy->slope, twice->slope, 1e-12);
  check_close(heavy->rss, twice->rss, 1e-12);
}

BOOST_AUTO_TEST_CASE(degenerate_designs_have_no_silent_number) {
  BOOST_TEST(!fit_line(std::vector<double>{1}, std::vector<double>{1}));
  BOOST_TEST(!fit_line(std::vector<double>{2, 2, 2}, std::vector<double>{1, 2, 3}));
  const auto two = fit_line(std::vector<double>{0, 1}, std::vector<double>{0, 2});
  BOOST_REQUIRE(two);
  check_close(two->slope, 2, 1e-14);
  BOOST_TEST(!two->slope_ci95.finite());
  const auto three = fit_line(std::vector<double>{0, 1, 2}, std::vector<double>{0, 1, 3});
  BOOST_REQUIRE(three);
  check_close((three->slope_ci95.high - three->slope) / three->slope_se, 12.7062047361747, 1e-9);
  Matrix collinear(4, 3);
  for (std::size_t i = 0; i < 4; ++i) {
    collinear(i, 0) = 1;
    collinear(i, 1) = static_cast<double>(i);
    collinear(i, 2) = 0.1 * static_cast<double>(i) + 7;
  }
  BOOST_TEST(!fit_linear(collinear, std::vector<double>{1, 2, 3, 5}, Constant::present));
}

BOOST_AUTO_TEST_CASE(tails_of_the_distributions) {
  check_close(student_quantile(0.975, 5), 2.570581835636314, 1e-12);
  check_close(student_quantile(0.975, 2), 4.302652729749464, 1e-12);
  check_close(student_quantile(0.975, 1), 12.706204736174698, 1e-12);
  check_close(student_quantile(0.975, 1e6), 1.9599661, 1e-6);
  check_close(student_upper_p(1e5, 1), 3.1830988617e-6, 1e-9);
  // F(1, d) is the square of t(d); chi squared with 2 degrees of freedom is exponential.
  check_close(fisher_upper_p(2.3 * 2.3, 1, 7), student_two_sided_p(2.3, 7), 1e-12);
}

BOOST_AUTO_TEST_CASE(families_of_tests) {
  const auto adjusted = holm(std::vector<double>{.01, .04, .03, .005, .20});
  const std::vector<double> expected = {.04, .09, .09, .025, .2};
  for (std::size_t i = 0; i < 5; ++i) check_close(adjusted[i], expected[i], 1e-12);
}

BOOST_AUTO_TEST_CASE(sign_flips_are_exact) {
  const auto all_positive = sign_flip_test(std::vector<double>{1, 2, 3, 4, 5, 6});
  check_close(all_positive.p, 2.0 / 64, 1e-12);
  check_close(all_positive.smallest_p, 0.03125, 1e-12);
  // Seven pairs of which the smallest alone is negative: four of 128 sums are as extreme.
  const auto one_negative = sign_flip_test(std::vector<double>{-1, 2, 4, 8, 16, 32, 64});
  check_close(one_negative.p, 4.0 / 128, 1e-12);
  BOOST_TEST(sign_flip_test({}).p == 1);
}

BOOST_AUTO_TEST_CASE(akaike_counts_sigma) {
  // statsmodels' AIC 21.33238774581364 leaves sigma out (k = 2); with it and the small-sample term
  // 2 k (k + 1) / (n - k - 1) = 8 for n = 7, k = 3.
  const auto value = gaussian_aicc(4.874845808407856, 7, 3);
  BOOST_REQUIRE(value);
  check_close(*value, 21.33238774581364 + 2 + 8, 1e-12);
  BOOST_TEST(!gaussian_aicc(1, 4, 3));
}

BOOST_AUTO_TEST_CASE(intervals_cover_as_often_as_they_say) {
  // Seven points, Gaussian errors: the t interval covers 95 %, twice the standard error only 89 %.
  const auto x = logs(kPhase2Batch);
  int by_t = 0;
  int by_two = 0;
  constexpr int kRepetitions = 2000;
  for (int r = 0; r < kRepetitions; ++r) {
    const pg::random::Stream noise(7, pg::random::Purpose::test, static_cast<std::uint64_t>(r));
    std::vector<double> y;
    for (std::size_t i = 0; i < x.size(); ++i) y.push_back(0.6 * x[i] + noise.normal(i));
    const auto fit = fit_line(x, y);
    by_t += fit->slope_ci95.contains(0.6) ? 1 : 0;
    by_two += std::abs(fit->slope - 0.6) < 2 * fit->slope_se ? 1 : 0;
  }
  BOOST_TEST(by_t >= 0.935 * kRepetitions);
  BOOST_TEST(by_t <= 0.965 * kRepetitions);
  BOOST_TEST(by_two < 0.92 * kRepetitions);
}
