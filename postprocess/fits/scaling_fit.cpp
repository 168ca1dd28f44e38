#include "postprocess/fits/scaling_fit.hpp"

#include <algorithm>
#include <cmath>

namespace pg::post {
namespace {

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
        equivalence_p(headline.beta, headline.beta_se, headline.df, h.beta, kEquivalenceMargin);
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

}  // namespace

const ExponentEstimate& ScalingFit::headline() const {
  if (surface.estimate.ok()) return surface.estimate;
  const bool wider =
      line_propagated.ok() && line_propagated.beta_ci95.width() > line.beta_ci95.width();
  return wider ? line_propagated : line;
}

std::vector<const ExponentEstimate*> ScalingFit::estimates() const {
  std::vector<const ExponentEstimate*> rows = {
      &surface.estimate,      &surface_without_small.estimate,
      &surface_wide.estimate, &line,
      &line_propagated,       &line_without_small,
      &line_weighted,         &argmin};
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

  const auto& small = results.study.analysis.small_batches;
  const std::vector<Optimum> all = bracketed(fit.optima);
  const std::vector<Optimum> large = bracketed(fit.optima, small);
  const double step = fit.grid_step;
  fit.surface = fit_surface("joint_surface", "joint surface", fit.cells, all, step);
  fit.surface_without_small =
      fit_surface("joint_surface_without_small_batches", "joint surface, without small batches",
                  fit.cells, large, step);
  fit.surface_wide = fit_surface("joint_surface_wide_window", "joint surface, window doubled",
                                 fit.cells, all, 2 * step);
  LineFit details;
  fit.line = fit_exponent("ols", "line through the interpolated optima", line_points(all), false,
                          &details);
  if (fit.line.ok()) fit.line_details = std::move(details);
  fit.line_propagated = propagate_errors(fit.line, line_points(all), fit.noise.df);
  fit.line_without_small =
      fit_exponent("ols_without_small_batches", "line, without small batches", line_points(large));
  fit.line_weighted = fit_exponent("wls", "line, weighted by 1/se^2", line_points(all), true);
  fit.argmin = fit_exponent("argmin_ols", "line through the raw grid argmins", argmin_points(grid));
  fit.argmin_set = identified_set(grid);
  if (has_edge(fit.optima)) {
    fit.edges_at_edge = fit_exponent("ols_edges_at_edge", "line, edge optima taken at the edge",
                                     with_edges(fit.optima, 0));
    fit.edges_beyond =
        fit_exponent("ols_edges_two_steps_beyond", "line, edge optima two grid steps beyond",
                     with_edges(fit.optima, 2 * step));
  }
  test_hypotheses(results.study.analysis.hypotheses, fit);
  fit.transfer = test_transfer(results, fit.optima);
  return fit;
}

}  // namespace pg::post
