// The Chinchilla surface against published and independent fits (scipy and R; golden figures of
// the 240 and 245 points), and on exact data.
#define BOOST_TEST_MODULE chinchilla
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>

#include "base/error.hpp"
#include "base/random.hpp"
#include "postprocess/fits/chinchilla.hpp"
#include "postprocess/fits/law_bootstrap.hpp"
#include "postprocess/law_data.hpp"
#include "postprocess/profile_check.hpp"

namespace {

using namespace pg::post;
using Kind = ChinchillaObjective::Kind;

/// Huber fits of chinchilla_golden.json: a, b, e, alpha, beta and the objective's value.
struct Golden {
  bool all;
  double delta;
  double a, b, e, alpha, beta, value;
};
constexpr Golden kGolden[] = {
    {false, 1e-3, 6.169246354270579, 7.670156735566393, 0.5973068137243068, 0.34731049770049016,
     0.36717243275697836, 0.001018274017800599},
    {false, 1e-2, 6.289255123901191, 7.974395164448461, 0.6087207953165368, 0.3544155033791683,
     0.3815375248906127, 0.0046962248826159965},
    {false, 1e-4, 6.171050513565309, 7.633085464164487, 0.5965391268788848, 0.34740885224452106,
     0.3653847309272773, 0.000111778748164019},
    {true, 1e-3, 6.206023372514213, 9.460757652474717, 0.6372847790255386, 0.3493128937228007,
     0.4530492955812028, 0.0018260105230693325},
    {true, 1e-2, 6.36013110709262, 9.962079231012614, 0.6495031320427443, 0.3582683526867512,
     0.4764896962268051, 0.011806820358505455},
    {true, 1e-4, 6.142429142205155, 9.42625106043372, 0.6340201048917573, 0.3455777899365192,
     0.451430031653541, 0.00019279385957109832}};

/// E + A / N^alpha + B / D^beta on a grid, with relative errors of the given size.
LawData surface(double noise, const std::vector<double>& sizes, const std::vector<double>& tokens,
                std::uint64_t seed = 1) {
  const pg::random::Stream stream(seed, pg::random::Purpose::test);
  LawData data;
  data.x.resize(2);
  for (const double n : sizes) {
    for (const double d : tokens) {
      data.x[0].push_back(n);
      data.x[1].push_back(d);
      const double loss = 1.7 + 400 / std::pow(n, 0.34) + 420 / std::pow(d, 0.29);
      data.y.push_back(loss * std::exp(noise * stream.normal(data.y.size())));
    }
  }
  return data;
}

const std::vector<double> kSizes = {1e6, 4e6, 16e6, 64e6, 256e6};
const std::vector<double> kTokens = {2e7, 1e8, 5e8, 2.5e9, 1.25e10};

}  // namespace

BOOST_AUTO_TEST_CASE(huber_fits_of_the_published_points_reach_the_optimum) {
  for (const Golden& golden : kGolden) {
    const auto data = pg::test::chinchilla_points(golden.all);
    if (!data) return;
    BOOST_REQUIRE(data->size() == (golden.all ? 245U : 240U));
    const LawFit fit = fit_chinchilla(*data, {Kind::huber, golden.delta});
    BOOST_TEST(fit.ok(), fit.detail);
    BOOST_TEST_MESSAGE("delta " << golden.delta << (golden.all ? " 245" : " 240") << ": "
                                << fit.objective - golden.value << " "
                                << fit.internal[3] - golden.alpha << " "
                                << fit.internal[4] - golden.beta);
    BOOST_TEST(fit.objective <= golden.value * (1 + 1e-9));
    BOOST_TEST(std::abs(fit.internal[3] - golden.alpha) < 2e-5);
    BOOST_TEST(std::abs(fit.internal[4] - golden.beta) < 2e-5);
    BOOST_TEST(std::abs(fit.internal[0] - golden.a) < 1e-3);
    BOOST_TEST(std::abs(fit.internal[1] - golden.b) < 1e-3);
    BOOST_TEST(std::abs(fit.internal[2] - golden.e) < 1e-4);
  }
}

