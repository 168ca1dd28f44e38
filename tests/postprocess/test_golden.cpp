// Lines, robust lines, bands, known variances, profiles and distributions against R and
// statsmodels.
#define BOOST_TEST_MODULE post_golden
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "base/files.hpp"
#include "postprocess/nist.hpp"
#include "postprocess/stats/inference.hpp"
#include "postprocess/stats/known_variances.hpp"
#include "postprocess/stats/least_squares.hpp"
#include "postprocess/stats/line_fit.hpp"
#include "postprocess/stats/robust.hpp"

namespace {

using namespace pg::post;

/// `value` agrees with `expected` to `relative`; where that is 0, to `relative` itself.
void check_close(double value, double expected, double relative, const std::string& what) {
  const double scale = expected == 0 ? 1 : std::abs(expected);
  BOOST_TEST(std::abs(value - expected) <= relative * scale,
             what << ": " << value << " is not " << expected);
}

std::vector<double> logs(std::vector<double> values) {
  for (double& v : values) v = std::log(v);
  return values;
}

struct Points {
  std::vector<double> x, y;
};

const std::vector<double> kBatches = {8, 16, 32, 64, 128, 256, 512};
const Points kPhase2 = {logs(kBatches), logs({3e-4, 3e-4, 3e-4, 1e-3, 3e-4, 3e-4, 3e-5})};
const Points kSnapped = {logs(kBatches), logs({3e-4, 3e-4, 1e-3, 1e-3, 1e-3, 3e-3, 3e-3})};
const std::map<std::string, Points> kCases = {
    {"phase2_seed_origin_7pt", kPhase2},
    {"phase2_5_origin_4pt", {logs({32, 64, 128, 256}), logs({1e-3, 3e-3, 1e-2, 1e-2})}},
    {"seed003_table_ppl_vs_N",
     {logs({1234567, 4567890, 16789012, 98765432}), logs({123.45, 67.89, 34.56, 12.34})}},
    // Two theories whose optima fall into the same cells of the grid.
    {"ideal_2_3_snapped_to_grid", kSnapped},
    {"ideal_1_2_snapped_to_grid", kSnapped}};

/// The residuals of NIST's set under f(b, x).
LeastSquaresProblem nist_problem(const pg::test::NistSet& set,
                                 double (*f)(std::span<const double>, double)) {
  LeastSquaresProblem problem;
  problem.n = set.rows.size();
  problem.p = set.estimates.size();
  problem.residuals = [&set, f](std::span<const double> b, std::span<double> r) {
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = set.rows[i][0] - f(b, set.rows[i][1]);
  };
  return problem;
}

void check_interval(const Interval& interval, double low, double high, double relative,
                    const std::string& what) {
  check_close(interval.low, low, relative, what + " low");
  check_close(interval.high, high, relative, what + " high");
}

}  // namespace

// The figures of statsmodels 0.13.5 (OLS, HC3, Durbin-Watson), scipy (Theil-Sen).
BOOST_AUTO_TEST_CASE(log_log_lines) {
  const auto golden = nlohmann::json::parse(
      pg::read_file(std::string(PG_SOURCE_DIR) + "/tests/reference/ols_golden.json"));
  BOOST_TEST(golden.size() == kCases.size());
  for (const auto& [name, points] : kCases) {
    const auto& expected = golden.at(name);
    const auto fit = fit_line(points.x, points.y);
    BOOST_REQUIRE(fit);
    const auto check = [&](double value, const char* key) {
      check_close(value, expected.at(key).get<double>(), 1e-9, name + " " + key);
    };
    BOOST_TEST(fit->df == expected.at("df").get<int>());
    check(fit->intercept, "lnC");
    check(fit->slope, "beta");
    check(fit->intercept_se, "se_lnC");
    check(fit->slope_se, "se_beta");
    check(student_quantile(0.975, fit->df), "tcrit");
    const auto ci = expected.at("ci_beta").get<std::vector<double>>();
    check_interval(fit->slope_ci95, ci[0], ci[1], 1e-9, name);
    check(fit->r2, "R2");
    check(fit->adjusted_r2, "R2adj");
    check(fit->s, "sigma");
    check(fit->rss, "ssr");
    check(gaussian_log_likelihood(fit->rss, fit->n).value(), "llf");
    // statsmodels does not count sigma.
    check(gaussian_aic(fit->rss, fit->n, 2).value(), "aic");
    check(gaussian_bic(fit->rss, fit->n, 2).value(), "bic");
    check(fit->slope_se_hc3, "hc3_se_beta");
    check(fit->durbin_watson, "dw");
    check(theil_sen_slope(points.x, points.y).value(), "theil_sen");
    const auto jackknife = expected.at("jack_betas").get<std::vector<double>>();
    BOOST_REQUIRE(fit->leave_one_out_slopes.size() == jackknife.size());
    for (std::size_t i = 0; i < jackknife.size(); ++i) {
      check_close(fit->leave_one_out_slopes[i], jackknife[i], 1e-9, name + " jackknife");
    }
    check(fit->jackknife_se, "jack_se");
    for (const std::string null : {"0.667", "0.500", "0.333", "0.000", "1.000"}) {
      const double t = (fit->slope - std::stod(null)) / fit->slope_se;
      check(t, ("t_vs_" + null).c_str());
      check(student_two_sided_p(t, fit->df), ("p_vs_" + null).c_str());
    }
  }
}

