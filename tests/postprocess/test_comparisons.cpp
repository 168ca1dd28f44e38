// Means, effect sizes, ranks, power and series against R 4.2, closed forms and enumeration.
#define BOOST_TEST_MODULE comparisons
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/random.hpp"
#include "postprocess/stats/comparisons.hpp"
#include "postprocess/stats/heterogeneity.hpp"
#include "postprocess/stats/power.hpp"

namespace {

using namespace pg::post;
using Values = std::vector<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Seven validation losses of two settings with the same seeds.
const Values kX = {4.1806, 4.1837, 4.1832, 4.1805, 4.1823, 4.1802, 4.187};
const Values kY = {4.1826, 4.1841, 4.185, 4.1811, 4.1838, 4.1832, 4.1869};
const Values kA = {1.2, 3.4, 2.2, 5.1};
const Values kB = {2.0, 2.1, 1.9, 2.3, 2.2, 1.8, 2.05};

void check_close(double value, double expected, double relative = 1e-9) {
  BOOST_TEST(std::abs(value - expected) <= relative * std::abs(expected),
             value << " is not " << expected);
}

void check_close(const Interval& value, const Interval& expected, double relative = 1e-9) {
  check_close(value.low, expected.low, relative);
  check_close(value.high, expected.high, relative);
}

void check_unknown(const MeanTest& test) {
  BOOST_TEST(test.df == 0);
  BOOST_TEST(test.se == kInfinity);
  BOOST_TEST(test.p == 1);
  BOOST_TEST(test.t == 0);
  BOOST_TEST(std::isfinite(test.estimate));
  BOOST_TEST(test.ci95.low == -kInfinity);
  BOOST_TEST(test.ci95.high == kInfinity);
  BOOST_TEST(!equivalence_test(test, 1e9).equivalent());
}

BOOST_AUTO_TEST_CASE(welch_as_in_r) {
  const MeanTest test = welch_test(kX, kY);  // t.test(x, y)
  BOOST_TEST(test.n == 14);
  check_close(test.t, -1.14488331054111114);
  check_close(test.df, 11.18999137181707582);
  check_close(test.p, 0.27615495346608998);
  check_close(test.ci95, {-0.00383571502292576, 0.00120714359435411}, 1e-8);
  const MeanTest unequal = welch_test(kA, kB);  // other sizes, other spreads
  check_close(unequal.estimate, 0.925);
  check_close(unequal.se, 0.841501633985342);
  check_close(unequal.df, 3.035565392791859);
  check_close(unequal.p, 0.351122984922411);
  check_close(unequal.ci95, {-1.735370641168099, 3.585370641168100});
}

BOOST_AUTO_TEST_CASE(paired_and_one_sample_as_in_r) {
  const MeanTest test = paired_test(kX, kY);  // t.test(x, y, paired = TRUE)
  BOOST_TEST(test.n == 7);
  BOOST_TEST(test.df == 6);
  check_close(test.t, -3.235881307317062916);
  check_close(test.p, 0.017778611156856982);
  check_close(test.ci95, {-0.002308123554630082, -0.000320447873940803});
  Values shifted;
  for (const double x : kX) shifted.push_back(x - 4.18);
  const MeanTest one = mean_test(shifted);  // t.test(x - 4.18)
  check_close(one.se, 0.000914434511701352);
  check_close(one.p, 0.034008277027380823);
  check_close(one.ci95, {0.000262459356222389, 0.004737540643778393});
}

BOOST_AUTO_TEST_CASE(equivalence_is_two_one_sided_tests) {
  const Equivalence test = equivalence_test(paired_test(kX, kY), 0.005);
  check_close(test.p_lower, 5.024331076e-05, 1e-8);
  check_close(test.p_upper, 2.241542832e-06, 1e-8);
  BOOST_TEST(test.p == test.p_lower);
  BOOST_TEST(test.equivalent());
  // Equivalence at 5 % is the same as the 90 % interval lying inside the margin.
  const double se = 0.02;
  const double edge = 0.05 - student_quantile(0.95, 9) * se;
  const Equivalence inside = equivalence_test(0.5 + edge - 1e-6, se, 9, 0.5, 0.05);
  const Equivalence outside = equivalence_test(0.5 + edge + 1e-6, se, 9, 0.5, 0.05);
  BOOST_TEST(inside.equivalent());
  BOOST_TEST(inside.ci90.within(0.45, 0.55));
  BOOST_TEST(!outside.equivalent());
  BOOST_TEST(!outside.ci90.within(0.45, 0.55));
}

BOOST_AUTO_TEST_CASE(samples_that_tell_nothing_about_their_error) {
  check_unknown(mean_test({}));
  check_unknown(mean_test(Values{3}));
  check_unknown(mean_test(Values{3, 3, 3}));
  check_unknown(paired_test(Values{1}, Values{2}));
  check_unknown(welch_test(Values{1}, Values{2, 3}));
  check_unknown(welch_test({}, Values{2, 3}));
  check_unknown(welch_test(Values{1, 1}, Values{2, 2, 2}));
  // Pairs that differ by the same amount: what is left are rounding errors, no measurement.
  const MeanTest shifted =
      paired_test(Values{0.1 + 0.7, 0.2 + 0.7, 0.4 + 0.7}, Values{0.1, 0.2, 0.4});
  check_unknown(shifted);
  check_close(shifted.estimate, 0.7);
  // One spread is enough.
  BOOST_TEST(welch_test(Values{1, 1, 1}, Values{2, 3, 4}).df == 2);
  for (const EffectSize& effect :
       {hedges_g_paired(Values{1}, Values{2}), hedges_g(Values{1}, Values{2}),
        hedges_g(Values{1, 1}, Values{2, 2}), hedges_g({}, {}),
        hedges_g_paired(Values{2, 3}, Values{1, 2})}) {
    BOOST_TEST(effect.g == 0);
    BOOST_TEST(effect.ci95.low == -kInfinity);
    BOOST_TEST(effect.ci95.high == kInfinity);
  }
  BOOST_CHECK_THROW(mean_test(Values{1, std::nan("")}), pg::InvalidInput);
  BOOST_CHECK_THROW(welch_test(Values{1, 2}, Values{1, kInfinity}), pg::InvalidInput);
  BOOST_CHECK_THROW(paired_test(kX, kA), pg::InvalidInput);
  BOOST_CHECK_THROW(signed_rank_test(Values{std::nan("")}), pg::InvalidInput);
}

/// By enumeration of all signs, on ranks worked out by counting.
double enumerated_signed_rank_p(const Values& d) {
  Values ranks;
  double observed = 0;
  double total = 0;
  for (const double v : d) {
    double rank = 0.5;
    for (const double w : d) {
      if (std::abs(w) < std::abs(v)) rank += 1;
      if (std::abs(w) == std::abs(v)) rank += 0.5;
    }
    ranks.push_back(rank);
    total += rank;
    if (v > 0) observed += rank;
  }
  const double distance = std::abs(observed - total / 2);
  std::size_t as_far = 0;
  for (std::size_t pattern = 0; pattern < std::size_t{1} << d.size(); ++pattern) {
    double sum = 0;
    for (std::size_t i = 0; i < d.size(); ++i) sum += (pattern >> i & 1) != 0 ? ranks[i] : 0;
    if (std::abs(sum - total / 2) >= distance - 1e-9) ++as_far;
  }
  return static_cast<double>(as_far) / static_cast<double>(std::size_t{1} << d.size());
}

BOOST_AUTO_TEST_CASE(signed_ranks) {
  Values d;
  for (std::size_t i = 0; i < kX.size(); ++i) d.push_back(kX[i] - kY[i]);
  const SignedRankTest seven = signed_rank_test(d);  // wilcox.test(x, y, paired = TRUE)
  BOOST_TEST(seven.v == 1);
  BOOST_TEST(seven.p == 0.03125);
  // Zeros dropped, ties exact: enumeration (in R) gives V = 38.5, p = 0.05859375.
  const SignedRankTest ties = signed_rank_test(Values{1, -1, 2, 2, -3, 4, 4, 4, 5, 0});
  BOOST_TEST(ties.n == 9);
  BOOST_TEST(ties.v == 38.5);
  BOOST_TEST(ties.p == 0.05859375);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const pg::random::Stream stream(seed, pg::random::Purpose::test);
    Values values;
    for (std::size_t i = 0; i < 10; ++i)
      values.push_back(1 + std::round(3 * stream.normal(i)) + (seed % 2 == 0 ? 0.01 : 1e-9));
    check_close(signed_rank_test(values).p, enumerated_signed_rank_p(values), 1e-12);
  }
  // More than 50 differences with ties and zeros: wilcox.test(d, exact = FALSE, correct = TRUE).
  const Values many = {.6,  1.4, 2.5, 1.5, 1.8, 1.3, -.7,  -1.7, -1.5, .2, 1.9, -.5, .2,  2.2, -.2,
                       .9,  -.6, -.2, -.4, .2,  1.8, .5,   1.3,  -.3,  .2, -.6, 1.1, .2,  .2,  .5,
                       -.8, 1.2, -.3, .8,  -.5, 0,   -1.8, 0,    -1,   0,  .1,  .1,  .6,  .3,  .7,
                       .1,  1.3, .4,  .5,  -.3, .8,  -1.4, 1.3,  .3,   1,  -.4, 2.7, -.2, .2,  -.2};
  const SignedRankTest normal = signed_rank_test(many);
  BOOST_TEST(normal.n == 57);
  BOOST_TEST(!normal.exact);
  BOOST_TEST(normal.v == 1112);
  check_close(normal.p, 2.33859962545427e-02);
  BOOST_TEST(signed_rank_test({}).p == 1);
  BOOST_TEST(signed_rank_test(Values{0, 0}).p == 1);
}

