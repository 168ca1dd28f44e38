#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "postprocess/fits/exponent.hpp"
#include "postprocess/stats/linear_model.hpp"

namespace pg::post {
namespace {

struct SurfaceCell {
  std::size_t row;  ///< which batch, 0-based
  double ln_b;
  double ln_lr;
  double loss;
};

bool belongs(const Cell& cell, const Optimum& optimum, double window) {
  if (cell.state != CellState::usable) return false;
  if (std::abs(std::log(cell.lr) - optimum.ln_lr) <= window * (1 + kSameLr)) return true;
  return std::any_of(optimum.parabola_lrs.begin(), optimum.parabola_lrs.end(),
                     [&](double lr) { return same_lr(lr, cell.lr); });
}

/// Cells of the bracketed batches; a batch with one cell tells nothing about its optimum.
std::vector<SurfaceCell> surface_cells(const std::vector<BatchCells>& table,
                                       const std::vector<Optimum>& optima, double window,
                                       std::vector<std::int64_t>& batches) {
  std::vector<SurfaceCell> cells;
  for (const Optimum& optimum : optima) {
    const auto row = std::find_if(table.begin(), table.end(),
                                  [&](const BatchCells& r) { return r.batch == optimum.batch; });
    if (row == table.end()) continue;
    std::vector<SurfaceCell> own;
    const double ln_b = std::log(static_cast<double>(row->batch));
    for (const Cell& cell : row->cells) {
      if (belongs(cell, optimum, window)) {
        own.push_back({batches.size(), ln_b, std::log(cell.lr), cell.loss});
      }
    }
    if (own.size() < 2) continue;
    batches.push_back(row->batch);
    cells.insert(cells.end(), own.begin(), own.end());
  }
  return cells;
}

struct Centre {
  double ln_b = 0;
  double ln_lr = 0;
};

Centre centre_of(const std::vector<SurfaceCell>& cells) {
  Centre centre;
  for (const SurfaceCell& cell : cells) {
    centre.ln_b += cell.ln_b / static_cast<double>(cells.size());
    centre.ln_lr += cell.ln_lr / static_cast<double>(cells.size());
  }
  return centre;
}

/// Columns: one constant per batch, then x^2, then either (x, x ln B) or one x per batch.
std::optional<LinearFit> regress(const std::vector<SurfaceCell>& cells, std::size_t n_batches,
                                 const Centre& centre, bool line) {
  Matrix design(cells.size(), n_batches + 1 + (line ? 2 : n_batches));
  std::vector<double> y;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double x = cells[i].ln_lr - centre.ln_lr;
    design(i, cells[i].row) = 1;
    design(i, n_batches) = x * x;
    if (line) {
      design(i, n_batches + 1) = x;
      design(i, n_batches + 2) = x * (cells[i].ln_b - centre.ln_b);
    } else {
      design(i, n_batches + 1 + cells[i].row) = x;
    }
    y.push_back(cells[i].loss);
  }
  return fit_linear(design, y, Constant::present);
}

void test_misfit(const std::vector<SurfaceCell>& cells, std::size_t n_batches, const Centre& centre,
                 const LinearFit& line, SurfaceFit& surface) {
  const auto free = regress(cells, n_batches, centre, false);
  surface.misfit_df = static_cast<int>(n_batches) - 2;
  if (!free || free->df < 1 || surface.misfit_df < 1) return;
  surface.free_df = free->df;
  surface.free_residual_sd = free->s;
  double size = 0;
  for (const SurfaceCell& cell : cells) size = std::max(size, std::abs(cell.loss));
  // Losses without noise leave rounding errors only; their ratio would mean nothing.
  if (line.s < 1e-12 * size) return;
  const double between = std::max(0.0, line.rss - free->rss) / surface.misfit_df;
  surface.misfit_f = between / (free->s * free->s);
  surface.misfit_p = fisher_upper_p(surface.misfit_f, surface.misfit_df, surface.free_df);
}

/// beta = -q / 2k and a = -p / 2k (ln LR* at the centre) with the delta method's covariance.
void set_estimate(const LinearFit& fit, std::size_t n_batches, const Centre& centre,
                  SurfaceFit& surface) {
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
  estimate.ln_c = centre.ln_lr + a - beta * centre.ln_b;
  estimate.df = fit.df;

  double scale = 1;
  surface.between_batches = surface.misfit_f > 1;
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
  estimate.covariance = cov - centre.ln_b * var_b;
  estimate.ln_c_se =
      std::sqrt(std::max(0.0, var_a - 2 * centre.ln_b * cov + centre.ln_b * centre.ln_b * var_b));
}

}  // namespace

SurfaceFit fit_surface(std::string name, std::string label, const std::vector<BatchCells>& table,
                       const std::vector<Optimum>& optima, double window) {
  SurfaceFit surface;
  surface.estimate.name = std::move(name);
  surface.estimate.label = std::move(label);
  surface.window = window;
  std::vector<std::int64_t>& batches = surface.estimate.batches;
  const std::vector<SurfaceCell> cells = surface_cells(table, optima, window, batches);
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
  const Centre centre = centre_of(cells);
  const auto fit = regress(cells, batches.size(), centre, true);
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
  test_misfit(cells, batches.size(), centre, *fit, surface);
  set_estimate(*fit, batches.size(), centre, surface);
  return surface;
}

}  // namespace pg::post