BOOST_AUTO_TEST_CASE(criteria_count_sigma_as_r_does) {
  const auto fit = fit_line(kPhase2.x, kPhase2.y);
  BOOST_REQUIRE(fit);
  // R: m <- lm(y ~ x); AIC(m); BIC(m)
  check_close(gaussian_aic(fit->rss, 7, 3).value(), 23.332387745813648, 1e-12, "AIC");
  check_close(gaussian_bic(fit->rss, 7, 3).value(), 23.170118192979587, 1e-12, "BIC");
  BOOST_TEST(!gaussian_aic(0, 7, 3));
}

// R: m <- lm(y ~ x); predict(m, data.frame(x = log(c(8, 100, 1024))), interval = "confidence") and
// "prediction"; simultaneous: fit -+ sqrt(2 * qf(.95, 2, 5)) * se.fit
BOOST_AUTO_TEST_CASE(bands_of_a_line) {
  const auto fit = fit_line(kPhase2.x, kPhase2.y);
  BOOST_REQUIRE(fit);
  struct Row {
    double batch;
    Interval mean, prediction, simultaneous;
  };
  for (const Row& row : {Row{8,
                             {-9.2580519495786042, -5.7990601683036820},
                             {-10.599980151906271, -4.4571319659760160},
                             {-9.8173009118445655, -5.2398112060377224}},
                         Row{100,
                             {-9.4353544894230659, -7.4196766877998037},
                             {-11.158491453225398, -5.6965397239974713},
                             {-9.7612487933421246, -7.0937823838807441}},
                         Row{1024,
                             {-11.4006705163701234, -7.1103192410032392},
                             {-12.578786686461822, -5.9322030709115419},
                             {-12.0943334824096098, -6.4166562749637528}}}) {
    const double x = std::log(row.batch);
    const auto check = [&](Band band, const Interval& expected) {
      check_interval(line_band(*fit, x, band), expected.low, expected.high, 1e-9, "band");
    };
    check(Band::mean, row.mean);
    check(Band::prediction, row.prediction);
    check(Band::simultaneous, row.simultaneous);
  }
  const auto exact = fit_line(std::vector<double>{0, 1}, std::vector<double>{0, 1});
  BOOST_TEST(!line_band(*exact, 0.5, Band::mean).finite());
  BOOST_TEST(std::isinf(exact->slope_se_hc3));
  BOOST_TEST(std::isinf(exact->jackknife_se));
}

BOOST_AUTO_TEST_CASE(robust_lines) {
  std::vector<double> x;
  for (int i = 0; i < 12; ++i) x.push_back(i);
  const std::vector<double> y = {1.1, 1.4, 2.3, 2.4, 3.2, 3.4, 9.0, 4.6, 5.1, 5.4, 6.2, 6.3};
  // R: library(MASS); r <- rlm(y ~ x, maxit = 500, acc = 1e-13); coef(r); r$s
  const auto huber = fit_robust_line(x, y, RobustLoss::huber);
  BOOST_REQUIRE_MESSAGE(huber.ok(), huber.detail);
  check_close(huber.intercept, 1.10899350408658770, 1e-9, "Huber");
  check_close(huber.slope, 0.49230873658654112, 1e-9, "Huber");
  check_close(huber.scale, 0.25089423059102489, 1e-9, "Huber");
  // R: rlm(y ~ x, psi = psi.bisquare, c = 4.685, maxit = 500, acc = 1e-13)
  const auto bisquare = fit_robust_line(x, y, RobustLoss::bisquare);
  BOOST_REQUIRE_MESSAGE(bisquare.ok(), bisquare.detail);
  check_close(bisquare.intercept, 1.08349571288435009, 1e-9, "bisquare");
  check_close(bisquare.slope, 0.49117711644304379, 1e-9, "bisquare");
  check_close(bisquare.scale, 0.2289272672772017, 1e-9, "bisquare");
}

