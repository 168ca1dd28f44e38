// Tail estimators against closed forms, brute-force integrals, goldens and known samples.
#define BOOST_TEST_MODULE tails
#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <vector>

#include "base/random.hpp"
#include "measure/tails.hpp"
#include "support/support.hpp"

namespace {

using namespace pg::measure;
using pg::random::Purpose;
using pg::random::Stream;
using std::numbers::pi;

constexpr std::size_t kMany = 100'000;

/// Source `number` of uniform numbers, none of them 0 or 1.
class Uniform {
 public:
  explicit Uniform(std::uint64_t seed, std::uint64_t number = 0)
      : stream_(seed, Purpose::test, number) {}
  double operator()(std::uint64_t i) const { return stream_.uniform(i) + 0x1p-54; }

 private:
  Stream stream_;
};

std::vector<float> sample(std::size_t n, const std::function<double(std::size_t)>& draw) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(draw(i));
  return x;
}

double laplace_quantile(double p) {
  return p < 0.5 ? std::log(2 * p) : -std::log(2 - 2 * p);
}

std::vector<float> laplace(std::size_t n, std::uint64_t seed) {
  return sample(n, [u = Uniform(seed)](std::size_t i) { return laplace_quantile(u(i)); });
}
std::vector<float> gaussian(std::size_t n, std::uint64_t seed) {
  return sample(n, [s = Stream(seed, Purpose::test)](std::size_t i) { return s.normal(i); });
}
std::vector<float> cauchy(std::size_t n, std::uint64_t seed) {
  return sample(n, [u = Uniform(seed)](std::size_t i) { return std::tan(pi * (u(i) - 0.5)); });
}
std::vector<float> pareto(std::size_t n, double alpha, std::uint64_t seed) {
  return sample(n, [=, u = Uniform(seed)](std::size_t i) {
    return (i % 2 == 0 ? 1 : -1) * std::pow(u(i), -1 / alpha);
  });
}
std::vector<float> student_t3(std::size_t n, std::uint64_t seed) {
  return sample(n, [s = Stream(seed, Purpose::test)](std::size_t i) {
    const double a = s.normal(4 * i + 1);
    const double b = s.normal(4 * i + 2);
    const double c = s.normal(4 * i + 3);
    return s.normal(4 * i) / std::sqrt((a * a + b * b + c * c) / 3);
  });
}
/// Symmetric stable numbers: J. M. Chambers, C. L. Mallows and B. W. Stuck, JASA 71, 340, 1976.
std::vector<float> stable(std::size_t n, double alpha, std::uint64_t seed) {
  return sample(n, [=, u = Uniform(seed, 0), w = Uniform(seed, 1)](std::size_t i) {
    const double v = pi * (u(i) - 0.5);
    return std::sin(alpha * v) / std::pow(std::cos(v), 1 / alpha) *
           std::pow(std::cos(v - alpha * v) / -std::log(w(i)), (1 - alpha) / alpha);
  });
}
/// Generalized Gaussian of scale 1: |x|^shape is Gamma(1/shape) distributed.
std::vector<float> ggd(std::size_t n, double shape, std::uint64_t seed) {
  return sample(n, [=, u = Uniform(seed)](std::size_t i) {
    return (i % 2 == 0 ? 1 : -1) * std::pow(boost::math::gamma_p_inv(1 / shape, u(i)), 1 / shape);
  });
}

void check_relative(double value, double expected, double relative) {
  BOOST_TEST(std::abs(value - expected) <= relative * std::abs(expected),
             value << " is not " << expected);
}
void check_within(double value, double expected, double distance) {
  BOOST_TEST(std::abs(value - expected) <= distance,
             value << " is not within " << distance << " of " << expected);
}

double simpson(double low, double high, int steps, const std::function<double(double)>& f) {
  const double h = (high - low) / steps;
  double sum = f(low) + f(high);
  for (int i = 1; i < steps; ++i) sum += (i % 2 == 1 ? 4 : 2) * f(low + i * h);
  return sum * h / 3;
}

