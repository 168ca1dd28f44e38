#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "postprocess/fits/optimum.hpp"
#include "postprocess/stats/line_fit.hpp"

namespace pg::post {

/// LR* = C B^beta by one method: a number with its interval, or the reason why there is none.
struct ExponentEstimate {
  std::string name;    ///< snake_case, as in scaling_fit.json
  std::string label;   ///< for people
  std::string status;  ///< "ok", or why there is no number
  double beta = 0;
  double beta_se = 0;
  Interval beta_ci95;
  int df = 0;
  double ln_c = 0;  ///< ln C at B = 1
  double ln_c_se = 0;
  double covariance = 0;     ///< of ln C and beta
  std::optional<double> r2;  ///< of the log-log line; a surface has none that compares
  std::vector<std::int64_t> batches;
  std::size_t n_cells = 0;

  [[nodiscard]] bool ok() const { return status == "ok"; }
  /// ln LR* at a batch size, and its 95 % band (pointwise, for the mean).
  [[nodiscard]] double ln_lr_at(double batch) const;
  [[nodiscard]] Interval band_at(double batch) const;
};

/// A point for the log-log line.
struct LinePoint {
  std::int64_t batch = 0;
  double ln_lr = 0;
  double ln_lr_se = 0;
};

/// Least squares of ln LR* on ln B; `weighted` uses 1 / se^2 (relative weights: the scatter about
/// the line, not the given errors, scales the interval). The LineFit is kept in `line` if given.
ExponentEstimate fit_exponent(std::string name, std::string label,
                              const std::vector<LinePoint>& points, bool weighted = false,
                              LineFit* line = nullptr);

/// The same line, but with the error that the optima's own errors imply instead of the scatter
/// about the line: three optima may lie on a line by chance. `noise_df` is that of the errors; 0
/// gives n - 2.
ExponentEstimate propagate_errors(const ExponentEstimate& line,
                                  const std::vector<LinePoint>& points, int noise_df);

/// What the loss surface says: L(B, eta) = c_B + k (ln eta - ln C - beta ln B)^2.
struct SurfaceFit {
  ExponentEstimate estimate;  ///< beta_se and the interval after the rule on lack of fit
  double curvature = 0;       ///< k, nats per token per (ln LR)^2
  double curvature_se = 0;
  double residual_sd = 0;  ///< of the surface
  int residual_df = 0;
  double window = 0;          ///< half width in ln LR about each batch's optimum
  double pooled_beta_se = 0;  ///< before the rule on lack of fit
  Interval pooled_ci95;
  /// The line against one optimum per batch (with the same k): F with (n_batches - 2, free_df)
  /// degrees of freedom; free_df = 0 when there was nothing left to test with.
  double misfit_f = 0;
  int misfit_df = 0;
  int free_df = 0;
  double misfit_p = 1;
  double free_residual_sd = 0;   ///< residual sd with one optimum per batch
  bool between_batches = false;  ///< the interval is from the scatter between batches
};

/// Fits the surface over the cells of each batch in `optima` that lie within `window` of the
/// optimum or belong to its parabola. A status instead of a number when cells or batches are too
/// few, the design is rank-deficient, or k is not above zero with 95 % confidence (the exponent is
/// a ratio with k below: its Fieller set would be unbounded).
///
/// Rule on lack of fit: the surface counts cells, but the exponent is a statement about batches. If
/// the batches scatter about the line by more than the cells do about their own curves
/// (misfit_p < kMisfitLevel), the error is taken from the scatter between batches (n_batches - 2
/// degrees of freedom), as a regression on the optima would. Between 93 and 97 % of the intervals
/// then cover, whether the batches scatter by themselves or not (tests/postprocess/
/// test_coverage.cpp, which chose the level); with F > 1 as the rule they were too wide, without
/// one far too short.
inline constexpr double kMisfitLevel = 0.175;
SurfaceFit fit_surface(std::string name, std::string label, const std::vector<BatchCells>& table,
                       const std::vector<Optimum>& optima, double window);

/// A set of slopes; `feasible` is false when no line passes through all cells.
struct IdentifiedSet {
  bool feasible = false;
  Interval beta;
  std::size_t n = 0;
};

/// What a grid says about one batch's optimum: it lies between the middles (in ln LR) of the lowest
/// cell and its neighbours; beyond the grid's edge the region is open.
struct ArgminRegion {
  std::int64_t batch = 0;
  double ln_low = 0;   ///< -infinity at the lower edge
  double ln_high = 0;  ///< +infinity at the upper edge
};
/// Of every batch with a usable cell.
std::vector<ArgminRegion> argmin_regions(const std::vector<BatchCells>& grid);

/// All beta for which some line ln C + beta ln B passes through every region. Exact: the unknown
/// ln C is eliminated between pairs of constraints (Fourier-Motzkin).
IdentifiedSet identified_set(const std::vector<ArgminRegion>& regions);

/// The argmin of each batch of a table, edges included: what the source calls LR_opt.
std::vector<LinePoint> argmin_points(const std::vector<BatchCells>& grid);

}  // namespace pg::post