BOOST_AUTO_TEST_CASE(the_interval_of_theil_and_sen_is_that_of_kendalls_s) {
  // Seven points: P(S <= -15) = 76 / 5040 (inversions 0 to 3: 1 + 6 + 20 + 49), so that the 4th
  // smallest and the 4th largest of 21 slopes are the ends.
  const std::vector<double> x = {0, 1, 2, 3, 4, 5, 6};
  const std::vector<double> y = {0, 1.2, 1.9, 3.4, 3.9, 5.3, 5.8};
  const auto fit = rank_slope(x, y);
  BOOST_REQUIRE(fit);
  BOOST_TEST(std::abs(fit->confidence - (1 - 2 * 76.0 / 5040)) < 1e-14);
  std::vector<double> slopes;
  for (std::size_t i = 0; i < 7; ++i) {
    for (std::size_t j = i + 1; j < 7; ++j) slopes.push_back((y[j] - y[i]) / (x[j] - x[i]));
  }
  std::sort(slopes.begin(), slopes.end());
  BOOST_TEST(fit->ci95.low == slopes[3]);
  BOOST_TEST(fit->ci95.high == slopes[17]);
  BOOST_TEST(fit->slope == slopes[10]);
  // Four points cannot have 95 %; five can, with the extreme slopes (2 / 120).
  const std::span<const double> all_x = x;
  const std::span<const double> all_y = y;
  BOOST_TEST(!rank_slope(all_x.first(4), all_y.first(4))->ci95.finite());
  BOOST_TEST(std::abs(rank_slope(all_x.first(5), all_y.first(5))->confidence - 59.0 / 60) < 1e-14);
  BOOST_TEST(!rank_slope(std::vector<double>{1, 1}, std::vector<double>{1, 2}));
}

BOOST_AUTO_TEST_CASE(robust_lines_are_refused_where_the_scale_is_zero) {
  // Five of the seven optima are the same grid value: rlm's scale falls to 1e-9, its slope to 0.
  for (const RobustLoss loss : {RobustLoss::huber, RobustLoss::bisquare}) {
    const auto phase2 = fit_robust_line(kPhase2.x, kPhase2.y, loss);
    BOOST_TEST((phase2.status == FitStatus::not_identifiable), to_string(phase2.status));
    BOOST_TEST(phase2.detail.find("MAD") != std::string::npos);
    const auto two = fit_robust_line(std::vector<double>{0, 1}, std::vector<double>{0, 1}, loss);
    BOOST_TEST((two.status == FitStatus::not_identifiable));
  }
  BOOST_TEST(!theil_sen_slope(std::vector<double>{1, 1}, std::vector<double>{0, 1}));
}

// R: f <- lm(y ~ x, weights = 1 / v); summary(f)$coef[, 2], and divided by summary(f)$sigma;
// q <- sum((y - fitted(f))^2 / v); pchisq(q, 5, lower.tail = FALSE); the between variance from
// uniroot(function(t) sum(... / (v + t)) - 5, c(0, 10), tol = 1e-15)
BOOST_AUTO_TEST_CASE(known_variances_and_what_they_leave) {
  const std::vector<double> x = {0, 1, 2, 3, 4, 5, 6};
  const std::vector<double> y = {1.0, 2.1, 2.2, 3.9, 3.7, 5.9, 5.2};
  const std::vector<double> v = {.04, .09, .01, .16, .04, .09, .25};
  const auto fit = fit_known_variances(x, y, v);
  BOOST_REQUIRE(fit);
  check_close(fit->line.intercept, 0.76171113388555023, 1e-9, "intercept");
  check_close(fit->line.slope, 0.81230881074060790, 1e-9, "slope");
  check_close(fit->line.intercept_se, 0.32145956379664170, 1e-9, "relative");
  check_close(fit->line.slope_se, 0.12094136800064673, 1e-9, "relative");
  check_close(fit->intercept_se_absolute, 0.138084295264239987, 1e-9, "absolute");
  check_close(fit->slope_se_absolute, 0.051950868630018576, 1e-9, "absolute");
  check_close(fit->chi2 / fit->line.df, 5.4195612205070320, 1e-9, "chi2");
  check_close(fit->p, 5.4594417103869848e-05, 1e-9, "p");
  check_close(fit->between_variance, 0.28051482293719321, 1e-9, "between variance");
  check_close(fit->between_intercept, 1.02644468142244971, 1e-9, "between");
  check_close(fit->between_slope, 0.79622329523407465, 1e-9, "between");
  check_close(fit->between_intercept_se, 0.39952352482675602, 1e-9, "between");
  check_close(fit->between_slope_se, 0.11756164901494362, 1e-9, "between");
  // Variances that explain the scatter leave nothing between.
  const auto wide = fit_known_variances(x, y, std::vector<double>(7, 1.0));
  BOOST_TEST(wide->between_variance == 0);
  BOOST_TEST(wide->p > 0.5);
  BOOST_TEST(wide->between_slope == wide->line.slope);
  BOOST_CHECK_THROW(fit_known_variances(x, y, std::vector<double>(7, 0.0)), pg::InvalidInput);
}

