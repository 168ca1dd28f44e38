// Resampling: the same bytes for any number of threads, intervals against R's boot, and what has
// none.
#define BOOST_TEST_MODULE bootstrap
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>
#include <thread>

#include "base/error.hpp"
#include "base/random.hpp"
#include "postprocess/stats/bootstrap.hpp"

namespace {

using namespace pg::post;
using Values = std::vector<double>;

constexpr std::size_t kThreads[] = {1, 2, 3, 8};

void check_close(double value, double expected, double relative = 1e-9) {
  BOOST_TEST(std::abs(value - expected) <= relative * std::abs(expected),
             value << " is not " << expected);
}

void check_near(const BootstrapInterval& value, double low, double high, double distance) {
  BOOST_TEST(value.ok(), value.status);
  BOOST_TEST(std::abs(value.interval.low - low) < distance,
             value.interval.low << " is not " << low);
  BOOST_TEST(std::abs(value.interval.high - high) < distance,
             value.interval.high << " is not " << high);
}

void check_interval(const BootstrapInterval& value, double low, double high) {
  BOOST_TEST(value.ok(), value.status);
  check_close(value.interval.low, low);
  check_close(value.interval.high, high);
}

void check_none(const BootstrapInterval& value, const std::string& status) {
  BOOST_TEST(value.status == status);
  BOOST_TEST(!value.ok());
  BOOST_TEST(std::isinf(value.interval.low));
  BOOST_TEST(std::isinf(value.interval.high));
}

const Values kLnBatch = {std::log(8),   std::log(16),  std::log(32), std::log(64),
                         std::log(128), std::log(256), std::log(512)};
const Values kLnLr = {std::log(3e-4), std::log(3e-4), std::log(3e-4), std::log(1e-3),
                      std::log(3e-4), std::log(3e-4), std::log(3e-5)};

std::optional<double> slope(std::span<const std::size_t> rows) {
  Values x;
  Values y;
  for (const std::size_t i : rows) {
    x.push_back(kLnBatch[i]);
    y.push_back(kLnLr[i]);
  }
  const auto fit = fit_line(x, y);
  if (!fit) return std::nullopt;
  return fit->slope;
}

BootstrapInterval slope_interval(const LineFit& fit, const Values& x, std::size_t n,
                                 std::size_t threads) {
  return studentised_interval(resample_slope(fit, x, n, 4, threads), fit.slope, fit.slope_se);
}

BootstrapSample pairs(std::size_t n, std::size_t threads) {
  return run_bootstrap(n, threads, [](std::uint64_t r) -> std::optional<Replicate> {
    const auto value = slope(resample_indices(7, 11, r));
    if (!value) return std::nullopt;
    return Replicate{*value, 1};
  });
}

BOOST_AUTO_TEST_CASE(every_index_once) {
  for (const std::size_t threads : {0, 1, 2, 3, 8}) {
    std::vector<std::atomic<int>> seen(1000);
    parallel_for(seen.size(), threads, [&](std::size_t i) { ++seen[i]; });
    for (const auto& count : seen) BOOST_REQUIRE(count == 1);
  }
  parallel_for(0, 4, [](std::size_t) { BOOST_ERROR("nothing to do"); });
}

BOOST_AUTO_TEST_CASE(the_first_failure_is_the_one_reported) {
  for (const std::size_t threads : kThreads) {
    const auto body = [](std::size_t i) {
      if (i == 20) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (i >= 20) throw pg::NumericalError({std::to_string(i), "", ""});
    };
    try {
      parallel_for(1000, threads, body);
      BOOST_ERROR("no exception");
    } catch (const pg::NumericalError& error) {
      BOOST_TEST(std::string(error.what()).starts_with("20"));
    }
  }
}

BOOST_AUTO_TEST_CASE(same_bytes_on_any_number_of_threads) {
  const BootstrapSample reference = pairs(500, 1);
  const auto line = fit_line(kLnBatch, kLnLr);
  const BootstrapInterval reference_slope = slope_interval(*line, kLnBatch, 199, 1);
  const std::vector<std::vector<double>> groups = {{1, 2, 4}, {3, 3.5}, {0, 1, 1, 2}, {2.5}};
  const HierarchicalMean reference_mean = hierarchical_mean(groups, 199, 5, 1);
  for (const std::size_t threads : kThreads) {
    const BootstrapSample sample = pairs(500, threads);
    BOOST_REQUIRE_EQUAL(sample.replicates.size(), reference.replicates.size());
    BOOST_TEST(std::memcmp(sample.replicates.data(), reference.replicates.data(),
                           sample.replicates.size() * sizeof(Replicate)) == 0);
    const Interval line_interval = slope_interval(*line, kLnBatch, 199, threads).interval;
    BOOST_TEST(line_interval.low == reference_slope.interval.low);
    BOOST_TEST(line_interval.high == reference_slope.interval.high);
    const auto mean_interval = hierarchical_mean(groups, 199, 5, threads).interval.interval;
    BOOST_TEST(mean_interval.low == reference_mean.interval.interval.low);
    BOOST_TEST(mean_interval.high == reference_mean.interval.interval.high);
  }
  // Another seed and another replicate are other draws.
  BOOST_TEST(resample_indices(50, 1, 0) != resample_indices(50, 1, 1));
  BOOST_TEST(resample_indices(50, 1, 0) != resample_indices(50, 2, 0));
}

BOOST_AUTO_TEST_CASE(indices_are_uniform) {
  Values counts(7, 0.0);
  constexpr int kDraws = 10000;
  for (std::uint64_t r = 0; r < kDraws; ++r) {
    for (const std::size_t i : resample_indices(7, 3, r)) counts.at(i) += 1;
  }
  double chi2 = 0;
  for (const double count : counts) chi2 += (count - kDraws) * (count - kDraws) / kDraws;
  BOOST_TEST(chi2 < 22.46);  // qchisq(.999, 6)
  BOOST_TEST(resample_indices(0, 3, 0).empty());
}

BOOST_AUTO_TEST_CASE(clusters_stay_together) {
  const std::vector<std::size_t> cluster_of = {7, 7, 2, 9, 9, 9, 2};
  std::set<std::size_t> sizes;
  for (std::uint64_t r = 0; r < 50; ++r) {
    const auto indices = resample_clusters(cluster_of, 1, r);
    std::vector<std::size_t> counts(cluster_of.size(), 0);
    for (const std::size_t i : indices) ++counts.at(i);
    BOOST_TEST(counts[0] == counts[1]);
    BOOST_TEST(counts[2] == counts[6]);
    BOOST_TEST(counts[3] == counts[4]);
    BOOST_TEST(counts[3] == counts[5]);
    BOOST_TEST(counts[0] + counts[2] + counts[3] == 3);
    sizes.insert(indices.size());
  }
  BOOST_TEST(sizes.size() > 1);
}

BootstrapSample made_sample() {
  BootstrapSample sample;
  for (int i = 1; i <= 999; ++i) {
    const double s = std::sin(i);
    const double c = std::cos(i);
    sample.replicates.push_back(
        {3 + s + 0.3 * s * s * s + 0.2 * std::cos(3 * i), 0.2 + 0.1 * c * c});
  }
  return sample;
}

BOOST_AUTO_TEST_CASE(intervals_as_in_r_boot) {
  // R: boot:::perc.ci, basic.ci, stud.ci and bca.ci on the same 999 replicates.
  const BootstrapSample sample = made_sample();
  const Values jackknife = {3.01, 3.2, 2.9, 3.05, 2.4, 3.1, 3.02};
  check_interval(percentile_interval(sample), 1.63091016504, 4.36909656213);
  check_interval(percentile_interval(sample, 0.9), 1.65530425575, 4.34324297745);
  check_interval(basic_interval(sample, 3.05), 1.73090343787, 4.46908983496);
  check_interval(studentised_interval(sample, 3.05, 0.25), 1.43664211856, 4.78541244616);
  check_interval(bca_interval(sample, 3.05, jackknife), 1.66205747653, 4.37772011173);
  check_interval(bca_interval(sample, 3.05, jackknife, 0.9), 1.72005124037, 4.37139035285);
  BOOST_TEST(percentile_interval(sample).method == "percentile");
  BOOST_TEST(bca_interval(sample, 3.05, jackknife).method == "BCa");
}

BOOST_AUTO_TEST_CASE(the_published_seven_points) {
  // The random-token phase of the public study. R's boot with 99,999 pairs; the one sample with
  // seven equal batch sizes has no slope and is left out. The ends' Monte-Carlo error here is
  // about 0.01 (BCa: 0.03).
  const BootstrapSample sample = pairs(9999, 2);
  const auto line = fit_line(kLnBatch, kLnLr);
  BOOST_TEST(sample.n_degenerate <= 2);
  BOOST_TEST(std::abs(sample.se() - 0.36388) < 0.01);
  check_near(percentile_interval(sample), -1.07968, 0.28949, 0.04);
  check_near(basic_interval(sample, line->slope), -1.00134, 0.36784, 0.04);
  check_near(bca_interval(sample, line->slope, line->leave_one_out_slopes), -1.53900, 0.19035,
             0.06);
  // Residuals e / sqrt(1 - h), studentised: as good as t's (-1.048, 0.336).
  check_near(slope_interval(*line, kLnBatch, 9999, 2), -1.04573, 0.33974, 0.05);
}

BOOST_AUTO_TEST_CASE(reasons_for_no_interval) {
  const Values jackknife = {1, 2, 4};
  BootstrapSample none;
  none.n_degenerate = 10;
  check_none(percentile_interval(none), "no replicate has a value");
  check_none(bca_interval(none, 1, jackknife), "no replicate has a value");
  BOOST_TEST(std::isinf(none.se()));
  BootstrapSample equal;
  equal.replicates.assign(100, {2, 1});
  check_none(percentile_interval(equal), "all replicates are equal");
  check_none(basic_interval(equal, 2), "all replicates are equal");
  check_none(studentised_interval(equal, 2, 1), "all replicates are equal");
  check_none(bca_interval(equal, 2, jackknife), "all replicates are equal");
  BootstrapSample few;
  for (int i = 0; i < 20; ++i) few.replicates.push_back({1.0 + i, i == 3 ? 0.0 : 1.0});
  check_none(percentile_interval(few), "the ends lie beyond the 20 replicates");
  BOOST_TEST(percentile_interval(few, 0.8).ok());
  check_none(studentised_interval(few, 10, 1, 0.8), "a replicate has no standard error");
  check_none(bca_interval(few, 0.5, jackknife, 0.8), "every replicate lies above the estimate");
  check_none(bca_interval(few, 20.5, jackknife, 0.8), "every replicate lies below the estimate");
  check_none(bca_interval(few, 10.2, Values{3, 3, 3}, 0.8),
             "the leave-one-out estimates are all equal");
  check_none(bca_interval(few, 10.2, {}, 0.8), "the leave-one-out estimates are all equal");
  check_none(bca_interval(few, 10.2, Values{1, 2, INFINITY}, 0.8),
             "a leave-one-out estimate is not finite");
  // One leave-one-out estimate far from fifty others: a = 0.16, and 1 - a z falls below zero.
  Values outlier(50, 1.0);
  outlier.push_back(-100);
  check_none(bca_interval(few, 19.5, outlier, 1 - 1e-6),
             "the acceleration is too large for this level");
  few.replicates[3].se = 1;
  check_none(studentised_interval(few, 10, 0, 0.8), "the estimate has no standard error");
  few.n_degenerate = 21;
  check_none(percentile_interval(few, 0.8), "21 of 41 replicates have no value");
  // A perfect line and a two-point line leave no residuals to draw from.
  const auto exact = fit_line(Values{1, 2, 3}, Values{2, 4, 6});
  check_none(slope_interval(*exact, Values{1, 2, 3}, 99, 1), "no replicate has a value");
  const auto two = fit_line(Values{1, 2}, Values{2, 5});
  check_none(slope_interval(*two, Values{1, 2}, 99, 1), "the estimate has no standard error");
}

BOOST_AUTO_TEST_CASE(hierarchical_means) {
  const HierarchicalMean mean = hierarchical_mean({{1, 2, 3}, {5}, {}, {3, 5}}, 999, 1, 2);
  check_close(mean.mean, (2.0 + 5.0 + 4.0) / 3);
  check_none(hierarchical_mean({{1, 2, 3}}, 99, 1, 1).interval,
             "fewer than two groups with values");
  BOOST_TEST(hierarchical_mean({{1, 2, 3}, {}}, 99, 1, 1).mean == 2);
  check_none(hierarchical_mean({}, 99, 1, 1).interval, "fewer than two groups with values");
  BOOST_TEST(!hierarchical_mean({{2, 2}, {2}, {2, 2}}, 99, 1, 1).interval.ok());
}

}  // namespace
