#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "postprocess/fits/optimum.hpp"
#include "postprocess/stats/linear_model.hpp"

// The regression behind the loss surface: for surface.cpp and surface_bootstrap.cpp only.

namespace pg::post {

struct SurfaceCell {
  std::size_t row = 0;  ///< which batch, 0-based
  double ln_b = 0;
  double ln_lr = 0;
  double loss = 0;
};

/// Cells near the optima of the batches that have one, and the centre about which ln B and ln LR
/// are taken, so that the columns are nearly orthogonal.
struct SurfaceDesign {
  std::vector<std::int64_t> batches;
  std::vector<SurfaceCell> cells;
  double centre_ln_b = 0;
  double centre_ln_lr = 0;

  /// Columns: one constant per batch, then x^2, then x and x ln B.
  [[nodiscard]] Matrix line() const;
  /// Columns: one constant per batch, then x^2, then one x per batch.
  [[nodiscard]] Matrix free() const;
  [[nodiscard]] std::vector<double> losses() const;
};

/// The cells within `window` of each optimum or in its parabola; a batch with one such cell tells
/// nothing about its optimum and is left out.
SurfaceDesign design_surface(const std::vector<BatchCells>& table,
                             const std::vector<Optimum>& optima, double window);

}  // namespace pg::post
