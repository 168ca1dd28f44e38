#include "postprocess/fits/optimum.hpp"

#include <algorithm>
#include <cmath>

#include "postprocess/stats/linear_model.hpp"

namespace pg::post {
namespace {

constexpr int kQuadraticCells = 5;

std::vector<const Cell*> usable_cells(const BatchCells& row) {
  std::vector<const Cell*> cells;
  for (const Cell& cell : row.cells) {
    if (cell.state == CellState::usable) cells.push_back(&cell);
  }
  return cells;
}

std::size_t lowest(const std::vector<const Cell*>& cells) {
  const auto best = std::min_element(
      cells.begin(), cells.end(), [](const Cell* a, const Cell* b) { return a->loss < b->loss; });
  return static_cast<std::size_t>(best - cells.begin());
}

struct Quadratic {
  LinearFit fit;
  double vertex = 0;
  double vertex_se = 0;
};

/// loss = a + b t + c t^2 with t = ln LR - ln LR_best over the cells within the loss window.
/// Nothing with fewer than four cells or when it does not open upwards.
std::optional<Quadratic> fit_quadratic(const std::vector<const Cell*>& cells) {
  if (cells.empty()) return std::nullopt;
  const Cell& best = *cells[lowest(cells)];
  std::vector<const Cell*> near;
  for (const Cell* cell : cells) {
    if (cell->loss <= best.loss + kLossWindow * std::abs(best.loss)) near.push_back(cell);
  }
  if (near.size() < 4) return std::nullopt;
  Matrix design(near.size(), 3);
  std::vector<double> y;
  for (std::size_t i = 0; i < near.size(); ++i) {
    const double t = std::log(near[i]->lr / best.lr);
    design(i, 0) = 1;
    design(i, 1) = t;
    design(i, 2) = t * t;
    y.push_back(near[i]->loss);
  }
  auto fit = fit_linear(design, y, Constant::present);
  if (!fit || fit->coefficients[2] <= 0) return std::nullopt;
  const double b = fit->coefficients[1];
  const double c = fit->coefficients[2];
  // Vertex v = -b / 2c; dv/db = -1 / 2c, dv/dc = b / 2c^2.
  const double db = -1 / (2 * c);
  const double dc = b / (2 * c * c);
  const Matrix& v = fit->covariance;
  const double variance = db * db * v(1, 1) + dc * dc * v(2, 2) + 2 * db * dc * v(1, 2);
  Quadratic quadratic;
  quadratic.vertex = std::log(best.lr) - b / (2 * c);
  quadratic.vertex_se = std::sqrt(std::max(0.0, variance));
  quadratic.fit = std::move(*fit);
  return quadratic;
}

/// Local minima that are separated by a rise above their own noise: 1 for a clean curve.
bool has_second_dip(const std::vector<const Cell*>& cells) {
  // Walk outwards from the lowest cell: the loss may only rise, but for twice the noise of a
  // difference of two cells.
  const std::size_t best = lowest(cells);
  const auto noise = [](const Cell& cell) {
    return cell.seed_sd > 0 ? cell.seed_sd / std::sqrt(cell.n_seeds) : cell.eval_se;
  };
  const auto dips = [&](const Cell& high, const Cell& next) {
    return high.loss - next.loss > 2 * std::hypot(noise(high), noise(next));
  };
  const Cell* high = cells[best];
  for (std::size_t i = best + 1; i < cells.size(); ++i) {
    if (dips(*high, *cells[i])) return true;
    if (cells[i]->loss > high->loss) high = cells[i];
  }
  high = cells[best];
  for (std::size_t i = best; i-- > 0;) {
    if (dips(*high, *cells[i])) return true;
    if (cells[i]->loss > high->loss) high = cells[i];
  }
  return false;
}

bool is_flat(const std::vector<const Cell*>& cells, double noise, double step) {
  if (noise <= 0) return false;
  const double best = cells[lowest(cells)]->loss;
  double highest = best;
  double left = 0;
  double right = 0;
  bool first = true;
  for (const Cell* cell : cells) {
    highest = std::max(highest, cell->loss);
    if (cell->loss > best + std::sqrt(2.0) * noise) continue;
    if (first) left = std::log(cell->lr);
    first = false;
    right = std::log(cell->lr);
  }
  // Refined cells lie close together and may well agree; more than a grid step apart they may not.
  return highest - best < 3 * noise || right - left > 1.5 * step;
}

/// Whether a cell of the row beyond the usable cells on one side of `lr` diverged.
bool diverged_beyond(const BatchCells& row, double lr, bool above) {
  return std::any_of(row.cells.begin(), row.cells.end(), [&](const Cell& cell) {
    return cell.state == CellState::diverged && (above ? cell.lr > lr : cell.lr < lr);
  });
}

bool diverged_between(const BatchCells& row, double low, double high) {
  return std::any_of(row.cells.begin(), row.cells.end(), [&](const Cell& cell) {
    return cell.state == CellState::diverged && cell.lr > low && cell.lr < high;
  });
}

/// The width in ln LR of the region that belongs to the argmin: up to the middles between it and
/// its neighbours, diverged ones too.
double argmin_region(const BatchCells& row, double lr) {
  double below = 0;
  double above = 0;
  for (const Cell& cell : row.cells) {
    if (cell.state == CellState::missing) continue;
    const double distance = std::log(cell.lr / lr);
    if (distance < 0 && (below == 0 || distance > below)) below = distance;
    if (distance > 0 && (above == 0 || distance < above)) above = distance;
  }
  return (above - below) / 2;
}

void interpolate(const std::vector<const Cell*>& cells, std::size_t best, const LossNoise& noise,
                 Optimum& optimum) {
  const double x[3] = {std::log(cells[best - 1]->lr), std::log(cells[best]->lr),
                       std::log(cells[best + 1]->lr)};
  const double y[3] = {cells[best - 1]->loss, cells[best]->loss, cells[best + 1]->loss};
  optimum.parabola = fit_parabola(x, y);
  if (!optimum.parabola) return;
  optimum.parabola_lrs = {cells[best - 1]->lr, cells[best]->lr, cells[best + 1]->lr};
  optimum.ln_lr = optimum.parabola->x;
  optimum.loss = optimum.parabola->y;
  double squares = 0;
  for (const double s : optimum.parabola->sensitivity) squares += s * s;
  optimum.ln_lr_se = noise.sd * std::sqrt(squares);
}

Optimum find_optimum(const BatchCells& row, const LossNoise& noise, const LossNoise& flat_noise,
                     double step) {
  Optimum optimum;
  optimum.batch = row.batch;
  for (const Cell& cell : row.cells) {
    if (cell.state == CellState::missing) ++optimum.n_missing;
    if (cell.state == CellState::diverged) ++optimum.n_diverged;
  }
  const std::vector<const Cell*> cells = usable_cells(row);
  optimum.n_usable = static_cast<int>(cells.size());
  if (cells.size() < 2) return optimum;

  const std::size_t best = lowest(cells);
  const Cell& cell = *cells[best];
  optimum.argmin_lr = cell.lr;
  optimum.argmin_loss = cell.loss;
  optimum.ln_lr = std::log(cell.lr);
  optimum.loss = cell.loss;
  optimum.clip_fraction = cell.clip_fraction;
  optimum.converged = cell.converged;
  optimum.epochs = cell.epochs;
  optimum.non_unimodal = has_second_dip(cells);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const bool neighbour = i + 1 >= best && i <= best + 1;
    if (!neighbour && cells[i]->loss - cell.loss < std::sqrt(2.0) * noise.sd) optimum.tied = true;
  }