BOOST_AUTO_TEST_CASE(false_discovery_rates) {
  const auto close = [](const Values& p, const Values& expected) {
    const Values adjusted = benjamini_hochberg(p);
    BOOST_REQUIRE_EQUAL(adjusted.size(), expected.size());
    for (std::size_t i = 0; i < p.size(); ++i) check_close(adjusted[i], expected[i], 1e-12);
  };
  close({.01, .04, .03, .005, .2}, {.025, .05, .05, .025, .2});  // p.adjust(p, "BH")
  close({.01, .02, .8, .03, .9, .04, .005}, {.035, .14 / 3, .9, .0525, .9, .056, .035});
  close({}, {});
}

BOOST_AUTO_TEST_CASE(effect_sizes) {
  // R: d * gamma-function factor; uniroot(function(n) pt(t, df, n) - p) for the ends.
  const EffectSize paired = hedges_g_paired(kX, kY);
  check_close(paired.g, -1.062372283601541);
  check_close(paired.ci95, {-2.199793093715350, -0.194695391586073}, 1e-7);
  const EffectSize unpaired = hedges_g(kA, kB);
  check_close(unpaired.g, 0.863640761026640);
  check_close(unpaired.ci95, {-0.379546017976622, 2.223661821486381}, 1e-7);
  // A difference of 1e7 standard deviations: only the chi distribution of the sd is left.
  const EffectSize vast = hedges_g(Values{1e7 - 1, 1e7, 1e7 + 1}, Values{-1, 0, 1});
  check_close(vast.ci95,
              {1e7 * std::sqrt(0.48441855708793 / 4), 1e7 * std::sqrt(11.1432867818778 / 4)},
              1e-6);  // qchisq(c(.025, .975), 4)
}

