// Optima, exponents, verdicts and transfer errors on surfaces whose truth is known.
#define BOOST_TEST_MODULE post_fits
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "postprocess/fits/scaling_fit.hpp"
#include "postprocess/report/assessment.hpp"
#include "postprocess/stats/power.hpp"
#include "postprocess/synthetic_results.hpp"

namespace {

using namespace pg::post;
using pg::test::SyntheticSurface;

constexpr double kInf = INFINITY;
constexpr double kNan = NAN;

void check_near(double value, double expected, double tolerance) {
  BOOST_TEST(std::abs(value - expected) <= tolerance, value << " is not " << expected);
}

bool has_flag(const Optimum& o, const std::string& flag) {
  const auto flags = o.flags();
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

bool has_warning(const Assessment& a, const std::string& code) {
  return std::any_of(a.warnings.begin(), a.warnings.end(),
                     [&](const Warning& w) { return w.code == code; });
}

const std::vector<double> kFive = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2};

/// Five losses whose lowest is at index `best`.
std::vector<double> valley(std::size_t best) {
  std::vector<double> row;
  for (std::size_t i = 0; i < 5; ++i) {
    const double d = static_cast<double>(i) - static_cast<double>(best) + 0.2;
    row.push_back(2 + 0.05 * d * d);
  }
  return row;
}

}  // namespace