  const bool open_below = best == 0 && !diverged_beyond(row, cell.lr, false);
  const bool open_above = best + 1 == cells.size() && !diverged_beyond(row, cell.lr, true);
  if (is_flat(cells, flat_noise.sd, step)) {
    optimum.state = OptimumState::not_determined;
  } else if (open_below) {
    optimum.state = OptimumState::edge_low;
  } else if (open_above) {
    optimum.state = OptimumState::edge_high;
  } else {
    optimum.state = OptimumState::bracketed;
  }
  const bool inner = best > 0 && best + 1 < cells.size() &&
                     !diverged_between(row, cells[best - 1]->lr, cells[best + 1]->lr);
  if (inner) {
    interpolate(cells, best, noise, optimum);
  } else if (optimum.state == OptimumState::bracketed) {
    optimum.beside_diverged = true;
  }
  if (!optimum.parabola && optimum.state == OptimumState::bracketed) {
    // All that is known is the region of the argmin: a uniform distribution's standard deviation.
    optimum.ln_lr_se = argmin_region(row, cell.lr) / std::sqrt(12.0);
  }
  if (cells.size() >= kQuadraticCells) {
    const auto quadratic = fit_quadratic(cells);
    if (quadratic && quadratic->fit.n >= kQuadraticCells) {
      optimum.quadratic_ln_lr = quadratic->vertex;
      optimum.quadratic_se = quadratic->vertex_se;
      if (optimum.parabola) optimum.ln_lr_se = std::max(optimum.ln_lr_se, quadratic->vertex_se);
    }
  }
  return optimum;
}

}  // namespace