BOOST_AUTO_TEST_CASE(noncentral_t_as_in_r) {
  const double rows[][4] = {{2, 5, 1, 0.778074662615947},  {-1, 10, 2, 0.00181643341058968},
                            {8, 6, 3, 0.9790195405572649}, {30, 6, 25, 0.65338715440762},
                            {12, 3, 5, 0.90763185697002},  {.5, 100, -2, 0.99374104748311953}};
  for (const auto& [t, df, noncentrality, p] : rows) {
    check_close(noncentral_t_p(t, df, noncentrality), p, 1e-10);
    check_close(noncentral_t_upper_p(t, df, noncentrality), 1 - p, 1e-8);
    check_close(noncentrality_at(t, df, p), noncentrality, 1e-7);
  }
  // Where the series end, the limit goes on smoothly.
  for (const double sign : {-1.0, 1.0}) {
    check_close(noncentral_t_p(sign * 900, 6, sign * 1000.001),
                noncentral_t_p(sign * 900, 6, sign * 999.999), 1e-3);
    check_close(noncentral_t_upper_p(sign * 900, 6, sign * 1000.001),
                noncentral_t_upper_p(sign * 900, 6, sign * 999.999), 1e-3);
  }
}

BOOST_AUTO_TEST_CASE(power_as_in_r) {
  // power.t.test(n, delta, sd, type = "one.sample", strict = TRUE)
  check_close(t_test_power(1.5, 1, 5), 0.710702673926027);
  check_close(t_test_power(1, 1, 10), 0.803096856633018);
  check_close(t_test_power(4, 2, 3), 0.470749431279045);
  check_close(t_test_power(-.01, .02, 40), 0.869398135024401);
  check_close(t_test_power(0, 1, 10), 0.05);
  check_close(t_test_power(1e-9, 1, 10), 0.05, 1e-6);
  BOOST_TEST(t_test_power(1, 1, 1) == 0);
  BOOST_TEST(t_test_power(1, 0, 3) == 1);
  check_close(minimum_detectable_effect(1, 8), 1.15603637146293, 1e-5);
  check_close(minimum_detectable_effect(2, 3), 2 * 3.26404782956815, 1e-5);
  BOOST_TEST(minimum_detectable_effect(1, 1) == kInfinity);
  BOOST_TEST(values_needed(.5, 1) == 34);         // n = 33.367
  BOOST_TEST(values_needed(2, 1, .9, .01) == 8);  // n = 7.191
  BOOST_TEST(values_needed(1e-6, 1) == 0);
  BOOST_TEST(values_needed(100, 1) == 2);
}

