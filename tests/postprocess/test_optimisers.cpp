// How the optimisers end: at the optimum, or saying what kept them from it.
#define BOOST_TEST_MODULE post_optimisers
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/random.hpp"
#include "postprocess/stats/least_squares.hpp"
#include "postprocess/stats/line_fit.hpp"
#include "postprocess/stats/minimize.hpp"

namespace {

using namespace pg::post;
using Values = std::span<const double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const std::vector<double> kX = {0, 1, 2, 3, 4, 5};
const std::vector<double> kY = {1.1, 2.9, 5.2, 6.8, 9.1, 11.2};

/// Residuals of a model f(b, x) of p parameters on kX, kY.
LeastSquaresProblem problem(std::size_t p, double (*f)(Values, double)) {
  LeastSquaresProblem out;
  out.n = kX.size();
  out.p = p;
  out.residuals = [f](Values b, std::span<double> r) {
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = kY[i] - f(b, kX[i]);
  };
  return out;
}

double line(Values b, double x) {
  return b[0] + b[1] * x;
}

void check_no_errors(const NonlinearFit& fit) {
  for (const double se : fit.standard_errors) BOOST_TEST(std::isinf(se));
  BOOST_TEST(fit.covariance.rows() == 0);
  BOOST_TEST(!fit.detail.empty());
}

Objective rosenbrock() {
  return {2, [](Values x, std::span<double> gradient) {
            const double bend = x[1] - x[0] * x[0];
            if (!gradient.empty()) {
              gradient[0] = -400 * x[0] * bend - 2 * (1 - x[0]);
              gradient[1] = 200 * bend;
            }
            return 100 * bend * bend + (1 - x[0]) * (1 - x[0]);
          }};
}

void check_close(double value, double expected, double relative) {
  BOOST_TEST(std::abs(value - expected) <= relative * std::max(1e-300, std::abs(expected)),
             value << " is not " << expected);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_linear_model_has_the_closed_form) {
  const auto exact = fit_line(kX, kY);
  const LeastSquaresProblem linear = problem(2, line);
  const auto fit = fit_least_squares(linear, std::vector<double>{-50, 30});
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  check_close(fit.b[0], exact->intercept, 1e-9);
  check_close(fit.b[1], exact->slope, 1e-9);
  check_close(fit.standard_errors[0], exact->intercept_se, 1e-9);
  check_close(fit.standard_errors[1], exact->slope_se, 1e-9);
  check_close(fit.covariance(0, 1), exact->covariance, 1e-9);
  for (const double level : {0.5, 0.95, 0.99}) {
    const Interval profile = profile_interval(linear, fit, 1, level);
    const Interval t = student_interval(exact->slope, exact->slope_se, exact->df, level);
    check_close(profile.low, t.low, 1e-8);
    check_close(profile.high, t.high, 1e-8);
  }
  const Interval intercept = profile_interval(linear, fit, 0);
  check_close(intercept.low, exact->intercept_ci95.low, 1e-8);
  check_close(intercept.high, exact->intercept_ci95.high, 1e-8);
}

BOOST_AUTO_TEST_CASE(a_jacobian_given_or_by_differences_is_the_same_fit) {
  const LeastSquaresProblem numeric =
      problem(2, [](Values b, double x) { return b[0] * std::exp(b[1] * x); });
  LeastSquaresProblem analytic = numeric;
  analytic.jacobian = [](Values b, Matrix& jacobian) {
    for (std::size_t i = 0; i < kX.size(); ++i) {
      jacobian(i, 0) = -std::exp(b[1] * kX[i]);
      jacobian(i, 1) = -b[0] * kX[i] * std::exp(b[1] * kX[i]);
    }
  };
  const auto a = fit_least_squares(numeric, std::vector<double>{1, 0.1});
  const auto b = fit_least_squares(analytic, std::vector<double>{1, 0.1});
  BOOST_REQUIRE(a.ok());
  BOOST_REQUIRE(b.ok());
  for (std::size_t j = 0; j < 2; ++j) {
    check_close(a.b[j], b.b[j], 1e-7);
    check_close(a.standard_errors[j], b.standard_errors[j], 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(not_moved) {
  // A gradient that says nothing of where the function falls.
  LeastSquaresProblem stuck = problem(1, [](Values b, double x) { return b[0] * x; });
  stuck.jacobian = [](Values, Matrix& jacobian) {
    for (std::size_t i = 0; i < kX.size(); ++i) jacobian(i, 0) = kX[i];  // the sign is wrong
  };
  const auto fit = fit_least_squares(stuck, std::vector<double>{1.0});
  BOOST_TEST((fit.status == FitStatus::not_moved), to_string(fit.status));
  BOOST_TEST(fit.b[0] == 1.0);
  check_no_errors(fit);
  // A start that is the optimum has not moved either, and is one.
  const LeastSquaresProblem honest = problem(2, line);
  const auto first = fit_least_squares(honest, std::vector<double>{0, 0});
  BOOST_TEST(fit_least_squares(honest, first.b).ok());

  Objective uphill = rosenbrock();
  uphill.value = [inner = uphill.value](Values x, std::span<double> gradient) {
    const double value = inner(x, gradient);
    for (double& g : gradient) g = -g;
    return value;
  };
  const std::vector<double> start = {-1.2, 1};
  const auto minimum = minimize_bfgs(uphill, start);
  BOOST_TEST((minimum.status == FitStatus::not_moved), to_string(minimum.status));
  BOOST_TEST((minimum.x == start));
}

BOOST_AUTO_TEST_CASE(rank_deficient) {
  const auto sum =
      fit_least_squares(problem(3, [](Values b, double x) { return b[0] + b[1] + b[2] * x; }),
                        std::vector<double>{1, 1, 1});
  BOOST_TEST((sum.status == FitStatus::rank_deficient), to_string(sum.status));
  check_no_errors(sum);
  const auto unused = fit_least_squares(problem(2, [](Values b, double x) { return b[0] * x; }),
                                        std::vector<double>{1, 1});
  BOOST_TEST((unused.status == FitStatus::rank_deficient), to_string(unused.status));
  check_no_errors(unused);
}

BOOST_AUTO_TEST_CASE(bound_active) {
  LeastSquaresProblem bounded = problem(2, line);
  bounded.lower = {-kInfinity, -kInfinity};
  bounded.upper = {kInfinity, 1.5};  // the slope is 2
  const auto fit = fit_least_squares(bounded, std::vector<double>{0, 0});
  BOOST_TEST((fit.status == FitStatus::bound_active), to_string(fit.status));
  BOOST_TEST(fit.b[1] == 1.5);
  BOOST_TEST(fit.detail.find("parameter 2") != std::string::npos);
  check_no_errors(fit);
  double mean = 0;  // the best intercept beneath the bound
  for (std::size_t i = 0; i < 6; ++i) mean += (kY[i] - 1.5 * kX[i]) / 6;
  check_close(fit.b[0], mean, 1e-8);
  BOOST_TEST(!profile_interval(bounded, fit, 0).finite());
  // A bound that is not in the way changes nothing; one within the interval cuts it off.
  bounded.upper = {kInfinity, 2.5};
  const auto free = fit_least_squares(bounded, std::vector<double>{0, 0});
  BOOST_REQUIRE(free.ok());
  check_close(free.b[1], fit_line(kX, kY)->slope, 1e-9);
  bounded.upper = {kInfinity, free.b[1] + free.standard_errors[1]};
  const Interval cut = profile_interval(bounded, free, 1);
  BOOST_TEST(std::isfinite(cut.low));
  BOOST_TEST(std::isinf(cut.high));
}

BOOST_AUTO_TEST_CASE(not_converged) {
  const LeastSquaresProblem root =
      problem(2, [](Values b, double x) { return b[0] + std::sqrt(b[1]) * x; });
  const auto fit = fit_least_squares(root, std::vector<double>{1, -1});
  BOOST_TEST((fit.status == FitStatus::not_converged), to_string(fit.status));
  BOOST_TEST(fit.detail.find("start") != std::string::npos);
  BOOST_TEST(std::isinf(fit.rss));
  // A start inside the domain gets there; with several starts the one that does is taken.
  const auto several = fit_from_starts(root, {{1, -1}, {1, 1}});
  BOOST_REQUIRE_MESSAGE(several.ok(), several.detail);
  check_close(std::sqrt(several.b[1]), fit_line(kX, kY)->slope, 1e-8);

  const Objective nowhere = {1, [](Values, std::span<double>) { return kNaN; }};
  const std::vector<double> zero = {0.0};
  const auto bfgs = minimize_bfgs(nowhere, zero);
  BOOST_TEST((bfgs.status == FitStatus::not_converged));
  BOOST_TEST(!bfgs.detail.empty());
  const auto simplex = minimize_nelder_mead(nowhere, zero, std::vector<double>{1.0});
  BOOST_TEST((simplex.status == FitStatus::not_converged));
  BOOST_TEST(!simplex.detail.empty());
  // No minimum at all: falling for ever is not convergence.
  const Objective slope = {1, [](Values x, std::span<double> gradient) {
                             if (!gradient.empty()) gradient[0] = -1;
                             return -x[0];
                           }};
  BOOST_TEST(!minimize_bfgs(slope, zero).ok());
}

BOOST_AUTO_TEST_CASE(not_identifiable) {
  LeastSquaresProblem few = problem(2, line);
  few.n = 1;
  const auto fit = fit_least_squares(few, std::vector<double>{1, 2});
  BOOST_TEST((fit.status == FitStatus::not_identifiable), to_string(fit.status));
  BOOST_TEST((fit.b == std::vector<double>{1, 2}));
  check_no_errors(fit);
  // As many points as parameters: an exact fit, without errors or intervals.
  few.n = 2;
  const auto exact = fit_least_squares(few, std::vector<double>{0, 0});
  BOOST_TEST(exact.ok());
  BOOST_TEST(exact.df == 0);
  BOOST_TEST(std::isinf(exact.standard_errors[0]));
  BOOST_TEST(!profile_interval(few, exact, 0).finite());
}

BOOST_AUTO_TEST_CASE(rosenbrock_by_both) {
  const std::vector<double> start = {-1.2, 1};
  const auto bfgs = minimize_bfgs(rosenbrock(), start);
  BOOST_REQUIRE_MESSAGE(bfgs.ok(), bfgs.detail);
  check_close(bfgs.x[0], 1, 1e-8);
  check_close(bfgs.x[1], 1, 1e-8);
  BOOST_TEST(bfgs.gradient_norm <= 1e-9);
  BOOST_TEST(bfgs.iterations < 100);
  const auto simplex = minimize_nelder_mead(rosenbrock(), start, std::vector<double>{0.5, 0.5});
  BOOST_REQUIRE_MESSAGE(simplex.ok(), simplex.detail);
  check_close(simplex.x[0], 1, 1e-7);
  check_close(simplex.x[1], 1, 1e-7);
}

BOOST_AUTO_TEST_CASE(a_kinked_objective) {
  // sum of |y - a - b x|: through two of the points, and no gradient to speak of there.
  const Objective absolute = {2, [](Values b, std::span<double>) {
                                double sum = 0;
                                for (std::size_t i = 0; i < kX.size(); ++i) {
                                  sum += std::abs(kY[i] - b[0] - b[1] * kX[i]);
                                }
                                return sum;
                              }};
  // The truth by trying the lines through all pairs of points.
  double least = kInfinity;
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t j = i + 1; j < 6; ++j) {
      const double slope = (kY[j] - kY[i]) / (kX[j] - kX[i]);
      least =
          std::min(least, absolute.value(std::vector<double>{kY[i] - slope * kX[i], slope}, {}));
    }
  }
  const auto minimum =
      minimize_nelder_mead(absolute, std::vector<double>{0, 0}, std::vector<double>{1, 1});
  BOOST_REQUIRE_MESSAGE(minimum.ok(), minimum.detail);
  check_close(minimum.value, least, 1e-9);
}

BOOST_AUTO_TEST_CASE(a_fit_of_the_size_of_chinchilla) {
  // ln L = ln(E + A / N^alpha + B / D^beta), 240 points, five parameters.
  const std::vector<double> truth = {6.2, 7.7, 0.6, 0.35, 0.37};
  const pg::random::Stream place(5, pg::random::Purpose::test, 0);
  const pg::random::Stream noise(5, pg::random::Purpose::test, 1);
  std::vector<double> log_n, log_d, log_loss;
  const auto law = [](Values b, double n, double d) {
    return std::log(std::exp(b[0] - b[3] * n) + std::exp(b[1] - b[4] * d) + std::exp(b[2]));
  };
  for (std::size_t i = 0; i < 240; ++i) {
    log_n.push_back(17.5 + 5.5 * place.uniform(2 * i));
    log_d.push_back(20.5 + 5 * place.uniform(2 * i + 1));
    log_loss.push_back(law(truth, log_n[i], log_d[i]) + 0.005 * noise.normal(i));
  }
  LeastSquaresProblem chinchilla;
  chinchilla.n = 240;
  chinchilla.p = 5;
  chinchilla.residuals = [&](Values b, std::span<double> r) {
    for (std::size_t i = 0; i < 240; ++i) r[i] = log_loss[i] - law(b, log_n[i], log_d[i]);
  };
  const auto began = std::chrono::steady_clock::now();
  const auto fit = fit_least_squares(chinchilla, std::vector<double>{5, 5, 0.5, 0.5, 0.5});
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  BOOST_TEST_MESSAGE("240 points, 5 parameters, numeric Jacobian: " << took.count() << " ms, "
                                                                    << fit.iterations << " steps");
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  for (std::size_t j = 0; j < 5; ++j) {
    BOOST_TEST(std::abs(fit.b[j] - truth[j]) < 4 * fit.standard_errors[j]);
    BOOST_TEST(fit.standard_errors[j] < 0.5);
  }
  BOOST_TEST(std::abs(fit.s - 0.005) < 0.001);
}