BOOST_AUTO_TEST_CASE(the_registered_law_is_the_published_objective) {
  const auto data = pg::test::chinchilla_points(false);
  if (!data) return;
  const LawFit fit = fit_law("chinchilla", *data);
  BOOST_TEST(fit.ok(), fit.detail);
  BOOST_TEST(fit.objective <= 1.0182741e-3);
  BOOST_TEST(std::abs(fit.parameter("alpha").estimate - 0.3473105) < 2e-5);
  BOOST_TEST(std::abs(fit.parameter("beta").estimate - 0.3671724) < 2e-5);
  BOOST_TEST(!std::isfinite(fit.parameter("alpha").se));  // no error but a bootstrap's
  BOOST_TEST(fit.parameter("alpha").ci_method == "bootstrap only");
  BOOST_TEST(!fit.aicc.has_value());
}

BOOST_AUTO_TEST_CASE(least_absolute_errors_give_the_row_that_was_reported) {
  const auto data = pg::test::chinchilla_points(false);
  if (!data) return;
  const LawFit fit = fit_law("chinchilla_lad", *data);
  BOOST_TEST(fit.ok(), fit.detail);
  BOOST_TEST(fit.objective <= 1.129494664 * (1 + 1e-9));
  BOOST_TEST(std::abs(fit.parameter("A").estimate - 482.006) < 0.01);
  BOOST_TEST(std::abs(fit.parameter("B").estimate - 2085.43) < 0.05);
  BOOST_TEST(std::abs(fit.parameter("E").estimate - 1.816862) < 1e-5);
  BOOST_TEST(std::abs(fit.parameter("alpha").estimate - 0.347813) < 2e-6);
  BOOST_TEST(std::abs(fit.parameter("beta").estimate - 0.365854) < 2e-6);
  std::size_t on_the_surface = 0;
  for (const double r : fit.residuals) on_the_surface += std::abs(r) < 1e-11 ? 1 : 0;
  BOOST_TEST(on_the_surface == 5U);
}

BOOST_AUTO_TEST_CASE(least_squares_agree_with_scipy_and_r) {
  // scipy.optimize.least_squares and R nls: estimates, standard errors, rss, sigma.
  struct Row {
    bool all;
    double b[5], se[5], rss, s;
  };
  constexpr Row kRows[] = {{false,
                            {6.385737421856466, 8.492006126743352, 0.6230197861715466,
                             0.3602527980726328, 0.4058833578938605},
                            {0.18121861380855595, 0.18487938788174949, 0.007611137400322265,
                             0.010484395717972652, 0.009068460682364868},
                            0.011461886991698589,
                            0.006983837569611524},
                           {true,
                            {6.619456845782097, 12.822671232350727, 0.6890539782911314,
                             0.37209787421048424, 0.61204824506347},
                            {0.4374507177419448, 0.29115522709694874, 0.013677007755399801,
                             0.025212204938621287, 0.014312272761013487},
                            0.07099043157862968,
                            0.017198647182582617}};
  for (const Row& row : kRows) {
    const auto data = pg::test::chinchilla_points(row.all);
    if (!data) return;
    const LawFit fit = fit_law("chinchilla_nls", *data);
    BOOST_TEST(fit.ok(), fit.detail);
    BOOST_TEST(std::abs(fit.rss / row.rss - 1) < 1e-9);
    BOOST_TEST(std::abs(fit.s / row.s - 1) < 1e-9);
    for (std::size_t j = 0; j < 5; ++j) {
      BOOST_TEST(std::abs(fit.internal[j] / row.b[j] - 1) < 1e-5);
      BOOST_TEST(std::abs(std::sqrt(fit.covariance(j, j)) / row.se[j] - 1) < 1e-4);
    }
    if (!row.all) {  // the correlations that make errors without a covariance useless
      const Matrix& c = fit.covariance;
      BOOST_TEST(std::abs(c(0, 3) / std::sqrt(c(0, 0) * c(3, 3)) - 0.9990778785689126) < 1e-5);
      BOOST_TEST(std::abs(c(1, 4) / std::sqrt(c(1, 1) * c(4, 4)) - 0.9992605346941862) < 1e-5);
    }
  }
}