BOOST_AUTO_TEST_CASE(power_of_a_slope) {
  // R: se * uniroot(pt(qt(.975, df), df, n, lower = FALSE) + pt(-qt(.975, df), df, n) - .8)
  check_close(minimum_detectable_slope_difference(.048, 5), 0.1686673310001753, 1e-6);
  check_close(minimum_detectable_slope_difference(.0299, 39), 0.0859018970257941, 1e-6);
  check_close(minimum_detectable_slope_difference(1, 1), 16.3340088698950829, 1e-6);
  BOOST_TEST(minimum_detectable_slope_difference(1, 0) == kInfinity);
  BOOST_TEST(minimum_detectable_slope_difference(kInfinity, 0) == kInfinity);
  // Seven batch sizes, one slope: 2/3 against 1/2. The answer and one run fewer, by power.
  const std::size_t runs = replicates_needed(1.0 / 6, .1, 7, 2);
  BOOST_TEST(runs > 1);
  const auto power = [](double r) { return t_power(std::sqrt(r) / .6, 7 * r - 2); };
  BOOST_TEST(power(static_cast<double>(runs)) >= .8);
  BOOST_TEST(power(static_cast<double>(runs) - 1) < .8);
  BOOST_TEST(replicates_needed(1.0 / 6, .048, 7, 2) == 2);
  BOOST_TEST(replicates_needed(1.0 / 6, .047, 7, 2) == 1);
  BOOST_TEST(replicates_needed(1e-9, 1, 7, 2) == 0);
}

