// The laws against R (lm, nls with its profile confint), statsmodels, closed forms and data that do
// not determine them.
#define BOOST_TEST_MODULE laws
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "base/error.hpp"
#include "postprocess/fits/law.hpp"
#include "postprocess/law_examples.hpp"
#include "postprocess/profile_check.hpp"

namespace {

using namespace pg::post;
using namespace pg::test;

/// Seven best learning rates that bend: the example of the R lines below.
const LawData kRates = points({8, 16, 32, 64, 128, 256, 512},
                              {3.1e-4, 4.4e-4, 7.9e-4, 9.6e-4, 1.35e-3, 1.41e-3, 1.62e-3});

}  // namespace

// x <- c(8,16,...,512); y <- c(3.1e-4,...); p <- lm(log(y) ~ log(x)); confint(p); cooks.distance(p)
BOOST_AUTO_TEST_CASE(power_is_rs_lm) {
  const LawFit fit = fit_law("power", kRates);
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("beta").estimate, 0.403222692639, 1e-11));
  BOOST_TEST(close(fit.parameter("beta").ci95.low, 0.27398852195, 1e-10));
  BOOST_TEST(close(fit.parameter("beta").ci95.high, 0.532456863328, 1e-10));
  BOOST_TEST(close(fit.parameter("ln_C").estimate, -8.74793808787, 1e-11));
  // C is a median multiplier: the ends of its interval are those of ln C.
  BOOST_TEST(close(std::log(fit.parameter("C").ci95.low), -9.31448100833, 1e-10));
  BOOST_TEST(close(std::log(fit.parameter("C").ci95.high), -8.181395167411, 1e-10));
  BOOST_TEST(close(*fit.aicc, 7.84042332278, 1e-10));
  BOOST_TEST(close(fit.cooks_distance[0], 0.6833067332208, 1e-10));
  BOOST_TEST(close(fit.cooks_distance[6], 0.8845353042701, 1e-10));
  BOOST_TEST(close(fit.leverage[0], 0.464285714286, 1e-10));
  // anova(p, lm(log(y) ~ log(x) + I(log(x)^2))): F = 21.79465, p = 0.0095291
  BOOST_TEST(warned(fit, "curved in x: F(1, 4) = 21.8, p = 0.0095"));
  // predict(p, data.frame(lx = log(1024)), interval = "prediction"), and "confidence"
  const double x[] = {1024};
  const LawBand band = band_at(fit, x);
  BOOST_TEST(close(std::log(band.y), -5.95301136247, 1e-10));
  BOOST_TEST(close(std::log(band.prediction95.low), -6.57362803713, 1e-10));
  BOOST_TEST(close(std::log(band.prediction95.high), -5.3323946878, 1e-10));
  BOOST_TEST(close(std::log(band.mean95.low), -6.35361770336, 1e-10));
  // Working and Hotelling: sqrt(2 F) for t; qf(0.95, 2, 5) = 5.7861350, qt(0.975, 5) = 2.5705818
  const double ratio = (std::log(band.simultaneous95.high) - std::log(band.y)) /
                       (std::log(band.mean95.high) - std::log(band.y));
  BOOST_TEST(close(ratio, std::sqrt(2 * 5.786135043349964) / 2.5705818366147395, 1e-9));
}

// pw <- lm(log(y) ~ log(x), weights = c(1,2,1,3,1,2,1)); AIC(pw)
BOOST_AUTO_TEST_CASE(weights_are_rs) {
  LawData data = kRates;
  data.weights = {1, 2, 1, 3, 1, 2, 1};
  const LawFit fit = fit_law("power", data);
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("beta").estimate, 0.406957635039, 1e-10));
  BOOST_TEST(close(fit.parameter("beta").se, 0.0494424370773, 1e-10));
  BOOST_TEST(close(fit.parameter("ln_C").se, 0.2147686372102, 1e-10));
  BOOST_TEST(close(*fit.aic, -1.118867588, 1e-9));
  BOOST_TEST(close(fit.r2, 0.931269910008, 1e-10));
  LawData scaled = data;
  for (double& w : scaled.weights) w *= 17;  // relative: only their ratios matter
  BOOST_TEST(close(fit_law("power", scaled).parameter("beta").se, 0.0494424370773, 1e-10));
}

