#include "postprocess/fits/scaling_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "postprocess/stats/censored.hpp"

#include "postprocess/stats/comparisons.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Optimum> bracketed(const std::vector<Optimum>& optima,
                               const std::vector<std::int64_t>& without = {}) {
  std::vector<Optimum> kept;
  for (const Optimum& optimum : optima) {
    const bool dropped = std::find(without.begin(), without.end(), optimum.batch) != without.end();
    if (optimum.state == OptimumState::bracketed && !dropped) kept.push_back(optimum);
  }
  return kept;
}

std::vector<LinePoint> line_points(const std::vector<Optimum>& optima) {
  std::vector<LinePoint> points;
  for (const Optimum& o : optima) points.push_back({o.batch, o.ln_lr, o.ln_lr_se});
  return points;
}

/// Bracketed optima, and those on an edge moved `beyond` outwards in ln LR.
std::vector<LinePoint> with_edges(const std::vector<Optimum>& optima, double beyond) {
  std::vector<LinePoint> points;
  for (const Optimum& o : optima) {
    if (o.state == OptimumState::bracketed) points.push_back({o.batch, o.ln_lr, o.ln_lr_se});
    if (o.state == OptimumState::edge_low) points.push_back({o.batch, o.ln_lr - beyond, 0});
    if (o.state == OptimumState::edge_high) points.push_back({o.batch, o.ln_lr + beyond, 0});
  }
  return points;
}

bool has_edge(const std::vector<Optimum>& optima) {
  return std::any_of(optima.begin(), optima.end(), [](const Optimum& o) {
    return o.state == OptimumState::edge_low || o.state == OptimumState::edge_high;
  });
}

/// Seeds, else quadratics; with neither, the surface's own scatter (its misfit included, so that
/// it errs on the wide side), else the evaluations' errors.
LossNoise choose_noise(const LossNoise& measured, const LossNoise& evaluation,
                       const std::vector<BatchCells>& cells, double step) {
  if (measured.sd > 0) return measured;
  const auto first = bracketed(find_optima(cells, {}, evaluation, step));
  const SurfaceFit surface = fit_surface("", "", cells, first, step);
  if (surface.free_df >= 3 && surface.free_residual_sd > evaluation.sd) {
    return {surface.free_residual_sd, surface.free_df,
            "residuals of parabolas with one common curvature (their misfit included)"};
  }
  return evaluation;
}

void test_hypotheses(const std::vector<config::Hypothesis>& hypotheses, ScalingFit& fit) {
  const ExponentEstimate& headline = fit.headline();
  if (!headline.ok()) return;
  std::vector<double> x;
  std::vector<double> y;
  for (const LinePoint& point : line_points(bracketed(fit.optima))) {
    x.push_back(std::log(static_cast<double>(point.batch)));
    y.push_back(point.ln_lr);
  }
  std::vector<double> p;
  for (const config::Hypothesis& h : hypotheses) {
    HypothesisTest test;
    test.name = h.name;
    test.beta = h.beta;
    const double distance = headline.beta - h.beta;
    test.t = distance == 0 ? 0 : distance / headline.beta_se;
    test.p = student_two_sided_p(test.t, headline.df);
    test.equivalence_p =
        equivalence_test(headline.beta, headline.beta_se, headline.df, h.beta, kEquivalenceMargin)
            .p;
    test.in_ci95 = headline.beta_ci95.contains(h.beta);
    test.aicc = gaussian_aicc(fixed_slope_rss(x, y, h.beta), x.size(), 2);
    p.push_back(test.p);
    fit.hypotheses.push_back(std::move(test));
  }
  const std::vector<double> adjusted = holm(p);
  for (std::size_t i = 0; i < adjusted.size(); ++i) fit.hypotheses[i].p_holm = adjusted[i];
  if (fit.line_details) {
    fit.free_slope_aicc = gaussian_aicc(fit.line_details->rss, fit.line_details->n, 3);
  }
}

void fit_surfaces(const RunResults& results, ScalingFit& fit) {
  const std::vector<Optimum> all = bracketed(fit.optima);
  const std::vector<Optimum> large = bracketed(fit.optima, results.study.analysis.small_batches);
  const double step = fit.grid_step;
  fit.surface = fit_surface("joint_surface", "joint surface", fit.cells, all, step);
  fit.surface_without_small =
      fit_surface("joint_surface_without_small_batches", "joint surface, without small batches",
                  fit.cells, large, step);
  fit.surface_wide = fit_surface("joint_surface_wide_window", "joint surface, window doubled",
                                 fit.cells, all, 2 * step);
}

