#include "postprocess/fits/surface_design.hpp"

#include <algorithm>
#include <cmath>

namespace pg::post {
namespace {

bool belongs(const Cell& cell, const Optimum& optimum, double window) {
  if (cell.state != CellState::usable) return false;
  if (std::abs(std::log(cell.lr) - optimum.ln_lr) <= window * (1 + kSameLr)) return true;
  return std::any_of(optimum.parabola_lrs.begin(), optimum.parabola_lrs.end(),
                     [&](double lr) { return same_lr(lr, cell.lr); });
}

}  // namespace

Matrix SurfaceDesign::line() const {
  const std::size_t n = batches.size();
  Matrix design(cells.size(), n + 3);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double x = cells[i].ln_lr - centre_ln_lr;
    design(i, cells[i].row) = 1;
    design(i, n) = x * x;
    design(i, n + 1) = x;
    design(i, n + 2) = x * (cells[i].ln_b - centre_ln_b);
  }
  return design;
}

Matrix SurfaceDesign::free() const {
  const std::size_t n = batches.size();
  Matrix design(cells.size(), 2 * n + 1);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double x = cells[i].ln_lr - centre_ln_lr;
    design(i, cells[i].row) = 1;
    design(i, n) = x * x;
    design(i, n + 1 + cells[i].row) = x;
  }
  return design;
}

std::vector<double> SurfaceDesign::losses() const {
  std::vector<double> losses;
  for (const SurfaceCell& cell : cells) losses.push_back(cell.loss);
  return losses;
}

SurfaceDesign design_surface(const std::vector<BatchCells>& table,
                             const std::vector<Optimum>& optima, double window) {
  SurfaceDesign design;
  for (const Optimum& optimum : optima) {
    const auto row = std::find_if(table.begin(), table.end(),
                                  [&](const BatchCells& r) { return r.batch == optimum.batch; });
    if (row == table.end()) continue;
    std::vector<SurfaceCell> own;
    const double ln_b = std::log(static_cast<double>(row->batch));
    for (const Cell& cell : row->cells) {
      if (belongs(cell, optimum, window)) {
        own.push_back({design.batches.size(), ln_b, std::log(cell.lr), cell.loss});
      }
    }
    if (own.size() < 2) continue;
    design.batches.push_back(row->batch);
    design.cells.insert(design.cells.end(), own.begin(), own.end());
  }
  const double n = static_cast<double>(design.cells.size());
  for (const SurfaceCell& cell : design.cells) {
    design.centre_ln_b += cell.ln_b / n;
    design.centre_ln_lr += cell.ln_lr / n;
  }
  return design;
}

}  // namespace pg::post