/// Mean and standard deviation of an estimate over samples, and the mean of its standard error.
struct Repeated {
  double mean = 0;
  double sd = 0;
  double mean_se = 0;
};
Repeated repeat(int times,
                const std::function<std::pair<double, double>(std::uint64_t)>& estimate) {
  Repeated result;
  double squares = 0;
  for (int i = 0; i < times; ++i) {
    const auto [value, se] = estimate(1000 + static_cast<std::uint64_t>(i));
    const double difference = value - result.mean;
    result.mean += difference / (i + 1);
    squares += difference * (value - result.mean);
    result.mean_se += se / times;
  }
  result.sd = std::sqrt(squares / (times - 1));
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(hill_by_hand) {
  // Magnitudes 2^1 ... 2^10 in disorder; five above 2^5: 15 ln 2 / 5.
  const std::vector<float> x = {8, -1024, 2, 64, -4, 512, 0, 16, -32, 128, 256};
  const auto found = hill(x, 0.3);
  BOOST_REQUIRE(found);
  BOOST_TEST(found->k == 5);
  check_relative(found->alpha, 1 / (3 * std::numbers::ln2), 1e-14);
  check_relative(found->se, found->alpha / std::sqrt(5.0), 1e-14);
  check_relative(hill(x, 0.7)->alpha, 7 / (28 * std::numbers::ln2), 1e-14);
}

BOOST_AUTO_TEST_CASE(hill_of_known_samples) {
  struct Case {
    std::vector<float> x;
    double alpha;  ///< what infinitely many give at k = 0.1
  };
  for (const auto& [x, alpha] :
       {Case{cauchy(kMany, 1), 0.9945}, Case{laplace(kMany, 2), 3.0873927},
        Case{student_t3(kMany, 3), 2.4526}, Case{gaussian(kMany, 4), 4.7175},
        Case{pareto(kMany, 1.5, 5), 1.5}}) {
    const auto found = hill(x, 0.1);
    BOOST_REQUIRE(found);
    BOOST_TEST(found->k == kMany / 10);
    check_within(found->alpha, alpha, 4 * found->se);
  }
}

BOOST_AUTO_TEST_CASE(errors_are_as_large_as_the_scatter) {
  constexpr int kTimes = 400;
  constexpr double kTolerance = 0.15;  // four standard errors of a standard deviation of 400
  const Repeated pareto_hill = repeat(kTimes, [](std::uint64_t seed) {
    const auto found = hill(pareto(2000, 1.5, seed), 0.1);
    return std::pair(found->alpha, found->se);
  });
  check_relative(pareto_hill.mean_se, pareto_hill.sd, kTolerance);
  check_within(pareto_hill.mean, 1.5 * 200 / 199, 4 * pareto_hill.sd / std::sqrt(kTimes));
  const Repeated laplace_shape = repeat(kTimes, [](std::uint64_t seed) {
    const auto found = ggd_shape(laplace(1000, seed));
    return std::pair(found->shape, found->shape_se);
  });
  check_relative(laplace_shape.mean_se, laplace_shape.sd, kTolerance);
  const Repeated gaussian_shape = repeat(kTimes, [](std::uint64_t seed) {
    const auto found = ggd_shape(gaussian(1000, seed));
    return std::pair(found->shape, found->shape_se);
  });
  check_relative(gaussian_shape.mean_se, gaussian_shape.sd, kTolerance);
  const Repeated cauchy_index = repeat(kTimes, [](std::uint64_t seed) {
    const auto found = log_moment_alpha(cauchy(2500, seed));
    return std::pair(found->alpha, found->se);
  });
  check_relative(cauchy_index.mean_se, cauchy_index.sd, kTolerance);
}

BOOST_AUTO_TEST_CASE(reference_curves_against_the_table) {
  const std::vector<std::array<double, 3>> rounded = {
      {0.01, 5.47, 9.00}, {0.05, 3.81, 6.00}, {0.10, 3.09, 4.72}, {0.20, 2.35, 3.44}};
  for (const auto& [ratio, of_laplace, of_gaussian] : rounded) {
    check_within(hill_of_laplace(ratio), of_laplace, 0.0051);
    check_within(hill_of_gaussian(ratio), of_gaussian, 0.0051);
  }
  check_within(hill_of_laplace(0.01), 5.4652469, 1e-7);
  check_within(hill_of_laplace(0.05), 3.8111473, 1e-7);
  check_within(hill_of_laplace(0.1), 3.0873927, 1e-7);
  check_within(hill_of_laplace(0.2), 2.349445, 1e-6);
  check_within(hill_of_gaussian(0.01), 9.0041, 1e-4);
  check_within(hill_of_gaussian(0.05), 5.9985, 1e-4);
  check_within(hill_of_gaussian(0.1), 4.7175, 1e-4);
  check_within(hill_of_gaussian(0.2), 3.4448, 1e-4);
}

BOOST_AUTO_TEST_CASE(reference_curves_against_integration) {
  for (const double ratio : {1e-6, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9}) {
    const double u = -std::log(ratio);
    const double laplace_mean =
        simpson(u, u + 40, 400'000, [&](double t) { return std::log(t / u) * std::exp(-(t - u)); });
    check_relative(hill_of_laplace(ratio), 1 / laplace_mean, 1e-9);

    double low = 0;
    double high = 10;
    for (int i = 0; i < 200; ++i) {
      const double middle = (low + high) / 2;
      (std::erfc(middle / std::numbers::sqrt2) > ratio ? low : high) = middle;
    }
    const double gaussian_mean =
        simpson(low, low + 12, 400'000,
                [&](double t) {
                  return std::log(t / low) * std::exp(-t * t / 2) * std::sqrt(2 / pi);
                }) /
        ratio;
    check_relative(hill_of_gaussian(ratio), 1 / gaussian_mean, 1e-9);
  }
  // Where numbers get small: both stay finite, and Gaussian tails stay the thinner ones.
  for (const double ratio : {1e-300, 1e-100, 1e-20, 1 - 1e-12}) {
    BOOST_TEST(std::isfinite(hill_of_gaussian(ratio)));
    BOOST_TEST(hill_of_gaussian(ratio) > hill_of_laplace(ratio));
  }
  // u^2 + 3 + o(1) for Gauss, u + 1 + o(1) for Laplace.
  const double u = -std::log(1e-300);
  check_relative(hill_of_laplace(1e-300), u + 1, 1e-4);
  check_relative(hill_of_gaussian(std::erfc(30 / std::numbers::sqrt2)), 903, 1e-4);
}

BOOST_AUTO_TEST_CASE(shapes_of_quantiles_are_the_goldens) {
  // Computed elsewhere, in double; float coordinates cost the last digits.
  const boost::math::students_t normal(std::numeric_limits<double>::infinity());
  const boost::math::students_t t3(3);
  struct Case {
    std::function<double(double)> quantile;
    double shape;
    double scale;
    std::array<double, 3> hill;
  };
  for (const Case& c :
       {Case{laplace_quantile, 1.01879868, 1.02288456, {3.50907192, 2.93819036, 2.2800685}},
        Case{[&](double p) { return boost::math::quantile(normal, p); },
             2.05613137,
             1.429535,
             {5.48978312, 4.47214476, 3.33454925}},
        Case{[&](double p) { return boost::math::quantile(t3, p); },
             1.00323352,
             1.09225543,
             {2.54346405, 2.38564285, 2.09203711}}}) {
    const auto x = sample(
        200, [&](std::size_t i) { return c.quantile((static_cast<double>(i) + 0.5) / 200); });
    const auto found = ggd_shape(x);
    BOOST_REQUIRE(found);
    check_relative(found->shape, c.shape, 2e-7);
    check_relative(found->scale, c.scale, 2e-7);
    for (std::size_t i = 0; i < 3; ++i) {
      check_relative(hill(x, std::array{0.05, 0.1, 0.2}[i])->alpha, c.hill[i], 1e-6);
    }
  }
}

BOOST_AUTO_TEST_CASE(shapes_of_known_samples) {
  struct Case {
    std::vector<float> x;
    double shape;
    double scale;
  };
  for (const auto& [x, shape, scale] :
       {Case{laplace(kMany, 11), 1, 1}, Case{gaussian(kMany, 12), 2, std::numbers::sqrt2},
        Case{ggd(kMany / 5, 0.5, 13), 0.5, 1}, Case{ggd(kMany / 5, 8, 14), 8, 1}}) {
    const auto found = ggd_shape(x);
    BOOST_REQUIRE(found);
    check_within(found->shape, shape, 4 * found->shape_se);
    check_relative(found->scale, scale, 0.1);
  }
  // The known variances: 3.4498 / n for Laplace, 19.890 / n for Gauss.
  check_relative(ggd_shape(laplace(kMany, 11))->shape_se, std::sqrt(3.4498 / kMany), 0.03);
  check_relative(ggd_shape(gaussian(kMany, 12))->shape_se, std::sqrt(19.890 / kMany), 0.05);
  // A uniform distribution is the limit of large shapes, logarithms over +-80 that of small ones.
  BOOST_TEST(!ggd_shape(sample(kMany, [u = Uniform(15)](std::size_t i) { return u(i) - 0.5; })));
  BOOST_TEST(!ggd_shape(sample(1000, [s = Stream(16, Purpose::test)](std::size_t i) {
    return std::exp(20 * s.normal(i));
  })));
}

BOOST_AUTO_TEST_CASE(log_moments_of_known_samples) {
  struct Case {
    std::vector<float> x;
    double alpha;
  };
  for (const auto& [x, alpha] : {Case{cauchy(kMany, 21), 1}, Case{stable(kMany, 1.5, 22), 1.5},
                                 Case{stable(kMany, 0.8, 23), 0.8}, Case{gaussian(kMany, 24), 2}}) {
    const auto found = log_moment_alpha(x);
    BOOST_REQUIRE(found);
    BOOST_TEST(found->block_size == 316);
    BOOST_TEST(found->n_blocks == 316);
    BOOST_TEST(found->se < 0.04 * alpha);
    check_within(found->alpha, alpha, 4 * found->se);
    const auto small_blocks = log_moment_alpha(x, 10);
    BOOST_REQUIRE(small_blocks);
    BOOST_TEST(small_blocks->n_blocks == kMany / 10);
    check_within(small_blocks->alpha, alpha, 4 * small_blocks->se);
  }
  // ln|X| of a Gauss or a Cauchy variable has variance pi^2/8 or pi^2/4, whatever the block.
  const double per_log = std::sqrt(316.0) * std::log(316.0);
  check_relative(log_moment_alpha(gaussian(kMany, 24))->se, 4 * pi / std::sqrt(8) / per_log, 0.2);
  check_relative(log_moment_alpha(cauchy(kMany, 21))->se, pi / 2 / per_log, 0.2);
}

BOOST_AUTO_TEST_CASE(log_moment_by_hand) {
  // Blocks {1, 3}, {-2, -2}, {5, -5} (left out) and half a block: ln 4 - ln(3)/2, ln 4 - ln 2.
  const std::vector<float> x = {1, 3, 0, -2, -2, 5, -5, 9};
  const auto found = log_moment_alpha(x, 2);
  BOOST_REQUIRE(found);
  BOOST_TEST(found->n_blocks == 2);
  const double a = std::log(4) - std::log(3) / 2;
  const double b = std::log(2);
  check_relative(found->alpha, std::log(2) / ((a + b) / 2), 1e-14);
  check_relative(found->se, found->alpha / ((a + b) / 2) * std::abs(a - b) / 2, 1e-12);
  // Sums smaller than their parts grow with no power of the block.
  BOOST_TEST(!log_moment_alpha(std::vector<float>{4, -3, 4, -3, 4, -3}, 2));
}

BOOST_AUTO_TEST_CASE(kurtosis_of_known_samples) {
  const auto normal = excess_kurtosis(gaussian(kMany, 31));
  BOOST_REQUIRE(normal);
  check_within(normal->excess, 0, 4 * normal->se);
  check_relative(normal->se, std::sqrt(24.0 / kMany), 0.15);
  const auto exponential = excess_kurtosis(laplace(kMany, 32));
  BOOST_REQUIRE(exponential);
  BOOST_TEST(exponential->se < 0.2);
  check_within(exponential->excess, 3, 4 * exponential->se);
  const auto flat =
      excess_kurtosis(sample(kMany, [u = Uniform(33)](std::size_t i) { return 7 + u(i); }));
  BOOST_REQUIRE(flat);
  check_within(flat->excess, -1.2, 4 * flat->se);
  check_relative(flat->se, std::sqrt(1.31657 / kMany), 0.03);
  check_relative(excess_kurtosis(std::vector<float>{1, 2, 3, 4, 5})->excess, -1.3, 1e-14);
  check_relative(excess_kurtosis(std::vector<float>{2, -2, 2, -2, 2, -2})->excess, -2, 1e-14);
  // Two values, skewed: all follows from the fraction p of one, kurtosis 1 / (p q) - 3.
  const auto skewed = excess_kurtosis(sample(1000, [](std::size_t i) { return i < 250 ? 2 : 1; }));
  BOOST_REQUIRE(skewed);
  const double pq = 0.25 * 0.75;
  check_relative(skewed->excess, 1 / pq - 6, 1e-12);
  check_relative(skewed->se, (1 - 2 * 0.25) / (pq * pq) * std::sqrt(pq / 1000), 1e-10);
}

namespace {

void check_same(const TailEstimates& a, const TailEstimates& b, double relative) {
  BOOST_TEST(a.n == b.n);
  for (std::size_t i = 0; i < kHillRatios.size(); ++i) {
    BOOST_REQUIRE((a.hill[i] && b.hill[i]));
    check_relative(a.hill[i]->alpha, b.hill[i]->alpha, relative);
    BOOST_TEST(a.hill[i]->k == b.hill[i]->k);
  }
  BOOST_REQUIRE((a.ggd && b.ggd && a.log_moment && b.log_moment && a.kurtosis && b.kurtosis));
  check_relative(a.ggd->shape, b.ggd->shape, relative);
  check_relative(a.ggd->shape_se, b.ggd->shape_se, relative);
  check_relative(a.log_moment->alpha, b.log_moment->alpha, relative);
  check_relative(a.log_moment->se, b.log_moment->se, relative);
  check_relative(a.kurtosis->excess, b.kurtosis->excess, relative);
  check_relative(a.kurtosis->se, b.kurtosis->se, relative);
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_together_are_the_single_ones) {
  for (const std::size_t n : {30U, 10'000U}) {  // with 30, k is 5 at all ratios but the last
    const auto x = laplace(n, 41);
    TailEstimates single;
    single.n = n;
    for (std::size_t i = 0; i < kHillRatios.size(); ++i) single.hill[i] = hill(x, kHillRatios[i]);
    single.ggd = ggd_shape(x);
    single.log_moment = log_moment_alpha(x);
    single.kurtosis = excess_kurtosis(x);
    check_same(tail_estimates(x), single, 0);
    BOOST_TEST(single.hill[0]->k == std::max<std::size_t>(5, n / 100));
    BOOST_TEST(single.hill[3]->k == n / 5);
  }
}

BOOST_AUTO_TEST_CASE(zeros_change_nothing) {
  const auto x = student_t3(3000, 42);
  std::vector<float> with_zeros;
  for (std::size_t i = 0; i < x.size(); ++i) {
    with_zeros.insert(with_zeros.end(), i % 4, i % 8 < 4 ? 0.0F : -0.0F);
    with_zeros.push_back(x[i]);
  }
  const auto found = tail_estimates(with_zeros);
  BOOST_TEST(found.n_zeros == 4500);
  check_same(found, tail_estimates(x), 1e-9);  // sums are cut elsewhere
  for (std::size_t i = 0; i < kHillRatios.size(); ++i) {
    BOOST_TEST(found.hill[i]->alpha == hill(x, kHillRatios[i])->alpha);
  }
}

BOOST_AUTO_TEST_CASE(order_changes_nothing_but_the_blocks) {
  const auto x = laplace(5000, 43);
  std::vector<float> other(x.size());
  const pg::random::Permutation place(x.size(), Stream(44, Purpose::test));
  for (std::size_t i = 0; i < x.size(); ++i) other[i] = x[place(i)];
  for (const double ratio : {0.001, 0.1, 0.9}) {
    BOOST_TEST(hill(x, ratio)->alpha == hill(other, ratio)->alpha);
  }
  check_relative(ggd_shape(other)->shape, ggd_shape(x)->shape, 1e-9);
  check_relative(excess_kurtosis(other)->excess, excess_kurtosis(x)->excess, 1e-9);
}

BOOST_AUTO_TEST_CASE(the_unit_changes_nothing) {
  // Whole numbers up to 1000, so that they stay exact as denormal floats and near the largest.
  const auto of_unit = [](float unit) {
    auto x = laplace(4000, 45);
    for (float& v : x) v = std::round(v * 100) * unit;
    return tail_estimates(x);
  };
  const auto ones = of_unit(1);
  for (const float unit : {std::numeric_limits<float>::denorm_min(), 0x1p110F}) {
    const auto found = of_unit(unit);
    BOOST_TEST(found.n_zeros == ones.n_zeros);
    check_same(found, ones, 1e-9);
    check_relative(found.ggd->scale, ones.ggd->scale * static_cast<double>(unit), 1e-9);
  }
}

BOOST_AUTO_TEST_CASE(too_little_data_gives_nothing) {
  for (const auto& x :
       {std::vector<float>{}, std::vector<float>(100, 0.0F), std::vector<float>{1, -2, 3, 0}}) {
    const auto found = tail_estimates(x);
    BOOST_TEST(found.n + found.n_zeros == x.size());
    for (const auto& one : found.hill) BOOST_TEST(!one);
    BOOST_TEST(!found.ggd);
    BOOST_TEST(!found.log_moment);
    BOOST_TEST(!found.kurtosis);
  }
  BOOST_TEST(!hill(std::vector<float>{1, 2, 3, 4, 5}, 0.1));
  BOOST_TEST(hill(std::vector<float>{1, 2, 3, 4, 5, 6}, 0.1)->k == 5);
  BOOST_TEST(!log_moment_alpha(std::vector<float>{1, 2, 3, 4, 5}, 3));
}

BOOST_AUTO_TEST_CASE(equal_coordinates) {
  const auto same = tail_estimates(std::vector<float>(1000, -0.1F));
  for (const auto& one : same.hill) BOOST_TEST(!one);
  BOOST_TEST(!same.ggd);
  BOOST_TEST(!same.kurtosis);
  BOOST_REQUIRE(same.log_moment);  // an offset grows with the first power
  check_relative(same.log_moment->alpha, 1, 1e-12);
  check_within(same.log_moment->se, 0, 1e-12);

  const auto signs = tail_estimates(
      sample(1000, [u = Uniform(46)](std::size_t i) { return u(i) < 0.5 ? -3.0 : 3.0; }));
  for (const auto& one : signs.hill) BOOST_TEST(!one);
  BOOST_TEST(!signs.ggd);
  BOOST_REQUIRE(signs.kurtosis);
  check_within(signs.kurtosis->excess, -2, 0.05);
}

BOOST_AUTO_TEST_CASE(what_is_not_a_number_is_refused) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    auto x = laplace(100, 47);
    x[17] = bad;
    const std::vector<std::function<void()>> all = {
        [&] { hill(x, 0.1); }, [&] { ggd_shape(x); }, [&] { log_moment_alpha(x); },
        [&] { excess_kurtosis(x); }, [&] { tail_estimates(x); }};
    for (const auto& one : all) {
      BOOST_CHECK_THROW(one(), pg::NumericalError);
      pg::testing::check_error(one, pg::ExitCode::internal, {"coordinate 17 of 100"});
    }
  }
  const auto x = laplace(100, 48);
  for (const double ratio : {0.0, 1.0, -0.1, std::numeric_limits<double>::quiet_NaN()}) {
    BOOST_CHECK_THROW(hill(x, ratio), pg::InternalError);
    BOOST_CHECK_THROW(hill_of_laplace(ratio), pg::InternalError);
    BOOST_CHECK_THROW(hill_of_gaussian(ratio), pg::InternalError);
  }
  BOOST_CHECK_THROW(log_moment_alpha(x, 1), pg::InternalError);
}