// statsmodels, OLS of the logarithms (ols_golden.json)
BOOST_AUTO_TEST_CASE(perplexity_against_parameters) {
  const LawFit fit = fit_law(
      "power", points({1234567, 4567890, 16789012, 98765432}, {123.45, 67.89, 34.56, 12.34}));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("beta").estimate, -0.5270790598780434, 1e-11));
  BOOST_TEST(close(fit.parameter("beta").se, 0.020550913272172025, 1e-10));
  BOOST_TEST(close(fit.parameter("beta").ci95.low, -0.6155025029707242, 1e-10));
  BOOST_TEST(close(fit.parameter("beta").ci95.high, -0.4386556167853626, 1e-10));
  BOOST_TEST(close(fit.parameter("C").estimate / 210867.74371711252, 1, 1e-10));
  BOOST_TEST(close(fit.parameter("ln_C").se, 0.3325681715907439, 1e-10));
  BOOST_TEST(close(fit.r2, 0.996968746430721, 1e-11));
  BOOST_TEST(close(*fit.log_likelihood, 6.546806280458162, 1e-10));
  // statsmodels' AIC does not count sigma: 2 less than R's
  BOOST_TEST(close(*fit.aic, -9.093612560916323 + 2, 1e-10));
  BOOST_TEST(!fit.aicc.has_value());  // n = k + 1
}

// s <- nls(log(y) ~ h - log1p(exp(k)/x)); u <- nls(log(y) ~ h - log(cosh((log(x)-k)/2)));
// summary, confint (profile), AIC + 2 k (k+1) / (n-k-1)
BOOST_AUTO_TEST_CASE(laws_of_the_noise_scale_are_rs_nls) {
  const LawFit saturating = fit_law("saturating", kRates);
  BOOST_REQUIRE(saturating.ok());
  BOOST_TEST(close(saturating.internal[0], -6.39061332892, 1e-7));
  BOOST_TEST(close(saturating.internal[1], 3.66465291324, 1e-7));
  BOOST_TEST(close(std::sqrt(saturating.covariance(0, 0)), 0.0546520062629, 1e-6));
  BOOST_TEST(close(std::sqrt(saturating.covariance(1, 1)), 0.1104241034660, 1e-6));
  BOOST_TEST(close(*saturating.aicc, -4.05965955993, 1e-7));
  BOOST_TEST(close(*saturating.bic, -12.2219291128, 1e-7));
  // R interpolates its profile: four digits
  const LawParameter& b_n = saturating.parameter("B_n");
  BOOST_TEST(b_n.ci_method == "exp of profile");
  BOOST_TEST(std::abs(std::log(b_n.ci95.low) - 3.37225692049) < 2e-3);
  BOOST_TEST(std::abs(std::log(b_n.ci95.high) - 3.94763318822) < 2e-3);
  const LawFit surge = fit_law("surge", kRates);
  BOOST_REQUIRE(surge.ok());
  BOOST_TEST(close(surge.internal[0], -6.38575673663, 1e-6));
  BOOST_TEST(close(surge.internal[1], 6.58348992414, 1e-6));
  BOOST_TEST(close(std::sqrt(surge.covariance(1, 1)), 0.317767187402, 1e-5));
  BOOST_TEST(close(*surge.aicc, 1.38405043732, 1e-7));

  const auto rivals = compare_laws(find_law("power").rivals, kRates);
  const std::vector<std::string> order = {"saturating", "surge", "power", "log_quadratic",
                                          "constant"};
  const std::vector<double> aicc = {-4.05965955993, 1.38405043732, 7.84042332278, 8.79331417079,
                                    19.2462705284};
  double weights = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    BOOST_TEST(rivals[i].fit.law == order[i]);
    BOOST_TEST(close(rivals[i].delta_aicc, aicc[i] - aicc[0], 1e-6));
    BOOST_TEST(
        close(rivals[i].weight / rivals[0].weight, std::exp(-(aicc[i] - aicc[0]) / 2), 1e-6));
    weights += rivals[i].weight;
  }
  BOOST_TEST(close(weights, 1, 1e-12));
}