std::string to_string(OptimumState state) {
  switch (state) {
    case OptimumState::bracketed: return "bracketed";
    case OptimumState::edge_low: return "edge_low";
    case OptimumState::edge_high: return "edge_high";
    case OptimumState::not_determined: return "not_determined";
    case OptimumState::no_data: return "no_data";
  }
  return "no_data";
}

double LossNoise::quantile95() const {
  return df > 0 ? student_quantile(0.975, df) : 1.959964;
}

std::optional<Interval> Optimum::lr_ci95(const LossNoise& noise) const {
  if (state != OptimumState::bracketed || ln_lr_se <= 0) return std::nullopt;
  const double reach = noise.quantile95() * ln_lr_se;
  return Interval{std::exp(ln_lr - reach), std::exp(ln_lr + reach)};
}

double Optimum::lr() const {
  return std::exp(ln_lr);
}

std::vector<std::string> Optimum::flags() const {
  std::vector<std::string> flags;
  if (state != OptimumState::bracketed) flags.push_back(to_string(state));
  if (beside_diverged) flags.emplace_back("beside_diverged");
  if (non_unimodal) flags.emplace_back("non_unimodal");
  if (tied) flags.emplace_back("tied");
  if (n_missing > 0) flags.emplace_back("missing_cells");
  if (n_diverged > 0) flags.emplace_back("diverged_cells");
  if (clip_fraction > 0.5) flags.emplace_back("clipped");
  if (!converged) flags.emplace_back("not_converged");
  return flags;
}

LossNoise measured_noise(const std::vector<BatchCells>& table) {
  double seed_squares = 0;
  int seed_df = 0;
  double seeds = 0;
  int seed_cells = 0;
  double residual_squares = 0;
  int residual_df = 0;
  for (const BatchCells& row : table) {
    const std::vector<const Cell*> cells = usable_cells(row);
    if (cells.empty()) continue;
    const double best = cells[lowest(cells)]->loss;
    for (const Cell* cell : cells) {
      // Far from the optimum seeds differ more; what matters is the noise where the optimum is.
      if (cell->n_seeds < 2 || cell->loss > best * (1 + 5 * kLossWindow)) continue;
      seed_squares += (cell->n_seeds - 1) * cell->seed_sd * cell->seed_sd;
      seed_df += cell->n_seeds - 1;
      seeds += cell->n_seeds;
      ++seed_cells;
    }
    if (const auto quadratic = fit_quadratic(cells)) {
      residual_squares += quadratic->fit.rss;
      residual_df += quadratic->fit.df;
    }
  }
  if (seed_df > 0) {
    const double per_cell = seeds / seed_cells;
    return {std::sqrt(seed_squares / seed_df / per_cell), seed_df,
            "differences between seeds, pooled over batches"};
  }
  if (residual_df >= 3) {
    return {std::sqrt(residual_squares / residual_df), residual_df,
            "residuals of the per-batch quadratics near the optima, pooled over batches"};
  }
  return {};
}

LossNoise evaluation_noise(const std::vector<BatchCells>& table) {
  double squares = 0;
  int n = 0;
  for (const BatchCells& row : table) {
    for (const Cell* cell : usable_cells(row)) {
      squares += cell->eval_se * cell->eval_se / cell->n_seeds;
      ++n;
    }
  }
  if (n == 0 || squares == 0) return {};
  return {std::sqrt(squares / n), 0,
          "the standard errors of the final validation losses (one run's own evaluations only: "
          "a floor, seeds may differ more)"};
}

std::vector<Optimum> find_optima(const std::vector<BatchCells>& table, const LossNoise& noise,
                                 const LossNoise& flat_noise, double step) {
  std::vector<Optimum> optima;
  for (const BatchCells& row : table) {
    optima.push_back(find_optimum(row, noise, flat_noise, step));
  }
  return optima;
}

}  // namespace pg::post