/// The line by maximum likelihood when all that is known of each optimum is its cell of the grid.
ExponentEstimate censored_line(const std::vector<ArgminRegion>& regions) {
  ExponentEstimate estimate;
  estimate.name = "interval_censored";
  estimate.label = "line, argmins known to their cells";
  std::vector<double> x;
  std::vector<Interval> y;
  for (const ArgminRegion& region : regions) {
    estimate.batches.push_back(region.batch);
    x.push_back(std::log(static_cast<double>(region.batch)));
    y.push_back({region.ln_low, region.ln_high});
  }
  if (x.size() < 3) {
    estimate.status = "not possible: fewer than three batches with a known grid";
    return estimate;
  }
  const CensoredLine line = fit_censored_line(x, y);
  estimate.status = to_string(line.status);
  if (line.status != FitStatus::converged) {
    if (!line.detail.empty()) estimate.status = "not possible: " + line.detail;
    return estimate;
  }
  estimate.beta = line.slope;
  estimate.beta_se = line.slope_se;
  estimate.beta_ci95 = line.slope_ci95;
  estimate.df = static_cast<int>(line.n) - 2;
  estimate.ln_c = line.intercept;
  estimate.ln_c_se = line.intercept_se;
  estimate.n_cells = line.n;
  return estimate;
}

std::vector<Rival> compare_rivals(const std::vector<LinePoint>& points) {
  if (points.size() < 4) return {};
  LawData data;
  data.x.resize(1);
  for (const LinePoint& point : points) {
    data.x[0].push_back(static_cast<double>(point.batch));
    data.y.push_back(std::exp(point.ln_lr));
    data.labels.push_back(std::to_string(point.batch));
  }
  return compare_laws({"constant", "power", "saturating", "surge", "log_quadratic"}, data);
}

/// Everything about the log-log line, with `argmins` for the row of raw argmins.
void fit_lines(const RunResults& results, const std::vector<LinePoint>& argmins, ScalingFit& fit) {
  const std::vector<LinePoint> points = line_points(bracketed(fit.optima));
  const std::vector<LinePoint> large =
      line_points(bracketed(fit.optima, results.study.analysis.small_batches));
  LineFit details;
  fit.line = fit_exponent("ols", "line through the interpolated optima", points, false, &details);
  if (fit.line.ok()) fit.line_details = std::move(details);
  std::vector<double> x;
  std::vector<double> y;
  for (const LinePoint& point : points) {
    x.push_back(std::log(static_cast<double>(point.batch)));
    y.push_back(point.ln_lr);
  }
  fit.line_ranks = rank_slope(x, y);
  fit.line_huber = fit_robust_line(x, y, RobustLoss::huber);
  fit.line_propagated = propagate_errors(fit.line, points, fit.noise.df);
  fit.line_without_small =
      fit_exponent("ols_without_small_batches", "line, without small batches", large);
  fit.line_weighted = fit_exponent("wls", "line, weighted by 1/se^2", points, true);
  fit.argmin = fit_exponent("argmin_ols", "line through the raw grid argmins", argmins);
  fit.argmin_set = identified_set(fit.regions);
  fit.censored = censored_line(fit.regions);
  if (has_edge(fit.optima)) {
    fit.edges_at_edge = fit_exponent("ols_edges_at_edge", "line, edge optima taken at the edge",
                                     with_edges(fit.optima, 0));
    fit.edges_beyond =
        fit_exponent("ols_edges_two_steps_beyond", "line, edge optima two grid steps beyond",
                     with_edges(fit.optima, 2 * fit.grid_step));
  }
  test_hypotheses(results.study.analysis.hypotheses, fit);
}

double middle_step(const std::vector<double>& rates) {
  std::vector<double> steps;
  for (std::size_t i = 1; i < rates.size(); ++i) steps.push_back(std::log(rates[i] / rates[i - 1]));
  if (steps.empty()) return std::log(10.0) / 2;
  std::sort(steps.begin(), steps.end());
  return steps[steps.size() / 2];
}