// o <- nls(log(L) ~ log(E + exp(a - al * log(N)))); k <- lm(log(L) ~ log(N)), delta method by hand
BOOST_AUTO_TEST_CASE(laws_of_the_loss_are_rs) {
  const LawData data =
      points({1e6, 3e6, 1e7, 3e7, 1e8, 3e8}, {4.905, 4.231, 3.672, 3.336, 3.021, 2.853});
  const LawFit offset = fit_law("offset", data);
  BOOST_REQUIRE(offset.ok());
  BOOST_TEST(close(offset.parameter("E").estimate, 2.320455113362, 1e-6));
  BOOST_TEST(close(offset.parameter("alpha").estimate, 0.279158044193, 1e-6));
  BOOST_TEST(close(std::sqrt(offset.covariance(0, 0)), 0.0523132162512, 1e-5));
  BOOST_TEST(close(std::sqrt(offset.covariance(1, 1)), 0.1523910802366, 1e-5));
  BOOST_TEST(close(*offset.aic, -44.4719594157, 1e-7));
  BOOST_TEST(offset.parameter("E").ci_method == "profile");
  BOOST_TEST(std::abs(offset.parameter("E").ci95.low - 2.130595853769) < 3e-3);
  BOOST_TEST(std::abs(offset.parameter("E").ci95.high - 2.468314963062) < 3e-3);
  BOOST_TEST(std::abs(offset.parameter("alpha").ci95.low - 0.241075336046) < 1e-3);

  const LawFit kaplan = fit_law("kaplan", data);
  BOOST_REQUIRE(kaplan.ok());
  BOOST_TEST(close(kaplan.parameter("alpha").estimate, 0.0950864204263, 1e-10));
  BOOST_TEST(close(kaplan.parameter("ln_N_c").estimate, 30.1501566797, 1e-9));
  BOOST_TEST(close(kaplan.parameter("ln_N_c").se, 1.01987659089, 1e-8));
  BOOST_TEST(warned(kaplan, "curved"));
  BOOST_TEST(kaplan.r2 > 0.97);  // which is no evidence

  // AIC(lm(L ~ log(N))) and AIC(k) + 2 sum(log(L)): one response each, one density of y
  const auto rivals = compare_laws({"kaplan", "log_linear"}, data);
  const double difference = 0.844636188718 - -4.5452342401;
  BOOST_TEST(rivals[0].fit.law == "kaplan");  // log_linear has the larger AIC
  BOOST_TEST(close(rivals[1].delta_aicc, difference, 1e-9));
}

// nls(y ~ b1 * x^b2) and lm(log(y) ~ log(x)) on NIST's DanWood; certified 0.76886226, 3.8604056
BOOST_AUTO_TEST_CASE(errors_of_y_and_of_ln_y_are_two_estimands) {
  const LawData data = points({1.309, 1.471, 1.490, 1.565, 1.611, 1.680},
                              {2.138, 3.421, 3.597, 4.340, 4.882, 5.660});
  const LawFit nls = fit_law("power_nls", data);
  BOOST_REQUIRE(nls.ok());
  BOOST_TEST(close(nls.parameter("C").estimate, 0.76886226176, 1e-8));
  BOOST_TEST(close(nls.parameter("beta").estimate, 3.8604055871, 1e-8));
  BOOST_TEST(close(nls.parameter("C").se, 0.018281973860, 1e-6));
  BOOST_TEST(close(nls.parameter("beta").se, 0.051726610913, 1e-6));
  BOOST_TEST(std::abs(nls.parameter("C").ci95.low - 0.719610590986) < 1e-4);
  BOOST_TEST(std::abs(nls.parameter("C").ci95.high - 0.820771567535) < 1e-4);
  BOOST_TEST(std::abs(nls.parameter("beta").ci95.low - 3.718060205929) < 1e-3);
  const LawFit ols = fit_law("power", data);
  BOOST_TEST(close(ols.parameter("ln_C").estimate, -0.287754945576, 1e-10));
  BOOST_TEST(close(ols.parameter("beta").estimate, 3.917205636482, 1e-10));
}

// nls(log(S) ~ log(exp(a) + exp(b) / B))
BOOST_AUTO_TEST_CASE(critical_batch_by_formula_and_by_r) {
  const LawData exact = curve(powers_of_two(6, 12), [](double b) { return 4000.0 + 3.2e6 / b; });
  LawFit fit = fit_law("critical_batch", exact);
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("a").estimate, 4000, 1e-8));
  BOOST_TEST(close(fit.parameter("b").estimate, 3.2e6, 1e-8));
  BOOST_TEST(close(fit.parameter("CBS").estimate, 160, 1e-8));
  fit = fit_law("critical_batch",
                points({64, 128, 256, 512, 1024, 2048}, {40100, 21800, 12500, 7600, 5350, 4120}));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("CBS").estimate, 161.833062176, 1e-6));
  BOOST_TEST(close(fit.parameter("CBS").se / fit.parameter("CBS").estimate, 0.0174956252854, 1e-5));
  BOOST_TEST(std::abs(std::log(fit.parameter("a").ci95.low) - 7.96185527078) < 1e-3);
  // Where the steps fall as 1 / B throughout, the bend is beyond the data.
  fit = fit_law("critical_batch", curve(powers_of_two(6, 12), [](double b) { return 1e7 / b; }));
  BOOST_TEST(!fit.ok());
  BOOST_TEST((fit.status == FitStatus::not_identifiable || fit.status == FitStatus::not_converged ||
              fit.status == FitStatus::rank_deficient),
             to_string(fit.status));
}