BOOST_AUTO_TEST_CASE(the_lowest_of_several_flatters) {
  // Expected largest of k normals: 1/sqrt(pi), 3/(2 sqrt(pi)), then R's integrate().
  check_close(expected_minimum_bias(2, 1), 0.564189583547756287, 1e-12);
  check_close(expected_minimum_bias(3, 1), 0.846284375321634431, 1e-12);
  check_close(expected_minimum_bias(5, 2), 2 * 1.16296447364052, 1e-11);
  check_close(expected_minimum_bias(7, 1), 1.3521783756069, 1e-11);
  check_close(expected_minimum_bias(100, .01), .0250759363644168, 1e-11);
  BOOST_TEST(expected_minimum_bias(1, 1) == 0);
  BOOST_TEST(expected_minimum_bias(0, 1) == 0);
}

BOOST_AUTO_TEST_CASE(heterogeneity_of_two_and_three_estimates) {
  // By hand: weights 400 each, fixed mean 0.2, Q = 400 (0.1^2 + 0.1^2) = 8.
  const std::vector<Measured> two = {{0.1, 0.05, 9}, {0.3, 0.05, 9}};
  const Heterogeneity h = heterogeneity(two);
  BOOST_TEST(h.n == 2U);
  BOOST_TEST(std::abs(h.q - 8) < 1e-12);
  BOOST_TEST(std::abs(h.i2 - 7.0 / 8) < 1e-12);
  BOOST_TEST(std::abs(h.tau2 - 0.0175) < 1e-14);
  BOOST_TEST(std::abs(h.mean - 0.2) < 1e-14);
  BOOST_TEST(std::abs(h.p - std::erfc(2)) < 1e-12);  // P(chi^2_1 >= 8) = erfc(sqrt(8 / 2))
  // Equal errors: Welch's degrees of freedom are the sum of both.
  const Measured mean = mean_of_independent(two);
  BOOST_TEST(std::abs(mean.estimate - 0.2) < 1e-14);
  BOOST_TEST(std::abs(mean.se - 0.05 / std::sqrt(2.0)) < 1e-14);
  BOOST_TEST(std::abs(mean.df - 18) < 1e-12);
  // Agreement, and an estimate without error.
  const std::vector<Measured> agree = {{0.2, 0.05, 4}, {0.21, 0.05, 4}, {0.19, 0.05, 4}};
  BOOST_TEST(heterogeneity(agree).tau2 == 0.0);
  BOOST_TEST(heterogeneity(agree).i2 == 0.0);
  const std::vector<Measured> unknown = {{0.2, 0.05, 4}, {0.1, 0, 0}};
  BOOST_TEST(heterogeneity(unknown).n == 0U);
  BOOST_TEST(!mean_of_independent(unknown).has_error());
}

BOOST_AUTO_TEST_CASE(autocorrelated_series) {
  Values x;
  for (int i = 1; i <= 40; ++i)
    x.push_back(std::sin(i * 0.7) + 0.5 * std::sin(i * 0.13) + 0.3 * std::cos(i * i));
  const SeriesMean series = series_mean(x);
  // An R transcription of the sequence: three lags in all, summed covariances 1.553345.
  check_close(series.mean, 0.17745416890967);
  check_close(series.se, std::sqrt(1.55334491536943 / 40 / (1 - 3.0 / 40)));
  BOOST_TEST(series.n == 40);
  check_close(series.n_effective, 0.62189089299366 * 40 / 39 / (series.se * series.se));
  // Neighbours that alternate: no more than the values' worth is claimed.
  const SeriesMean alternating = series_mean(Values{1, 2, 1, 2, 1, 2, 1, 2});
  check_close(alternating.n_effective, 8);
  check_close(alternating.se, mean_test(Values{1, 2, 1, 2, 1, 2, 1, 2}).se);
  for (const Values& values : {Values{}, Values{2}, Values{2, 2, 2}}) {
    const SeriesMean unknown = series_mean(values);
    BOOST_TEST(unknown.se == kInfinity);
    BOOST_TEST(unknown.n_effective == 0);
    BOOST_TEST(unknown.ci95.low == -kInfinity);
    BOOST_TEST(unknown.ci95.high == kInfinity);
  }
}

}  // namespace