/// The optima that a table gives, and with the grid's `rates` (rising; may be empty) the regions
/// that they stand for.
std::vector<Optimum> optima_of(const RunResults& results, const std::vector<double>& rates,
                               std::vector<ArgminRegion>& regions) {
  std::vector<Optimum> optima;
  for (const record::TrialRecord& trial : results.trials) {
    const record::TrialSummary& s = trial.summary;
    Optimum o;
    o.batch = s.batch;
    o.state = OptimumState::bracketed;
    o.argmin_lr = s.lr;
    o.argmin_loss = std::numeric_limits<double>::quiet_NaN();  // the table has no losses
    o.ln_lr = std::log(s.lr);
    o.loss = o.argmin_loss;
    o.n_usable = 1;
    if (!rates.empty()) {
      const auto at = std::find_if(rates.begin(), rates.end(),
                                   [&](double rate) { return same_lr(rate, s.lr); });
      ArgminRegion region{s.batch, -kInfinity, kInfinity};
      if (at == rates.begin()) o.state = OptimumState::edge_low;
      if (at + 1 == rates.end()) o.state = OptimumState::edge_high;
      if (at != rates.begin()) region.ln_low = std::log(*(at - 1) * *at) / 2;
      if (at + 1 != rates.end()) region.ln_high = std::log(*(at + 1) * *at) / 2;
      regions.push_back(region);
    }
    optima.push_back(std::move(o));
  }
  std::sort(optima.begin(), optima.end(),
            [](const Optimum& a, const Optimum& b) { return a.batch < b.batch; });
  return optima;
}

}  // namespace

const ExponentEstimate& ScalingFit::headline() const {
  if (surface.estimate.ok()) return surface.estimate;
  const bool wider =
      line_propagated.ok() && line_propagated.beta_ci95.width() > line.beta_ci95.width();
  return wider ? line_propagated : line;
}

std::vector<const ExponentEstimate*> ScalingFit::estimates() const {
  std::vector<const ExponentEstimate*> rows = {&surface.estimate,
                                               &surface_without_small.estimate,
                                               &surface_wide.estimate,
                                               &line,
                                               &line_propagated,
                                               &line_without_small,
                                               &line_weighted,
                                               &per_seed,
                                               &argmin,
                                               &censored};
  if (edges_at_edge) rows.push_back(&*edges_at_edge);
  if (edges_beyond) rows.push_back(&*edges_beyond);
  return rows;
}

ScalingFit fit_scaling(const RunResults& results) {
  ScalingFit fit;
  const std::vector<BatchCells> grid = cell_table(results, Stages::grid);
  fit.cells = cell_table(results, Stages::grid_and_refine);
  fit.grid_step = grid_step(grid);
  const LossNoise measured = measured_noise(fit.cells);
  const LossNoise evaluation = evaluation_noise(fit.cells);
  fit.noise = choose_noise(measured, evaluation, fit.cells, fit.grid_step);
  fit.optima =
      find_optima(fit.cells, fit.noise, measured.sd > 0 ? measured : evaluation, fit.grid_step);
  fit.regions = argmin_regions(grid);
  fit_surfaces(results, fit);
  fit_lines(results, argmin_points(grid), fit);
  fit.per_seed = estimate_per_seed(results, fit.noise);
  fit.transfer = test_transfer(results, fit.optima);
  return fit;
}

ScalingFit fit_optima(const RunResults& results, const std::vector<double>& rates) {
  ScalingFit fit;
  fit.edges_unknown = rates.empty();
  fit.optima = optima_of(results, rates, fit.regions);
  fit.grid_step = middle_step(rates);
  fit_surfaces(results, fit);
  std::vector<LinePoint> at_face_value = with_edges(fit.optima, 0);
  fit_lines(results, at_face_value, fit);
  fit.per_seed = estimate_per_seed(results, fit.noise);
  fit.transfer.status = "not possible: a table of optima has no losses";
  return fit;
}

void weigh_exponent(const RunResults& results, const ResamplingPlan& plan, ScalingFit& fit) {
  const std::vector<Optimum> used = bracketed(fit.optima);
  fit.surface_bootstrap = bootstrap_surface(fit.surface, fit.cells, used, plan);
  fit.line_bootstrap = bootstrap_line(fit.line, line_points(used), plan);
  fit.rivals = compare_rivals(line_points(used));
  const bool surface = fit.surface.estimate.ok();
  const bool cells = surface && !fit.surface.between_batches;
  const std::size_t n_batches = fit.headline().batches.size();
  fit.design = design_power(fit.headline(), cells ? fit.surface.estimate.n_cells : n_batches,
                            cells ? n_batches + 3 : 2, !cells, results.trials.size(),
                            results.study.analysis.hypotheses);
}

}  // namespace pg::post
