#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "postprocess/fits/exponent.hpp"
#include "postprocess/fits/surface_design.hpp"

namespace pg::post {
namespace {

void test_misfit(const SurfaceDesign& design, const LinearFit& line, SurfaceFit& surface) {
  const auto free = fit_linear(design.free(), design.losses(), Constant::present);
  surface.misfit_df = static_cast<int>(design.batches.size()) - 2;
  if (!free || free->df < 1 || surface.misfit_df < 1) return;
  surface.free_df = free->df;
  surface.free_residual_sd = free->s;
  double size = 0;
  for (const SurfaceCell& cell : design.cells) size = std::max(size, std::abs(cell.loss));
  // Losses without noise leave rounding errors only; their ratio would mean nothing.
  if (line.s < 1e-12 * size) return;
  const double between = std::max(0.0, line.rss - free->rss) / surface.misfit_df;
  surface.misfit_f = between / (free->s * free->s);
  surface.misfit_p = fisher_upper_p(surface.misfit_f, surface.misfit_df, surface.free_df);
}

/// beta = -q / 2k and a = -p / 2k (ln LR* at the centre) with the delta method's covariance.
void set_estimate(const LinearFit& fit, const SurfaceDesign& design, SurfaceFit& surface) {
  const std::size_t n_batches = design.batches.size();
  const double k = fit.coefficients[n_batches];
  const double a = -fit.coefficients[n_batches + 1] / (2 * k);
  const double beta = -fit.coefficients[n_batches + 2] / (2 * k);
  // d(a, beta) / d(k, p, q)
  const double da[3] = {-a / k, -1 / (2 * k), 0};
  const double db[3] = {-beta / k, 0, -1 / (2 * k)};
  double var_a = 0;
  double var_b = 0;
  double cov = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      const double v = fit.covariance(n_batches + i, n_batches + j);
      var_a += da[i] * da[j] * v;
      var_b += db[i] * db[j] * v;
      cov += da[i] * db[j] * v;
    }
  }
  surface.pooled_beta_se = std::sqrt(var_b);
  surface.pooled_ci95 = student_interval(beta, surface.pooled_beta_se, fit.df);
  ExponentEstimate& estimate = surface.estimate;
  estimate.beta = beta;
  estimate.ln_c = design.centre_ln_lr + a - beta * design.centre_ln_b;
  estimate.df = fit.df;

  double scale = 1;
  surface.between_batches = surface.misfit_p < kMisfitLevel;
  if (surface.between_batches) {
    scale =
        surface.misfit_f * surface.free_residual_sd * surface.free_residual_sd / (fit.s * fit.s);
    estimate.df = surface.misfit_df;
  }
  var_a *= scale;
  var_b *= scale;
  cov *= scale;
  estimate.beta_se = std::sqrt(var_b);
  estimate.beta_ci95 = student_interval(beta, estimate.beta_se, estimate.df);
  estimate.covariance = cov - design.centre_ln_b * var_b;
  estimate.ln_c_se = std::sqrt(std::max(
      0.0, var_a - 2 * design.centre_ln_b * cov + design.centre_ln_b * design.centre_ln_b * var_b));
}

}  // namespace

SurfaceFit fit_surface(std::string name, std::string label, const std::vector<BatchCells>& table,
                       const std::vector<Optimum>& optima, double window) {
  SurfaceFit surface;
  surface.estimate.name = std::move(name);
  surface.estimate.label = std::move(label);
  surface.window = window;
  const SurfaceDesign design = design_surface(table, optima, window);
  const std::vector<SurfaceCell>& cells = design.cells;
  const std::vector<std::int64_t>& batches = design.batches;
  surface.estimate.batches = batches;
  surface.estimate.n_cells = cells.size();
  if (batches.size() < 3) {
    surface.estimate.status =
        fmt::format("not possible: {} batches with a bracketed optimum, 3 needed", batches.size());
    return surface;
  }
  // One more than the parameters of one optimum per batch: without that fit there is no saying
  // whether the batches follow a line at all.
  if (cells.size() < 2 * batches.size() + 2) {
    surface.estimate.status =
        fmt::format("not possible: {} cells, {} needed to see whether {} batches follow a line",
                    cells.size(), 2 * batches.size() + 2, batches.size());
    return surface;
  }
  const auto fit = fit_linear(design.line(), design.losses(), Constant::present);
  if (!fit) {
    surface.estimate.status = "not possible: the cells do not determine all parameters";
    return surface;
  }
  surface.curvature = fit->coefficients[batches.size()];
  surface.curvature_se = fit->standard_errors[batches.size()];
  surface.residual_sd = fit->s;
  surface.residual_df = fit->df;
  if (student_interval(surface.curvature, surface.curvature_se, fit->df).low <= 0) {
    surface.estimate.status = fmt::format(
        "not possible: the loss does not clearly curve upwards around the optima "
        "(k = {:.3g}, standard error {:.2g})",
        surface.curvature, surface.curvature_se);
    return surface;
  }
  surface.estimate.status = "ok";
  test_misfit(design, *fit, surface);
  set_estimate(*fit, design, surface);
  return surface;
}

}  // namespace pg::post