BOOST_AUTO_TEST_CASE(exact_parabolas_give_back_their_exponent) {
  for (const double beta : {2.0 / 3, 0.5, 1.0 / 3, -0.2}) {
    SyntheticSurface surface;
    surface.beta = beta;
    const ScalingFit fit = fit_scaling(pg::test::synthetic_results(surface));
    BOOST_REQUIRE(fit.surface.estimate.ok());
    check_near(fit.headline().beta, beta, 1e-10);
    check_near(fit.line.beta, beta, 1e-10);
    check_near(fit.surface.curvature, surface.curvature, 1e-10);
    check_near(fit.headline().ln_lr_at(64), std::log(1e-3), 1e-9);
    for (const Optimum& o : fit.optima) {
      check_near(o.ln_lr, std::log(1e-3) + beta * std::log(static_cast<double>(o.batch) / 64),
                 1e-9);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_line_along_the_edges_of_cells_is_no_identified_slope) {
  // Seen on real text: all argmins in one column, but for one batch in the middle.
  const auto set_of = [](const std::vector<std::size_t>& argmins) {
    std::vector<BatchCells> grid;
    for (std::size_t row = 0; row < argmins.size(); ++row) {
      BatchCells cells{std::int64_t{8} << row, {}};
      const std::vector<double> losses = valley(argmins[row]);
      for (std::size_t i = 0; i < kFive.size(); ++i) {
        Cell cell;
        cell.batch = cells.batch;
        cell.lr = kFive[i];
        cell.state = CellState::usable;
        cell.loss = losses[i];
        cells.cells.push_back(cell);
      }
      grid.push_back(cells);
    }
    return identified_set(argmin_regions(grid));
  };
  BOOST_TEST(!set_of({2, 2, 2, 3, 2}).feasible);
  BOOST_TEST(set_of({2, 2, 2, 3, 3}).feasible);
  BOOST_TEST(set_of({2, 2, 2, 2, 2}).feasible);
  BOOST_TEST(!set_of({2, 3, 1, 3, 2}).feasible);
}

BOOST_AUTO_TEST_CASE(a_verdict_that_other_estimators_do_not_share_says_so) {
  // A reduced run on TinyShakespeare (64 characters, 400 steps, one seed): the surface is clear,
  // the line through its seven noisy optima is not.
  const auto results = pg::test::results_from_table(
      {8, 16, 32, 64, 128, 256, 512}, {3e-4, 1e-3, 1.732e-3, 3e-3, 5.477e-3, 1e-2, 3e-2},
      {{2.58893, 2.28440, 2.22911, 2.19878, 2.26169, 2.40341, 2.82450},
       {2.50863, 2.18179, 2.11653, 2.11445, 2.14415, 2.24851, 2.58400},
       {2.43367, 2.09500, 2.03198, 2.00370, 2.00380, 2.06576, 2.48305},
       {2.37396, 2.01889, 1.94707, 1.92559, 1.90593, 1.95505, 2.28640},
       {2.31553, 1.98118, 1.88272, 1.82643, 1.81437, 1.84258, 2.08824},
       {2.28543, 1.93337, kNan, 1.79429, 1.79484, 1.76481, 1.98249},
       {2.26302, 1.91141, 1.79690, 1.73086, 1.71242, 1.74389, 1.95745}});
  const ScalingFit fit = fit_scaling(results);
  const Assessment assessment = assess(results, fit);
  BOOST_TEST(assessment.verdict.word == "heavier_tailed");
  BOOST_TEST(has_warning(assessment, "not_robust"));
  BOOST_TEST(assessment.verdict.sentence.find("Not every estimator agrees") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(surface_and_line_in_different_bands_are_no_verdict) {
  // A quick run on the synthetic language (32 symbols per sequence, 150 steps, one seed): the
  // curves of the large batches are lopsided, and the surface's line misses their optima.
  auto results = pg::test::results_from_table(
      {8, 16, 32, 64, 128, 256, 512},
      {0.0003, 0.0005477, 0.001, 0.001732, 0.003, 0.005477, 0.01, 0.01732, 0.03},
      {{3.16954, 3.14220, 3.10683, 3.09921, 3.12163, kNan, 3.13221, kNan, 3.16247},
       {3.15074, kNan, 3.07257, 3.04794, 3.02151, 3.05303, 3.11875, kNan, 3.16216},
       {3.12815, kNan, 3.02709, 3.00341, 2.98231, 2.97223, 2.99941, kNan, 3.09927},
       {3.10270, kNan, 2.98020, 2.93572, 2.87967, 2.88036, 2.96256, kNan, 3.09101},
       {3.08236, kNan, 2.92569, 2.84111, 2.78232, 2.83918, 2.82139, kNan, 3.00496},
       {3.07053, kNan, 2.87345, kNan, 2.69002, 2.67027, 2.65405, 2.95193, 2.95813},
       {3.05946, kNan, 2.83960, kNan, 2.60926, 2.60585, 2.57707, 2.84582, 2.91173}});
  for (auto& trial : results.trials) {  // the rates between the grid's own half decades
    const double lr = trial.summary.lr;
    const bool refined = lr == 0.0005477 || lr == 0.001732 || lr == 0.005477 || lr == 0.01732;
    if (refined) trial.summary.stage = "refine";
  }
  const ScalingFit fit = fit_scaling(results);
  BOOST_TEST(band_of(fit.headline().beta_ci95) != band_of(fit.line.beta_ci95));
  const Verdict verdict = judge(fit);
  BOOST_TEST(verdict.word == "indeterminate");
  BOOST_TEST(verdict.sentence.find("share no band") != std::string::npos, verdict.sentence);
}

BOOST_AUTO_TEST_CASE(raw_argmins_cannot_tell_the_theories_apart) {
  for (const double beta : {2.0 / 3, 0.5}) {
    SyntheticSurface surface;
    surface.beta = beta;
    const ScalingFit fit = fit_scaling(pg::test::synthetic_results(surface));
    BOOST_REQUIRE(fit.argmin.ok());
    check_near(fit.argmin.beta, 0.5932014455156005, 1e-9);
    check_near(*fit.argmin.r2, 0.8920566820674605, 1e-9);
    check_near(fit.argmin.beta_ci95.low, 0.35598199845997713, 1e-8);
    check_near(fit.argmin.beta_ci95.high, 0.8304208925712239, 1e-8);
    BOOST_TEST(band_of(fit.argmin.beta_ci95) == "indeterminate");
    BOOST_REQUIRE(fit.argmin_set.feasible);
    check_near(fit.argmin_set.beta.low, 0.415, 5e-4);
    check_near(fit.argmin_set.beta.high, 0.830, 5e-4);
    // Interpolation tells them apart.
    BOOST_TEST(judge(fit).word == (beta > 0.6 ? "laplace" : "gaussian"));
  }
}

BOOST_AUTO_TEST_CASE(the_predecessors_second_run_is_indeterminate) {
  const auto results = pg::test::results_from_table({32, 64, 128, 256}, kFive,
                                                    {{4.7026, 4.5475, 4.4391, 4.5757, 4.4825},
                                                     {4.7697, 4.5987, 4.4869, 4.3775, 4.3904},
                                                     {4.6681, 4.4978, 4.4491, 4.4369, 4.3819},
                                                     {4.6739, 4.5561, 4.5004, 4.4796, 4.3459}});
  const ScalingFit fit = fit_scaling(results);
  check_near(fit.argmin.beta, 1.170274987882828, 1e-9);
  check_near(fit.argmin.beta_ci95.low, -0.05158495818400377, 1e-8);
  check_near(fit.argmin.beta_ci95.high, 2.39213493394966, 1e-8);
  BOOST_TEST(has_flag(fit.optima[0], "non_unimodal"));
  BOOST_TEST((fit.optima[2].state == OptimumState::edge_high));
  BOOST_TEST((fit.optima[3].state == OptimumState::edge_high));
  const Verdict verdict = judge(fit);
  BOOST_TEST(verdict.word == "indeterminate");
  BOOST_TEST(verdict.extend_grid);
  BOOST_TEST(verdict.sentence.find("the grid must be extended") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(optima_on_an_edge_are_bounds) {
  SyntheticSurface surface;
  surface.rates = {3e-5, 1e-4, 3e-4, 1e-3, 3e-3};
  const ScalingFit fit = fit_scaling(pg::test::synthetic_results(surface));
  BOOST_TEST((fit.optima[6].state == OptimumState::edge_high));
  BOOST_TEST((fit.optima[5].state == OptimumState::edge_high));
  BOOST_TEST(fit.line.batches.size() == 5);
  check_near(fit.headline().beta, 2.0 / 3, 1e-9);
  BOOST_REQUIRE(fit.edges_at_edge);
  // Taken at face value they bend the exponent down.
  BOOST_TEST(fit.edges_at_edge->beta < 0.65);
  BOOST_TEST(judge(fit).extend_grid);
}

BOOST_AUTO_TEST_CASE(diverged_cells_bound_an_optimum_but_are_never_interpolated) {
  const auto results = pg::test::results_from_table(
      {8, 16, 32, 64}, kFive,
      {valley(1), valley(2), {2.3, 2.2, 2.0, kInf, kInf}, {2.3, 2.2, kInf, 2.1, 2.4}});
  const ScalingFit fit = fit_scaling(results);
  const Optimum& beside = fit.optima[2];
  BOOST_TEST((beside.state == OptimumState::bracketed));
  BOOST_TEST(beside.beside_diverged);
  BOOST_TEST(!beside.parabola);
  check_near(beside.lr(), 1e-3, 1e-12);
  // Half a step to each neighbour: the standard deviation of a uniform distribution.
  check_near(beside.ln_lr_se, std::log(3e-3 / 3e-4) / 2 / std::sqrt(12.0), 1e-9);
  const Optimum& across = fit.optima[3];
  check_near(across.argmin_lr, 3e-3, 1e-12);
  BOOST_TEST(!across.parabola);
  BOOST_TEST(across.beside_diverged);
  BOOST_TEST(across.n_diverged == 1);
}

BOOST_AUTO_TEST_CASE(missing_flat_and_empty_rows_are_said) {
  auto results = pg::test::results_from_table(
      {8, 16, 32, 64}, kFive,
      {valley(2), {2.2, 2.0, kNan, 2.01, 2.2}, {kNan, kNan, kNan, kNan, kNan}, valley(3)});
  const ScalingFit fit = fit_scaling(results);
  BOOST_TEST(has_flag(fit.optima[1], "missing_cells"));
  BOOST_TEST(fit.optima[1].n_missing == 1);
  BOOST_TEST((fit.optima[1].state == OptimumState::bracketed));
  BOOST_TEST((fit.optima[2].state == OptimumState::no_data));
  BOOST_TEST(fit.optima[2].n_missing == 5);

  SyntheticSurface flat;
  flat.curvature = 0;
  flat.noise = 0.01;
  flat.seeds = {1, 2, 3};
  const auto flat_results = pg::test::synthetic_results(flat);
  const ScalingFit flat_fit = fit_scaling(flat_results);
  int not_determined = 0;
  for (const Optimum& o : flat_fit.optima) {
    if (o.state == OptimumState::not_determined) ++not_determined;
  }
  BOOST_TEST(not_determined >= 5);
  BOOST_TEST(judge(flat_fit).word == "indeterminate");
  BOOST_TEST(has_warning(assess(flat_results, flat_fit), "optimum_not_determined"));
}

BOOST_AUTO_TEST_CASE(no_number_where_nothing_is_determined) {
  SyntheticSurface bowl_upside_down;
  bowl_upside_down.curvature = -0.02;
  const ScalingFit fit = fit_scaling(pg::test::synthetic_results(bowl_upside_down));
  BOOST_TEST(!fit.surface.estimate.ok());
  BOOST_TEST(!fit.headline().ok());
  BOOST_TEST(judge(fit).word == "indeterminate");
  BOOST_TEST(judge(fit).extend_grid);

  SyntheticSurface one_batch;
  one_batch.batches = {64};
  const ScalingFit single = fit_scaling(pg::test::synthetic_results(one_batch));
  BOOST_TEST(!single.headline().ok());
  BOOST_TEST(single.headline().status.find("not possible") == 0);

  SyntheticSurface one_cell;
  one_cell.batches = {64};
  one_cell.rates = {1e-3};
  const ScalingFit cell = fit_scaling(pg::test::synthetic_results(one_cell));
  BOOST_TEST((cell.optima[0].state == OptimumState::no_data));
}

BOOST_AUTO_TEST_CASE(units_shift_the_constant_only) {
  SyntheticSurface surface;
  surface.noise = 0.003;
  const auto base = pg::test::synthetic_results(surface);
  const ScalingFit fit = fit_scaling(base);
  auto changed = base;
  for (auto& t : changed.trials) {
    t.summary.batch *= 256;  // tokens instead of sequences
    t.summary.lr *= 10;
    t.summary.final_val_loss += 1.5;
  }
  std::reverse(changed.trials.begin(), changed.trials.end());
  const ScalingFit moved = fit_scaling(changed);
  const double shift = std::log(10.0) - fit.headline().beta * std::log(256.0);
  check_near(moved.headline().beta, fit.headline().beta, 1e-8);
  check_near(moved.headline().beta_se, fit.headline().beta_se, 1e-8);
  check_near(moved.headline().ln_c, fit.headline().ln_c + shift, 1e-7);
  check_near(moved.line.beta, fit.line.beta, 1e-8);
  check_near(moved.argmin.beta, fit.argmin.beta, 1e-9);
}

BOOST_AUTO_TEST_CASE(noise_comes_from_seeds_where_there_are_some) {
  SyntheticSurface surface;
  surface.noise = 0.004;
  surface.seeds = {1, 2, 3, 4};
  const ScalingFit fit = fit_scaling(pg::test::synthetic_results(surface));
  BOOST_TEST(fit.noise.source.find("seeds") != std::string::npos);
  BOOST_TEST(fit.noise.df > 20);
  // The noise of a mean of four.
  check_near(fit.noise.sd, 0.002, 0.0006);
  BOOST_TEST(fit.cells[0].cells[0].n_seeds == 4);
}

BOOST_AUTO_TEST_CASE(intervals_of_the_headline_cover) {
  struct Setting {
    const char* name;
    double noise, scatter, skew;
  };
  for (const Setting& setting : {Setting{"noise", 0.005, 0, 0}, Setting{"scatter", 0.002, 0.15, 0},
                                 Setting{"skew", 0.003, 0, 0.01}}) {
    constexpr int kRepetitions = 400;
    int covered = 0;
    int pooled = 0;
    int given = 0;
    double width = 0;
    for (int r = 0; r < kRepetitions; ++r) {
      SyntheticSurface surface;
      surface.noise = setting.noise;
      surface.scatter = setting.scatter;
      surface.skew = setting.skew;
      surface.noise_seed = static_cast<std::uint64_t>(r) + 100;
      const ScalingFit fit = fit_scaling(pg::test::synthetic_results(surface));
      if (!fit.headline().ok()) continue;
      ++given;
      covered += fit.headline().beta_ci95.contains(surface.beta) ? 1 : 0;
      pooled += fit.surface.pooled_ci95.contains(surface.beta) ? 1 : 0;
      width += fit.headline().beta_ci95.high - fit.headline().beta_ci95.low;
    }
    BOOST_TEST_MESSAGE(setting.name << ": covered " << covered << " of " << given
                                    << ", from the cells alone " << pooled << ", mean width "
                                    << width / given);
    BOOST_TEST(given == kRepetitions);
    BOOST_TEST(covered >= 0.93 * given, setting.name);
    // Batches that scatter by themselves: the cells alone promise too much.
    if (setting.scatter > 0) BOOST_TEST(pooled < 0.90 * given);
  }
}

BOOST_AUTO_TEST_CASE(three_points_on_a_line_by_chance_prove_nothing) {
  const std::vector<LinePoint> points = {{16, 1.0, 0.5}, {32, 1.001, 0.5}, {64, 1.003, 0.5}};
  const ExponentEstimate line = fit_exponent("", "", points);
  BOOST_TEST(line.beta_ci95.width() < 0.02);
  const ExponentEstimate propagated = propagate_errors(line, points, 8);
  const double sxx = 2 * std::pow(std::log(2.0), 2);
  check_near(propagated.beta_se, 0.5 / std::sqrt(sxx), 1e-12);
  const double mean = std::log(32.0);
  check_near(propagated.ln_c_se, 0.5 * std::sqrt(1.0 / 3 + mean * mean / sxx), 1e-12);
  BOOST_TEST(propagated.df == 8);
  BOOST_TEST(band_of(propagated.beta_ci95) == "indeterminate");
  // At the centre the band is that of a mean of three.
  const double half = student_quantile(0.975, 8) * 0.5 / std::sqrt(3.0);
  check_near(propagated.band_at(32).width(), 2 * half, 1e-9);

  ScalingFit fit;
  fit.surface.estimate.status = "not possible";
  fit.line = line;
  fit.line_propagated = propagated;
  BOOST_TEST(fit.headline().name == "ols_propagated");
}

BOOST_AUTO_TEST_CASE(bands_need_the_whole_interval) {
  BOOST_TEST(band_of({0.61, 0.73}) == "laplace");
  BOOST_TEST(band_of({0.59, 0.73}) == "indeterminate");
  BOOST_TEST(band_of({0.46, 0.54}) == "gaussian");
  BOOST_TEST(band_of({0.56, 0.59}) == "indeterminate");
  BOOST_TEST(band_of({0.1, 0.44}) == "heavier_tailed");
  BOOST_TEST(band_of({0.75, 1.2}) == "lighter_tailed");
  BOOST_TEST(band_of({-kInf, kInf}) == "indeterminate");
}

BOOST_AUTO_TEST_CASE(transfer_errors_follow_the_surface) {
  SyntheticSurface surface;
  auto results = pg::test::synthetic_results(surface);
  const double at_256 = 1e-3 * std::pow(4.0, 2.0 / 3);
  results.transfer_optimum_lr = at_256;
  for (const std::int64_t b : surface.batches) {
    for (const double anchor : {1e-3, at_256}) {
      for (const double beta : {2.0 / 3, 0.5}) {
        if (b == 8 && beta == 0.5) continue;  // interpolated below
        const double lr = anchor * std::pow(static_cast<double>(b) / 256, beta);
        pg::test::add_trial(results, surface, "transfer", b, lr);
      }
    }
  }
  const ScalingFit fit = fit_scaling(results);
  BOOST_TEST(fit.cells[0].cells.size() == 7);  // transfer trials never enter the optima
  BOOST_REQUIRE(fit.transfer.status == "ok");
  BOOST_REQUIRE(fit.transfer.results.size() == 4);
  for (const TransferResult& r : fit.transfer.results) {
    const double offset = std::log(r.rule.anchor_lr / at_256);
    for (const TransferError& e : r.errors) {
      const double u =
          offset + (r.rule.beta - surface.beta) * std::log(static_cast<double>(e.batch) / 256);
      check_near(e.error, surface.curvature * u * u, 1e-9);
      const bool left_out = e.batch == 8 && r.rule.beta == 0.5;
      BOOST_TEST((e.source == (left_out ? TransferSource::interpolated : TransferSource::run)));
    }
  }
  // From the true optimum the true rule wins in all six batches; from the given anchor, which is
  // too low, the wrong rule does better.
  const TransferComparison& optimum = fit.transfer.comparisons[1];
  BOOST_TEST(optimum.test.n == 6);
  check_near(optimum.test.p, 0.03125, 1e-12);
  BOOST_TEST(optimum.conclusion.find("Laplace rule transfers better") != std::string::npos);
  BOOST_TEST(fit.transfer.comparisons[0].test.mean_difference > 0);
}

BOOST_AUTO_TEST_CASE(transfer_says_what_it_has_no_run_for) {
  SyntheticSurface surface;
  surface.batches = {64, 256, 512};
  surface.diverges_above = 1.2;
  auto results = pg::test::synthetic_results(surface);
  results.study.transfer.anchor_lr = 0.02;
  pg::test::add_trial(results, surface, "transfer", 64, 0.01);
  const ScalingFit fit = fit_scaling(results);
  const TransferResult& laplace = fit.transfer.results[0];
  const TransferResult& gaussian = fit.transfer.results[1];
  BOOST_TEST((gaussian.errors[0].source == TransferSource::diverged));
  // 0.0079 at batch 64 lies between a usable and a diverged cell; 0.032 at 512 beyond the grid.
  BOOST_TEST((laplace.errors[0].source == TransferSource::missing));
  BOOST_TEST((laplace.errors[2].source == TransferSource::missing));
  BOOST_TEST(laplace.n == 0);
  BOOST_TEST(fit.transfer.comparisons[0].conclusion.find("no comparison") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(warnings_by_rule) {
  auto results = pg::test::synthetic_results({});
  for (auto& t : results.trials) {
    t.summary.clip_fraction = 0.8;
    t.summary.epochs = 6;
    t.summary.converged = t.summary.batch != 64;
    t.summary.launch = t.summary.batch < 64 ? "launch-1" : "launch-2";
  }
  results.origin_warnings = {"there is no provenance.json"};  // as read_origins says it
  const Assessment a = assess(results, fit_scaling(results));
  for (const char* code :
       {"clipped", "repeated_corpus", "not_converged", "fixed_steps", "no_study_file", "origin"}) {
    BOOST_TEST(has_warning(a, code), code);
  }
  BOOST_TEST(!has_warning(a, "identical_optima"));

  SyntheticSurface constant;
  constant.beta = 0;
  const auto same = pg::test::synthetic_results(constant);
  const ScalingFit same_fit = fit_scaling(same);
  BOOST_TEST(has_warning(assess(same, same_fit), "identical_optima"));
  BOOST_TEST(same_fit.argmin.status.find("not resolved") == 0);  // no interval of width zero
}

BOOST_AUTO_TEST_CASE(every_seed_on_its_own_gives_an_exponent_and_their_scatter_an_interval) {
  SyntheticSurface surface;
  surface.noise = 0.002;
  surface.seeds = {1, 2, 3, 4};
  const ScalingFit fit = fit_scaling(pg::test::synthetic_results(surface));
  BOOST_REQUIRE(fit.per_seed.ok());
  BOOST_TEST(fit.per_seed.df == 3);
  std::vector<double> betas;
  for (const std::uint64_t seed : surface.seeds) {
    auto own = pg::test::synthetic_results(surface);
    std::erase_if(own.trials, [&](const auto& t) { return t.summary.seed != seed; });
    // The noise is that of all seeds together: it decides which optima count, not where they are.
    betas.push_back(fit_scaling(own).surface.estimate.beta);
  }
  double mean = 0;
  for (const double beta : betas) mean += beta / 4;
  double squares = 0;
  for (const double beta : betas) squares += (beta - mean) * (beta - mean);
  check_near(fit.per_seed.beta, mean, 1e-12);
  check_near(fit.per_seed.beta_se, std::sqrt(squares / 3 / 4), 1e-12);
  surface.seeds = {1};
  BOOST_TEST(fit_scaling(pg::test::synthetic_results(surface)).per_seed.status ==
             "not possible: one seed");
}

BOOST_AUTO_TEST_CASE(bootstraps_agree_with_t_and_stand_back_where_cells_do_not_carry_the_error) {
  SyntheticSurface surface;
  surface.noise = 0.004;
  const auto results = pg::test::synthetic_results(surface);
  ScalingFit fit = fit_scaling(results);
  BOOST_TEST(fit.surface_bootstrap.status == "not asked for");
  weigh_exponent(results, {4999, 3, 2}, fit);
  BOOST_TEST_REQUIRE(fit.surface_bootstrap.ok(), fit.surface_bootstrap.status);
  BOOST_TEST_REQUIRE(fit.line_bootstrap.ok(), fit.line_bootstrap.status);
  const Interval& t = fit.surface.pooled_ci95;
  const Interval& b = fit.surface_bootstrap.studentised.interval;
  check_near(b.low, t.low, 0.15 * t.width());
  check_near(b.high, t.high, 0.15 * t.width());
  BOOST_TEST(fit.rivals.front().fit.law == "power");

  surface.noise = 0.0005;
  surface.scatter = 0.5;
  const auto scattered_results = pg::test::synthetic_results(surface);
  ScalingFit scattered = fit_scaling(scattered_results);
  BOOST_REQUIRE(scattered.surface.between_batches);
  weigh_exponent(scattered_results, {199, 3, 2}, scattered);
  BOOST_TEST(scattered.surface_bootstrap.status.find("understate") != std::string::npos);
  BOOST_TEST(!scattered.design.caveat.empty());
}

BOOST_AUTO_TEST_CASE(a_design_says_what_it_could_see) {
  SyntheticSurface surface;
  surface.noise = 0.02;
  const auto results = pg::test::synthetic_results(surface);
  ScalingFit fit = fit_scaling(results);
  weigh_exponent(results, {199, 3, 2}, fit);
  BOOST_TEST_REQUIRE((fit.design.status == "ok"), fit.design.status);
  // R: power.t.test's noncentral t at the detectable difference gives back 80 %.
  check_near(t_power(fit.design.detectable / fit.headline().beta_se, fit.headline().df), 0.8, 1e-6);
  BOOST_REQUIRE(fit.design.pairs.size() == 2U);
  for (const Separation& pair : fit.design.pairs) {
    check_near(pair.distance, 1.0 / 6, 1e-12);
    BOOST_TEST((pair.power >= 0.8) == (pair.designs == 1));
    BOOST_TEST(pair.trials == pair.designs * 49);
  }
}

BOOST_AUTO_TEST_CASE(scenarios_and_criteria_follow_the_interval) {
  const auto judged = [](double beta, double noise) {
    SyntheticSurface surface;
    surface.beta = beta;
    surface.noise = noise;
    const auto results = pg::test::synthetic_results(surface);
    return assess(results, fit_scaling(results));
  };
  const auto outcome = [](const Assessment& a, const std::string& name) {
    for (const Criterion& c : a.criteria) {
      if (c.name == name) return c.outcome;
    }
    return std::string("absent");
  };
  const Assessment laplace = judged(2.0 / 3, 0.0002);
  BOOST_TEST(laplace.scenario.word == "laplace_confirmed");
  BOOST_TEST(outcome(laplace, "beta_067") == "met");
  BOOST_TEST(outcome(laplace, "closer_theory") == "met");
  const Assessment gaussian = judged(0.5, 0.0002);
  BOOST_TEST(gaussian.scenario.word == "gaussian");
  BOOST_TEST(outcome(gaussian, "beta_067") == "not_met");
  BOOST_TEST(judged(0.58, 0.0002).scenario.word == "intermediate");
  BOOST_TEST(judged(0.2, 0.0002).scenario.word == "unexpected");
  const Assessment noisy = judged(2.0 / 3, 0.03);
  BOOST_TEST(noisy.scenario.word == "indeterminate");
  BOOST_TEST(outcome(noisy, "beta_067") == "indeterminate");
}