// R: nls(); AIC, BIC, logLik. The ends of the profiles: uniroot of rss(b) - rss - qt(.975, n - p)^2
// s^2 with the other parameter by optimize(tol = 1e-14). confint(nls) interpolates its profile with
// splines: it is off by up to 6e-6 from these.
BOOST_AUTO_TEST_CASE(profiles_as_nls) {
  const auto misra = pg::test::read_nist("Misra1a");
  const auto misra_problem = nist_problem(
      misra, [](std::span<const double> b, double x) { return b[0] * (1 - std::exp(-b[1] * x)); });
  const auto misra_fit = fit_least_squares(misra_problem, misra.starts[1]);
  BOOST_REQUIRE(misra_fit.ok());
  check_close(misra_fit.standard_errors[0], 2.707007644, 1e-6, "Misra1a se");
  check_close(misra_fit.standard_errors[1], 7.266868881e-06, 1e-6, "Misra1a se");
  check_interval(profile_interval(misra_problem, misra_fit, 0), 233.195307961664, 245.017369243215,
                 1e-8, "Misra1a b1");
  check_interval(profile_interval(misra_problem, misra_fit, 1), 0.000534318267928745,
                 0.000566029897276436, 1e-8, "Misra1a b2");
  // confint(nls)
  check_interval(profile_interval(misra_problem, misra_fit, 0), 233.1953217, 245.0176588, 1e-5,
                 "Misra1a b1, splines");
  check_close(gaussian_aic(misra_fit.rss, 14, 3).value(), -20.37904008, 1e-6, "AIC");
  check_close(gaussian_bic(misra_fit.rss, 14, 3).value(), -18.46186809, 1e-6, "BIC");
  check_close(gaussian_log_likelihood(misra_fit.rss, 14).value(), 13.18952004, 1e-6, "logLik");

  const auto wood = pg::test::read_nist("DanWood");
  const auto wood_problem = nist_problem(
      wood, [](std::span<const double> b, double x) { return b[0] * std::pow(x, b[1]); });
  const auto wood_fit = fit_least_squares(wood_problem, wood.starts[0]);
  BOOST_REQUIRE(wood_fit.ok());
  check_close(wood_fit.b[0], 0.7688624575, 1e-6, "DanWood b1");
  check_close(wood_fit.b[1], 3.8604050274, 1e-6, "DanWood b2");
  check_interval(profile_interval(wood_problem, wood_fit, 0), 0.719607162873645, 0.820769803290038,
                 1e-8, "DanWood b1");
  check_interval(profile_interval(wood_problem, wood_fit, 1), 3.71805865703821, 4.00418315689516,
                 1e-8, "DanWood b2");
  // A straight line through the logarithms estimates something else.
  std::vector<double> x, y;
  for (const auto& row : wood.rows) {
    x.push_back(std::log(row[1]));
    y.push_back(std::log(row[0]));
  }
  const auto line = fit_line(x, y);
  check_close(std::exp(line->intercept), 0.7499453471, 1e-9, "log-log a");
  check_close(line->slope, 3.9172056365, 1e-9, "log-log b");
}

