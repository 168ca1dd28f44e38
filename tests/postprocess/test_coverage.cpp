// Do the intervals cover and the tests err as often as they say? Seeded simulations of every
// default interval and test, with the methods that fail beside them so that nobody swaps them in.
#define BOOST_TEST_MODULE coverage
#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

#include "postprocess/coverage.hpp"
#include "postprocess/fits/exponent.hpp"
#include "postprocess/fits/law.hpp"
#include "postprocess/stats/comparisons.hpp"
#include "postprocess/stats/linear_model.hpp"
#include "postprocess/stats/power.hpp"
#include "postprocess/stats/ratio.hpp"

namespace {

using namespace pg::post;
using namespace pg::test;

BOOST_AUTO_TEST_CASE(slope_of_seven_points) {
  const auto share = shares<4>(kMany, [](std::size_t r) {
    Noise noise(1, r);
    Values y;
    for (const double x : kLnBatch) y.push_back(-8 + 0.6 * x + 0.2 * noise());
    const auto fit = fit_line(kLnBatch, y);
    const double distance = std::abs(fit->slope - 0.6);
    return std::array{fit->slope_ci95.contains(0.6), distance < 2 * fit->slope_se,
                      fit->intercept_ci95.contains(-8), distance < 1.96 * fit->slope_se};
  });
  check_covers("slope, t", share[0], kMany);
  check_covers("intercept, t", share[2], kMany);
  check_share("slope, +-2 SE", share[1], 0.87, 0.91, kMany);
  check_share("slope, +-1.96 SE", share[3], 0.865, 0.905, kMany);
}

BOOST_AUTO_TEST_CASE(bands_of_seven_points) {
  const double beyond = std::log(1024);
  const auto share = shares<4>(kMany, [&](std::size_t r) {
    Noise noise(13, r);
    std::vector<LinePoint> points;
    for (const std::int64_t batch : {8, 16, 32, 64, 128, 256, 512}) {
      const double x = std::log(static_cast<double>(batch));
      points.push_back({batch, -8 + 0.6 * x + 0.2 * noise(), 0.2});
    }
    const ExponentEstimate line = fit_exponent("", "", points);
    const ExponentEstimate propagated = propagate_errors(line, points, 0);
    const double truth = -8 + 0.6 * beyond;
    return std::array{
        line.band_at(1024).contains(truth), line.band_at(64).contains(-8 + 0.6 * std::log(64)),
        line.beta_ci95.contains(0.6), std::abs(propagated.beta - 0.6) < 1.96 * propagated.beta_se};
  });
  check_covers("mean band at twice the largest batch", share[0], kMany);
  check_covers("mean band in the middle", share[1], kMany);
  check_covers("exponent of the line", share[2], kMany);
  check_covers("exponent, propagated known errors", share[3], kMany);
}

BOOST_AUTO_TEST_CASE(power) {
  // What the formulas promise is what is found.
  const double effect = minimum_detectable_effect(1, 6);
  const std::size_t enough = values_needed(0.9, 1);
  double sxx = 0;
  for (const double x : kLnBatch) sxx += std::pow(x - std::log(64), 2);
  const double slope_se = 0.2 / std::sqrt(sxx);
  const double difference = minimum_detectable_slope_difference(slope_se, 5);
  const std::size_t runs = replicates_needed(0.1, slope_se, 7, 2);
  BOOST_TEST(runs == 3);
  const double slope_power = t_power(0.1 / slope_se * std::sqrt(3), 19);
  const auto share = shares<5>(kMany, [&](std::size_t r) {
    Noise noise(14, r);
    const auto slope_found = [&](double slope, std::size_t repeats) {
      Values x;
      Values y;
      for (std::size_t i = 0; i < 7 * repeats; ++i) {
        x.push_back(kLnBatch[i % 7]);
        y.push_back(slope * x.back() + 0.2 * noise());
      }
      return !fit_line(x, y)->slope_ci95.contains(0);
    };
    return std::array{mean_test(noise.normal(6, effect)).p < 0.05,
                      mean_test(noise.normal(enough, 0.9)).p < 0.05,
                      mean_test(noise.normal(enough - 1, 0.9)).p < 0.05, slope_found(difference, 1),
                      slope_found(0.1, runs)};
  });
  check_share("power at the minimum detectable effect", share[0], 0.785, 0.815, kMany);
  BOOST_TEST(share[1] > 0.79);
  BOOST_TEST(share[2] < 0.81);
  check_share("power at the minimum detectable slope", share[3], 0.785, 0.815, kMany);
  check_share("power of three runs", share[4], slope_power - 0.015, slope_power + 0.015, kMany);
  BOOST_TEST(slope_power >= 0.8);
  // And what choosing the lowest of seven flatters.
  Values lowest(kMany);
  parallel_for(kMany, 0, [&](std::size_t r) {
    const Values losses = Noise(15, r).normal(7, 4, 0.01);
    lowest[r] = *std::min_element(losses.begin(), losses.end());
  });
  const MeanTest mean = mean_test(lowest);
  BOOST_TEST(std::abs(4 - mean.estimate - expected_minimum_bias(7, 0.01)) < 4 * mean.se);
}

BOOST_AUTO_TEST_CASE(bootstrapped_slope_of_seven_points) {
  const auto share = shares<3>(kRepetitions, [](std::size_t r) {
    Noise noise(2, r);
    Values y;
    for (const double x : kLnBatch) y.push_back(0.6 * x + noise());
    const auto fit = fit_line(kLnBatch, y);
    const BootstrapSample sample = resample_slope(*fit, kLnBatch, 399, r, 1);
    return std::array{
        studentised_interval(sample, fit->slope, fit->slope_se).interval.contains(0.6),
        percentile_interval(sample).interval.contains(0.6),
        basic_interval(sample, fit->slope).interval.contains(0.6)};
  });
  check_covers("slope, studentised residual bootstrap", share[0], kRepetitions);
  check_share("slope, percentile", share[1], 0.86, 0.92, kRepetitions);
  check_share("slope, basic", share[2], 0.86, 0.92, kRepetitions);
}

BOOST_AUTO_TEST_CASE(means_and_differences) {
  const auto share = shares<6>(kMany, [](std::size_t r) {
    Noise noise(3, r);
    const Values five = noise.normal(5, 4.2, 0.01);
    const Values few = noise.normal(5, 4.2, 0.03);
    const Values many = noise.normal(12, 4.2, 0.01);
    Values x = noise.normal(7);
    Values y = x;  // pairs share most of their scatter
    for (std::size_t i = 0; i < 7; ++i) y[i] += 0.1 * noise() - 0.5;
    const MeanTest mean = mean_test(five);
    const MeanTest welch = welch_test(few, many);
    const MeanTest pairs = paired_test(x, y);
    const double pooled = std::sqrt(
        (4 * std::pow(mean_test(few).se, 2) * 5 + 11 * std::pow(mean_test(many).se, 2) * 12) / 15 *
        (1.0 / 5 + 1.0 / 12));
    return std::array{mean.ci95.contains(4.2),
                      welch.ci95.contains(0),
                      welch.p < 0.05,
                      pairs.ci95.contains(0.5),
                      student_two_sided_p(welch.estimate / pooled, 15) < 0.05,
                      student_two_sided_p((pairs.estimate - 0.5) / pairs.se, pairs.df) < 0.05};
  });
  check_covers("mean of five, t", share[0], kMany);
  check_covers("difference, Welch", share[1], kMany);
  check_size("Welch, unequal variances", share[2], kMany);
  check_covers("paired t", share[3], kMany);
  check_size("paired t", share[5], kMany);
  BOOST_TEST_MESSAGE("pooled t, unequal variances: " << share[4]);
  BOOST_TEST(share[4] > 0.10, "the pooled t test keeps its level: " << share[4]);
}

BOOST_AUTO_TEST_CASE(equivalence) {
  const auto share = shares<2>(kMany, [](std::size_t r) {
    Noise noise(4, r);
    // True difference on the margin: the wrong claim. And well inside: the right one.
    const MeanTest on = mean_test(noise.normal(8, 1, 1));
    const MeanTest inside = mean_test(noise.normal(8, 0, 0.5));
    return std::array{equivalence_test(on, 1).equivalent(),
                      equivalence_test(inside, 1).equivalent()};
  });
  check_at_most("TOST on the margin", share[0], 0.06, kMany);
  BOOST_TEST(share[0] > 0.03);
  BOOST_TEST(share[1] > 0.9);
}

BOOST_AUTO_TEST_CASE(families) {
  // Five hypotheses, all true, tested on the same seven seeds against one baseline (correlated).
  const auto share = shares<2>(kMany, [](std::size_t r) {
    Noise noise(5, r);
    const Values baseline = noise.normal(7);
    Values p;
    for (int i = 0; i < 5; ++i) p.push_back(paired_test(noise.normal(7), baseline).p);
    const Values adjusted = holm(p);
    return std::array{*std::min_element(adjusted.begin(), adjusted.end()) < 0.05,
                      *std::min_element(p.begin(), p.end()) < 0.05};
  });
  check_at_most("Holm, family-wise", share[0], 0.06, kMany);
  BOOST_TEST(share[1] > 0.12, "five tests without adjustment: " << share[1]);
  // Half of 20 are false nulls: Benjamini and Hochberg keep the expected share of false finds.
  constexpr std::size_t kFamilies = kMany / 10;
  Values false_share(kFamilies);
  parallel_for(kFamilies, 0, [&](std::size_t r) {
    Noise noise(6, r);
    Values p;
    for (int i = 0; i < 20; ++i) p.push_back(mean_test(noise.normal(8, i < 10 ? 0 : 1.5)).p);
    const Values adjusted = benjamini_hochberg(p);
    double found = 0;
    double wrong = 0;
    for (std::size_t i = 0; i < 20; ++i) {
      if (adjusted[i] >= 0.05) continue;
      found += 1;
      wrong += i < 10 ? 1 : 0;
    }
    false_share[r] = found > 0 ? wrong / found : 0;
  });
  const double rate = std::accumulate(false_share.begin(), false_share.end(), 0.0) / kFamilies;
  check_share("BH, false discovery rate (0.025 expected)", rate, 0.015, 0.035, kFamilies);
}

BOOST_AUTO_TEST_CASE(exact_tests) {
  // Eleven pairs: Wilcoxon's attainable level next to 5 % is 0.0537 (below: 0.0420); the sign-flip
  // test of ten pairs attains 0.0488 = 50 / 1024.
  const auto share = shares<4>(kMany, [](std::size_t r) {
    Noise noise(7, r);
    const Values eleven = noise.normal(11);
    const Values ten(eleven.begin(), eleven.begin() + 10);
    const Values six(eleven.begin(), eleven.begin() + 6);
    return std::array{signed_rank_test(eleven).p <= 0.05, sign_flip_test(ten).p <= 0.05,
                      signed_rank_test(six).p <= 0.05, sign_flip_test(six).p <= 0.05};
  });
  check_size("Wilcoxon, 11 pairs", share[0], kMany);
  check_size("sign flips, 10 pairs", share[1], kMany);
  // Six pairs can only attain 2/64: never above 5 %.
  check_share("Wilcoxon, 6 pairs", share[2], 0.0213, 0.0413, kMany);
  check_share("sign flips, 6 pairs", share[3], 0.0213, 0.0413, kMany);
}

BOOST_AUTO_TEST_CASE(effect_size) {
  const auto share = shares<2>(kRepetitions, [](std::size_t r) {
    Noise noise(8, r);
    const Values x = noise.normal(5, 0.8);
    const Values y = noise.normal(7);
    const Values differences = noise.normal(6, -1.2);
    const Values zero(6, 0.0);
    return std::array{hedges_g(x, y).ci95.contains(0.8),
                      hedges_g_paired(differences, zero).ci95.contains(-1.2)};
  });
  check_covers("Hedges g", share[0], kRepetitions);
  check_covers("Hedges g of pairs", share[1], kRepetitions);
}

Values ar1(Noise& noise, std::size_t n, double rho) {
  Values x = {noise() / std::sqrt(1 - rho * rho)};
  while (x.size() < n) x.push_back(rho * x.back() + noise());
  return x;
}

BOOST_AUTO_TEST_CASE(autocorrelated_series) {
  struct Setting {
    const char* name;
    std::size_t n;
    double rho;
    double naive_at_most;
  };
  for (const Setting& setting : {Setting{"series, n = 500, AR(1) 0.7", 500, 0.7, 0.65},
                                 Setting{"series, n = 100, AR(1) 0.7", 100, 0.7, 0.65},
                                 Setting{"series, n = 500, AR(1) 0.9", 500, 0.9, 0.40},
                                 Setting{"series, n = 100, independent", 100, 0, 1}}) {
    const auto share = shares<2>(kFits, [&](std::size_t r) {
      Noise noise(9, r);
      const Values x = ar1(noise, setting.n, setting.rho);
      return std::array{series_mean(x).ci95.contains(0), mean_test(x).ci95.contains(0)};
    });
    check_covers(setting.name, share[0], kFits);
    check_at_most("  by s / sqrt(n)", share[1], setting.naive_at_most, kFits);
  }
}

BOOST_AUTO_TEST_CASE(hierarchical_means) {
  for (const std::size_t n_groups : {4, 8}) {
    for (const double within : {0.3, 3.0}) {
      const auto share = shares<2>(kRepetitions, [&](std::size_t r) {
        Noise noise(10, r);
        std::vector<Values> groups;
        Values means;
        for (std::size_t g = 0; g < n_groups; ++g) {
          groups.push_back(noise.normal(5, noise(), within));
          means.push_back(std::accumulate(groups.back().begin(), groups.back().end(), 0.0) / 5);
        }
        // Percentiles of resampled group means: what the studentised interval is there to avoid.
        const BootstrapSample plain =
            run_bootstrap(399, 1, [&](std::uint64_t replicate) -> std::optional<Replicate> {
              double sum = 0;
              for (const std::size_t g : resample_indices(n_groups, r, replicate)) sum += means[g];
              return Replicate{sum / static_cast<double>(n_groups), 1};
            });
        return std::array{hierarchical_mean(groups, 399, r, 1).interval.interval.contains(0),
                          percentile_interval(plain).interval.contains(0)};
      });
      BOOST_TEST_MESSAGE(n_groups << " groups, sd within " << within << ":");
      check_covers("  hierarchical mean", share[0], kRepetitions);
      check_at_most("  percentile of group means", share[1], 0.92, kRepetitions);
    }
  }
}

/// Losses 4 + k u^2 + noise of the grid of seven batch sizes and seven learning rates, with
/// u = ln(LR / 1e-3) - 2/3 ln(B / 64) - a normal number of this `scatter` per batch.
std::vector<BatchCells> noisy_grid(double curvature, double sd, double scatter, Noise& noise) {
  std::vector<BatchCells> table;
  for (const std::int64_t batch : {8, 16, 32, 64, 128, 256, 512}) {
    BatchCells row{batch, {}};
    const double shift = scatter * noise();
    for (const double lr : {3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2}) {
      const double u =
          std::log(lr / 1e-3) - 2.0 / 3 * std::log(static_cast<double>(batch) / 64) - shift;
      Cell cell;
      cell.batch = batch;
      cell.lr = lr;
      cell.state = CellState::usable;
      cell.n_seeds = 1;
      cell.loss = 4 + curvature * u * u + sd * noise();
      row.cells.push_back(cell);
    }
    table.push_back(std::move(row));
  }
  return table;
}

BOOST_AUTO_TEST_CASE(joint_surface) {
  struct Setting {
    const char* name;
    double curvature, sd, scatter;
  };
  for (const Setting& setting : {Setting{"surface, k .02, sd .0005", .02, .0005, 0},
                                 Setting{"surface, k .02, sd .005", .02, .005, 0},
                                 Setting{"surface, k .02, sd .02", .02, .02, 0},
                                 Setting{"surface, k .005, sd .01", .005, .01, 0},
                                 Setting{"surface, batches scatter by .1", .02, .005, .1},
                                 Setting{"surface, batches scatter by .2", .02, .0005, .2}}) {
    const double step = std::log(10.0 / 3);
    const auto share = shares<3>(kFits, [&](std::size_t r) {
      Noise noise(12, r);
      const std::vector<BatchCells> table =
          noisy_grid(setting.curvature, setting.sd, setting.scatter, noise);
      std::vector<Optimum> optima = find_optima(table, {}, {}, step);
      std::erase_if(optima, [](const Optimum& o) { return o.state != OptimumState::bracketed; });
      const SurfaceFit fit = fit_surface("", "", table, optima, step);
      const bool ok = fit.estimate.ok();
      return std::array{ok, ok && fit.estimate.beta_ci95.contains(2.0 / 3),
                        ok && fit.pooled_ci95.contains(2.0 / 3)};
    });
    // Of the intervals that are given: a landscape this flat sometimes has none to give.
    BOOST_TEST(share[0] > 0.9);
    check_share(setting.name, share[1] / share[0], 0.93, 0.97, kFits);
    check_at_most("  from the cells alone", share[2] / share[0], setting.scatter > 0 ? 0.92 : 1,
                  kFits);
  }
}

/// Whether a law was fitted, and whether its intervals for two parameters and its mean band and
/// prediction band at `far` hold what is true.
std::array<bool, 5> law_holds(const std::string& law, const LawData& data,
                              const std::array<std::pair<const char*, double>, 2>& truths,
                              double far, double true_far, double next_far) {
  const LawFit fit = fit_law(law, data);
  if (!fit.ok()) return {};
  const LawBand band = band_at(fit, std::array{far});
  return {true, fit.parameter(truths[0].first).ci95.contains(truths[0].second),
          fit.parameter(truths[1].first).ci95.contains(truths[1].second),
          band.mean95.contains(true_far), band.prediction95.contains(next_far)};
}

void check_law(const std::string& law, const std::array<double, 5>& share) {
  BOOST_TEST(share[0] == 1);
  check_covers((law + ", first parameter").c_str(), share[1], kRepetitions);
  check_covers((law + ", second parameter").c_str(), share[2], kRepetitions);
  check_covers((law + ", mean band").c_str(), share[3], kRepetitions);
  check_covers((law + ", prediction band").c_str(), share[4], kRepetitions);
}

BOOST_AUTO_TEST_CASE(laws_with_a_floor) {
  // Sixteen sizes from 0.2 to 50 million parameters, read at a thousand million.
  const auto loss = [](double n) { return 1.7 + 400 / std::pow(n, 0.35); };
  for (const std::string law : {"offset", "offset_nls"}) {
    const auto share = shares<5>(kRepetitions, [&](std::size_t r) {
      Noise noise(16, r);
      const auto measured = [&](double n) {
        return law == "offset" ? loss(n) * std::exp(0.01 * noise()) : loss(n) + 0.02 * noise();
      };
      LawData data;
      data.x = {{}};
      for (int i = 0; i < 16; ++i) {
        data.x[0].push_back(2e5 * std::pow(250.0, i / 15.0));
        data.y.push_back(measured(data.x[0].back()));
      }
      const double next = measured(1e9);
      return law_holds(law, data, {{{"E", 1.7}, {"alpha", 0.35}}}, 1e9, loss(1e9), next);
    });
    check_law(law, share);
  }
}

BOOST_AUTO_TEST_CASE(power_laws_of_seven_points) {
  const auto truth = [](double x) { return 2.5 * std::pow(x, -0.3); };
  using Truths = std::array<std::pair<const char*, double>, 2>;
  const Truths power = {{{"C", 2.5}, {"beta", -0.3}}};
  const Truths kaplan = {{{"alpha", 0.3}, {"ln_N_c", std::log(2.5) / 0.3}}};
  for (const std::string law : {"power", "kaplan", "power_nls"}) {
    const auto share = shares<5>(kRepetitions, [&](std::size_t r) {
      Noise noise(17, r);
      const auto measured = [&](double x) {
        return law == "power_nls" ? truth(x) + 0.02 * noise() : truth(x) * std::exp(0.1 * noise());
      };
      LawData data;
      data.x = {{}};
      for (int i = 3; i <= 9; ++i) {
        data.x[0].push_back(std::exp2(i));
        data.y.push_back(measured(data.x[0].back()));
      }
      const double next = measured(1024);
      return law_holds(law, data, law == "kaplan" ? kaplan : power, 1024, truth(1024), next);
    });
    check_law(law, share);
  }
}

BOOST_AUTO_TEST_CASE(ratios) {
  const auto share = shares<2>(kMany, [](std::size_t r) {
    Noise noise(11, r);
    const Values common = noise.normal(7);
    Values x = noise.normal(7, 4);
    Values y = noise.normal(7, 5);
    for (std::size_t i = 0; i < 7; ++i) {
      x[i] += common[i];
      y[i] += common[i];
    }
    const Interval interval = mean_ratio_interval(x, y);
    return std::array{interval.contains(0.8), interval.finite()};
  });
  check_covers("ratio of means, Fieller", share[0], kMany);
  BOOST_TEST(share[1] > 0.99);
}

}  // namespace