BOOST_AUTO_TEST_CASE(exact_data_give_the_laws_back) {
  const auto b = powers_of_two(3, 9);
  LawFit fit = fit_law("saturating", curve(b, [](double x) { return 3e-3 / (1 + 90 / x); }));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("B_n").estimate, 90, 1e-8));
  BOOST_TEST(close(fit.parameter("eta_max").estimate, 3e-3, 1e-10));
  fit = fit_law("surge", curve(b, [](double x) {
                  return 3e-3 / ((std::sqrt(90 / x) + std::sqrt(x / 90)) / 2);
                }));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("B_n").estimate, 90, 1e-8));
  std::vector<double> n;
  for (int i = 0; i < 16; ++i) n.push_back(2e5 * std::pow(250.0, i / 15.0));
  fit = fit_law("offset", curve(n, [](double x) { return 1.7 + 400 / std::pow(x, 0.348); }));
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  BOOST_TEST(close(fit.parameter("alpha").estimate, 0.348, 1e-7));
  BOOST_TEST(close(fit.parameter("E").estimate, 1.7, 1e-7));
  // Kaplan's form on the same points: a good R2, the wrong law, and a warning.
  fit = fit_law("kaplan", curve(n, [](double x) { return 1.7 + 400 / std::pow(x, 0.348); }));
  BOOST_TEST(fit.r2 > 0.98);
  BOOST_TEST(warned(fit, "whatever R2 says"));
  fit = fit_law("linear", points({-1, 0, 2, 5}, {-1, 1, 5, 11}));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(close(fit.parameter("a").estimate, 1, 1e-12));
  BOOST_TEST(close(fit.parameter("b").estimate, 2, 1e-12));
  fit = fit_law("constant", points({1, 1, 1}, {2, 4, 8}));
  BOOST_TEST(close(fit.parameter("C").estimate, 4, 1e-12));
}

BOOST_AUTO_TEST_CASE(profiles_end_where_f_says) {
  BOOST_TEST(check_profile(fit_law("saturating", kRates), kRates) == 0U);
  BOOST_TEST(check_profile(fit_law("surge", kRates), kRates) == 0U);
}

BOOST_AUTO_TEST_CASE(data_that_do_not_determine_a_law_give_a_status) {
  for (const Law& law : laws()) {
    LawData few;
    few.x.assign(law.variables.size(), {4});
    few.y = {2};
    const LawFit fit = fit_law(law.name, few);
    BOOST_TEST((fit.status == FitStatus::not_identifiable), law.name);
    BOOST_TEST(!fit.detail.empty(), law.name);
    LawData same;
    same.x.assign(law.variables.size(), std::vector<double>(20, 4.0));
    for (int i = 0; i < 20; ++i) same.y.push_back(2 + 0.01 * i);
    const LawFit flat = fit_law(law.name, same);
    BOOST_TEST((law.name == "constant" || flat.status == FitStatus::not_identifiable), law.name);
    BOOST_TEST(find_law(law.name).parameter_names.size() > 0U);
  }
  // A floor where the points are a pure power law, and a rising loss.
  const auto n = powers_of_two(10, 22);
  LawFit fit = fit_law("offset", curve(n, [](double x) { return 1 + 2e-7 * x; }));
  BOOST_TEST(!fit.ok());
  BOOST_TEST((fit.status == FitStatus::not_identifiable));
  fit = fit_law("offset", curve(
                              n, [](double x) { return 5 * std::pow(x, -0.1); }, 0.01));
  BOOST_TEST((!fit.ok() || fit.parameter("E").ci95.low <= 0), fit.detail);
  // Square root throughout: surge's peak, and straight: saturating's bend, are beyond the data.
  fit = fit_law("surge", curve(powers_of_two(3, 9), [](double x) { return 1e-4 * std::sqrt(x); }));
  BOOST_TEST(!fit.ok());
  BOOST_TEST(!fit.aicc.has_value());
  // Two points: a line without an error.
  fit = fit_law("power", points({1, 2, 2}, {1, 2, 2}));
  BOOST_TEST(fit.ok());
  const LawFit two = fit_law("constant", points({1, 2}, {1, 3}));
  BOOST_TEST(two.df == 1);
  BOOST_TEST(close(two.parameter("C").ci95.high,  // t_1 = 12.706
                   std::exp(std::log(3.0) / 2 + 12.706204736432095 * std::log(3.0) / 2), 1e-9));
}