// R: qt(p, d); qf(q, 3, d, lower.tail = FALSE); 2 * pt(t, d, lower.tail = FALSE);
// pf(f, 3, d, lower.tail = FALSE) (qf takes d = 1e6 for infinite: there by uniroot of log pf);
// qnorm(p); pchisq(x, d, lower.tail = FALSE)
BOOST_AUTO_TEST_CASE(quantiles_and_tails) {
  const std::vector<double> p = {1e-10, 1e-4, 0.025, 0.3, 0.8, 0.999, 1 - 1e-10};
  const std::vector<double> q = {1e-10, 1e-4, 0.05, 0.5};
  const std::vector<double> t = {0.5, 2, 8};
  const std::vector<double> f = {0.5, 4, 60};
  struct Row {
    double df;
    std::vector<double> t_quantiles, f_quantiles, t_tails, f_tails;
  };
  const std::vector<Row> rows = {
      {1,
       {-3183098861.837906, -3183.098757118151, -12.70620473617471, -0.726542528005361,
        1.376381920471174, 318.3088389855502, 3183098598.467148},
       {5.403796460924696e+19, 54037964.16480232, 215.707345369609, 1.709225603499832},
       {0.7048327646991336, 0.2951672353008664, 0.07916684832113108},
       {0.7477845036444958, 0.348552035151849, 0.0945519329695766}},
      {2,
       {-70710.67810804815, -70.70007107496427, -4.302652729749464, -0.6172133998483676,
        1.060660171779821, 22.32712477011987, 70710.67518273447},
       {9999999999.166658, 9999.1666620368, 19.16429212751129, 1.134942922612877},
       {0.6666666666666667, 0.1835034190722739, 0.01526807216533814},
       {0.7194341411251527, 0.2064399144806697, 0.01643814881546767}},
      {5,
       {-156.8255927088943, -9.677566300882591, -2.570581835636315, -0.5594296444693611,
        0.9195437802408262, 5.893429531356008, 156.8255901132808},
       {22152.53591018284, 86.29162844861266, 5.409451318056492, 0.9071462198190188},
       {0.638298871640929, 0.1019394788298583, 0.0004929066605724437},
       {0.6984526373049242, 0.08487699754151323, 0.0002422651256669119}},
      {39,
       {-8.510442677000018, -4.104681255500052, -2.022690920036761, -0.5287141924449238,
        0.8509350199201244, 3.3127880826719, 8.510442649574356},
       {32.64926504447551, 9.191042787358333, 2.845067805279349, 0.802630832459462},
       {0.6198846916973788, 0.05249901534385476, 9.465522412447512e-10},
       {0.6844682170167451, 0.01414950296609885, 1.128432474637359e-14}},
      {1000000,
       {-6.361406848876742, -3.719030274762543, -1.959966356814107, -0.5244006798602087,
        0.8416215930139842, 3.090240456316519, 6.361406836169717},
       {16.51445279607231, 7.0359085591128823, 2.6049181769761525, 0.7886585001017755},
       {0.6170751874723717, 0.04550053385131918, 1.245506343320253e-15},
       {0.6822704168859852, 0.007383386595073654, 8.890874903688036e-39}},
  };
  for (const Row& row : rows) {
    const std::string at = "df " + std::to_string(row.df);
    for (std::size_t i = 0; i < p.size(); ++i) {
      check_close(student_quantile(p[i], row.df), row.t_quantiles[i], 1e-9, "t quantile, " + at);
    }
    for (std::size_t i = 0; i < q.size(); ++i) {
      check_close(fisher_upper_quantile(q[i], 3, row.df), row.f_quantiles[i], 1e-9,
                  "F quantile, " + at);
    }
    for (std::size_t i = 0; i < t.size(); ++i) {
      check_close(student_two_sided_p(t[i], row.df), row.t_tails[i], 1e-9, "t tail, " + at);
      check_close(fisher_upper_p(f[i], 3, row.df), row.f_tails[i], 1e-9, "F tail, " + at);
    }
    check_close(fisher_quantile(0.95, 3, row.df), row.f_quantiles[2], 1e-9, "F quantile, " + at);
  }
  const std::vector<double> normal = {-6.361340902404056,  -3.71901648545568,  -1.959963984540054,
                                      -0.5244005127080407, 0.8416212335729144, 3.090232306167813,
                                      6.361340889697421};
  for (std::size_t i = 0; i < p.size(); ++i) {
    check_close(normal_quantile(p[i]), normal[i], 1e-9, "normal quantile");
  }
  const std::vector<std::pair<double, std::vector<double>>> chi_squared = {
      {1, {0.4795001221869535, 0.001565402258002552, 2.088487583762545e-45}},
      {2, {0.7788007830714049, 0.006737946999085467, 3.720075976020836e-44}},
      {5, {0.9921232932326296, 0.0752352461465122, 2.840622898641532e-41}},
      {39, {1, 0.9999993001618045, 1.641950026481248e-23}},
  };
  for (const auto& [df, tails] : chi_squared) {
    const std::vector<double> at = {0.5, 10, 200};
    for (std::size_t i = 0; i < at.size(); ++i) {
      check_close(chi_squared_upper_p(at[i], df), tails[i], 1e-9, "chi-squared tail");
    }
  }
}