BOOST_AUTO_TEST_CASE(least_squares_have_profile_intervals) {
  const LawData data = surface(0.02, kSizes, kTokens);
  const LawFit fit = fit_law("chinchilla_nls", data);
  BOOST_TEST(pg::test::check_profile(fit, data) == 0U);
  // They are not the symmetric ones.
  const LawParameter& a = fit.parameter("A");
  const double upper = std::log(a.ci95.high / a.estimate);
  const double lower = std::log(a.estimate / a.ci95.low);
  BOOST_TEST(std::abs(upper / lower - 1) > 0.02, upper << " and " << lower);
  // With errors this large the points show no floor: ln E runs off to minus infinity.
  const LawData scattered = surface(0.15, kSizes, kTokens);
  const LawFit wide = fit_law("chinchilla_nls", scattered);
  BOOST_TEST(pg::test::check_profile(wide, scattered) == 1U);
  BOOST_TEST(wide.parameter("E").ci95.low == 0);
  const auto published = pg::test::chinchilla_points(false);
  if (!published) return;
  BOOST_TEST(pg::test::check_profile(fit_law("chinchilla_nls", *published), *published) == 0U);
}

BOOST_AUTO_TEST_CASE(exact_data_give_the_surface_back) {
  const LawData data = surface(0, kSizes, kTokens);
  for (const char* name : {"chinchilla", "chinchilla_lad", "chinchilla_nls"}) {
    const LawFit fit = fit_law(name, data);
    BOOST_TEST(fit.ok(), name << ": " << to_string(fit.status) << " " << fit.detail);
    BOOST_TEST(std::abs(fit.parameter("alpha").estimate - 0.34) < 1e-8, name);
    BOOST_TEST(std::abs(fit.parameter("beta").estimate - 0.29) < 1e-8, name);
    BOOST_TEST(std::abs(fit.parameter("E").estimate - 1.7) < 1e-7, name);
    BOOST_TEST(std::abs(fit.parameter("A").estimate / 400 - 1) < 1e-6, name);
    BOOST_TEST(std::abs(fit.parameter("a_opt").estimate - 0.29 / 0.63) < 1e-8, name);
    const double x[] = {1e9, 1e11};
    BOOST_TEST(std::abs(predict(fit, x) -
                        (1.7 + 400 / std::pow(1e9, 0.34) + 420 / std::pow(1e11, 0.29))) < 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(the_golden_synthetic_table_is_exact) {
  const auto text = pg::test::read_data("golden/synthetic_chinchilla_exact.csv");
  if (!text) return;
  const pg::CsvTable table = pg::parse_csv(*text, "synthetic_chinchilla_exact.csv");
  LawData data;
  data.x.resize(2);
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    data.x[0].push_back(pg::test::number_at(table, i, "N"));
    data.x[1].push_back(pg::test::number_at(table, i, "D"));
    data.y.push_back(pg::test::number_at(table, i, "loss"));
  }
  for (const char* name : {"chinchilla", "chinchilla_lad", "chinchilla_nls"}) {
    const LawFit fit = fit_law(name, data);
    BOOST_TEST(fit.ok(), name << ": " << fit.detail);
    BOOST_TEST(std::abs(fit.parameter("A").estimate / 482.01 - 1) < 1e-7);
    BOOST_TEST(std::abs(fit.parameter("B").estimate / 2085.43 - 1) < 1e-7);
    BOOST_TEST(std::abs(fit.parameter("E").estimate - 1.8172) < 1e-9);
    BOOST_TEST(std::abs(fit.parameter("alpha").estimate - 0.3478) < 1e-9);
    BOOST_TEST(std::abs(fit.parameter("beta").estimate - 0.3658) < 1e-9);
    for (const double r : fit.residuals) BOOST_TEST(std::abs(r) < 1e-11);
  }
}

BOOST_AUTO_TEST_CASE(designs_that_cannot_tell_say_so) {
  for (const char* name : {"chinchilla", "chinchilla_lad", "chinchilla_nls"}) {
    const auto status = [&](const LawData& data) { return fit_law(name, data); };
    LawFit fit = status(surface(0.005, kSizes, {1e9}));
    BOOST_TEST((fit.status == FitStatus::not_identifiable));
    BOOST_TEST(fit.parameters.empty());
    fit = status(surface(0.005, {1e8}, {1e7, 1e8, 1e9, 3e9, 1e10, 1e11}));
    BOOST_TEST((fit.status == FitStatus::not_identifiable));
    BOOST_TEST(fit.detail.find("part of E") != std::string::npos, fit.detail);
    fit = status(surface(0.005, kSizes, {1e8, 1e9}));
    BOOST_TEST((fit.status == FitStatus::not_identifiable));
    LawData tied = surface(0.005, kSizes, {1e8, 1e9});
    for (std::size_t i = 0; i < tied.size(); ++i) tied.x[1][i] = 20 * tied.x[0][i];
    fit = status(tied);
    BOOST_TEST((fit.status == FitStatus::not_identifiable));
    BOOST_TEST(fit.detail.find("vary as one") != std::string::npos, fit.detail);
    LawData few = surface(0.005, kSizes, kTokens);
    for (auto* column : {&few.x[0], &few.x[1], &few.y}) column->resize(5);
    BOOST_TEST((status(few).status == FitStatus::not_identifiable));
    LawData negative = surface(0.005, kSizes, kTokens);
    negative.y[7] = 0;
    BOOST_CHECK_THROW(status(negative), pg::InvalidInput);
  }
}

BOOST_AUTO_TEST_CASE(a_bootstrap_has_the_same_bytes_for_any_number_of_threads) {
  const LawData data = surface(0.005, kSizes, kTokens);
  for (const char* name : {"chinchilla", "chinchilla_lad", "chinchilla_nls"}) {
    LawFit fit = fit_law(name, data);
    BOOST_REQUIRE(fit.ok());
    const LawBootstrap one = bootstrap_law(fit, data, 200, 7, 1);
    const LawBootstrap two = bootstrap_law(fit, data, 200, 7, 2);
    const LawBootstrap other = bootstrap_law(fit, data, 200, 8, 2);
    BOOST_TEST(one.n_degenerate < 20U, name << " " << one.n_degenerate);
    for (std::size_t j = 0; j < one.parameters.size(); ++j) {
      BOOST_TEST(one.parameters[j].se == two.parameters[j].se);
      BOOST_TEST(one.parameters[j].percentile.interval.low ==
                 two.parameters[j].percentile.interval.low);
      BOOST_TEST(one.parameters[j].se != other.parameters[j].se);
    }
    adopt_errors(one, fit);
    BOOST_TEST(std::isfinite(fit.parameter("alpha").se));
    const double x[] = {1e9, 1e11};
    BOOST_TEST(band_at(fit, x).mean95.finite());
  }
}

BOOST_AUTO_TEST_CASE(bootstrap_errors_are_the_published_ones) {
  const auto data = pg::test::chinchilla_points(false);
  if (!data) return;
  const LawFit fit = fit_law("chinchilla", *data);
  BOOST_REQUIRE(fit.ok());
  const auto begin = std::chrono::steady_clock::now();
  const LawBootstrap bootstrap = bootstrap_law(fit, *data, 4000, 42, 2);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  BOOST_TEST_MESSAGE("4,000 replicates in " << seconds << " s, " << bootstrap.n_degenerate
                                            << " degenerate");
  BOOST_TEST(bootstrap.n_degenerate < 40U);
  // Besiroglu et al. 2024, 4,000 replicates: their table's standard errors.
  const double published[] = {124.52232, 1293.2841, 0.02566, 0.0154, 0.0206, 0.020};
  for (std::size_t j = 0; j < std::size(published); ++j) {
    BOOST_TEST(std::abs(bootstrap.parameters[j].se / published[j] - 1) < 0.08,
               bootstrap.parameters[j].name << " " << bootstrap.parameters[j].se);
  }
}