BOOST_AUTO_TEST_CASE(values_outside_the_domain_are_named) {
  LawData data = kRates;
  data.labels = {"t.csv:2", "t.csv:3", "t.csv:4", "t.csv:5", "t.csv:6", "t.csv:7", "t.csv:8"};
  data.y[3] = -1;
  const auto names_line = [](const pg::InvalidInput& error) {
    return std::string(error.what()).find("t.csv:5") != std::string::npos;
  };
  BOOST_CHECK_EXCEPTION(fit_law("power", data), pg::InvalidInput, names_line);
  BOOST_CHECK_EXCEPTION(fit_law("saturating", data), pg::InvalidInput, names_line);
  BOOST_TEST(fit_law("log_linear", data).ok());  // takes no logarithm of y
  data.y[3] = NAN;
  BOOST_CHECK_EXCEPTION(fit_law("linear", data), pg::InvalidInput, names_line);
  data = kRates;
  data.x[0][0] = 0;
  BOOST_CHECK_THROW(fit_law("power", data), pg::InvalidInput);
  data = kRates;
  data.weights.assign(7, 1.0);
  data.weights[2] = 0;
  BOOST_CHECK_THROW(fit_law("power", data), pg::InvalidInput);
  BOOST_CHECK_EXCEPTION(find_law("satrating"), pg::InvalidInput, [](const auto& error) {
    return std::string(error.what()).find("'saturating'") != std::string::npos;
  });
  BOOST_CHECK_THROW(fit_law("chinchilla", kRates), pg::InvalidInput);  // one variable
}

BOOST_AUTO_TEST_CASE(units_change_what_they_must_and_nothing_else) {
  const LawFit fit = fit_law("power", kRates);
  LawData scaled = kRates;
  for (double& x : scaled.x[0]) x *= 1024;  // samples to tokens
  for (double& y : scaled.y) y *= 10;
  const LawFit other = fit_law("power", scaled);
  const double beta = fit.parameter("beta").estimate;
  BOOST_TEST(close(other.parameter("beta").estimate, beta, 1e-11));
  BOOST_TEST(close(other.parameter("beta").se, fit.parameter("beta").se, 1e-11));
  BOOST_TEST(close(other.parameter("ln_C").estimate,
                   fit.parameter("ln_C").estimate + std::log(10) - beta * std::log(1024), 1e-11));
  const LawFit bent = fit_law("saturating", kRates);
  const LawFit bent_scaled = fit_law("saturating", scaled);
  BOOST_TEST(
      close(bent_scaled.parameter("B_n").estimate, 1024 * bent.parameter("B_n").estimate, 1e-6));
}

BOOST_AUTO_TEST_CASE(repeated_points_test_the_form) {
  // Three tight repeats each of a curve that no power law follows.
  std::vector<double> x;
  for (const double v : {1.0, 2.0, 4.0, 8.0, 16.0}) x.insert(x.end(), 3, v);
  const auto hump = [](double v) { return 1 + (v == 4 ? 0.5 : 0) + (v == 2 ? 0.2 : 0); };
  const LawFit fit = fit_law("power", curve(x, hump, 0.01));
  BOOST_REQUIRE(fit.ok());
  BOOST_TEST(warned(fit, "lack of fit"));
  const LawFit good = fit_law("power", curve(
                                           x, [](double v) { return 3 * v; }, 0.01));
  BOOST_TEST(!warned(good, "lack of fit"));
}

BOOST_AUTO_TEST_CASE(points_held_out_are_predicted) {
  const HeldOut held = hold_out(fit_law("power", kRates), kRates);
  BOOST_REQUIRE(held.errors.size() == 7U);
  // Deleted residuals of least squares: -e_i / (1 - h_i) in ln(predicted / observed).
  const LawFit fit = fit_law("power", kRates);
  for (std::size_t i = 0; i < 7; ++i) {
    BOOST_REQUIRE(held.errors[i].has_value());
    BOOST_TEST(close(*held.errors[i], -fit.residuals[i] / (1 - fit.leverage[i]), 1e-10));
  }
  BOOST_REQUIRE(held.largest_errors.size() == 1U);
  BOOST_TEST(held.largest[0] == 6U);
  BOOST_TEST(close(held.largest_errors[0], *held.errors[6], 1e-12));
  // The wrong form pays where it is extrapolated.
  const HeldOut bent = hold_out(fit_law("saturating", kRates), kRates);
  BOOST_TEST(std::abs(bent.largest_errors[0]) < std::abs(held.largest_errors[0]) / 3);
}
