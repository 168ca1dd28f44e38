#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postprocess/fits/design.hpp"
#include "postprocess/fits/exponent.hpp"
#include "postprocess/fits/exponent_bootstrap.hpp"
#include "postprocess/fits/law.hpp"
#include "postprocess/fits/optimum.hpp"
#include "postprocess/fits/transfer.hpp"
#include "postprocess/stats/robust.hpp"

namespace pg::post {

/// The margin of the equivalence tests: the source's "beta = 0.67 +- 0.05".
inline constexpr double kEquivalenceMargin = 0.05;

/// One point hypothesis against the headline estimate.
struct HypothesisTest {
  std::string name;
  double beta = 0;
  double t = 0;
  double p = 1;
  double p_holm = 1;         ///< over all hypotheses of the analysis
  double equivalence_p = 1;  ///< two one-sided tests with kEquivalenceMargin
  bool in_ci95 = false;
  std::optional<double> aicc;  ///< of the log-log line with this slope: k = 2, ln C and sigma
};

/// Everything that pgpost fit computes from the cells.
struct ScalingFit {
  LossNoise noise;                ///< behind the standard errors of the optima
  double grid_step = 0;           ///< middle distance of the grid in ln LR
  std::vector<BatchCells> cells;  ///< grid and refine
  std::vector<Optimum> optima;

  SurfaceFit surface;  ///< all bracketed batches: the headline where it exists
  SurfaceFit surface_without_small;
  SurfaceFit surface_wide;              ///< a window of two grid steps
  ExponentEstimate line;                ///< log-log line through the interpolated optima
  std::optional<LineFit> line_details;  ///< its residuals, leverage and leave-one-out slopes
  std::optional<RankSlope> line_ranks;  ///< Theil and Sen's slope through the same optima
  RobustLine line_huber;                ///< a robust slope through them, or why there is none
  ExponentEstimate line_propagated;     ///< its interval from the optima's own errors
  ExponentEstimate line_without_small;
  ExponentEstimate line_weighted;
  ExponentEstimate per_seed;            ///< the surface of each seed, mean over seeds
  ExponentBootstrap surface_bootstrap;  ///< residual bootstrap, over cells
  ExponentBootstrap line_bootstrap;     ///< residual bootstrap, over optima
  DesignPower design;                   ///< of the headline
  /// The power law and its rivals through the same interpolated optima, best AICc first; empty with
  /// fewer than four of them.
  std::vector<Rival> rivals;
  ExponentEstimate argmin;            ///< grid stage only, edges taken at face value
  ExponentEstimate censored;          ///< the line when each argmin is known to its grid cell only
  bool edges_unknown = false;         ///< optima from a table, without the grid behind them
  std::vector<ArgminRegion> regions;  ///< what the grid says about each optimum
  IdentifiedSet argmin_set;
  /// With the optima on the edge taken to be at the edge, and two grid steps beyond it; absent
  /// when no optimum lies on an edge.
  std::optional<ExponentEstimate> edges_at_edge;
  std::optional<ExponentEstimate> edges_beyond;

  std::vector<HypothesisTest> hypotheses;
  std::optional<double> free_slope_aicc;  ///< k = 3
  TransferTest transfer;

  /// The surface where it has a number, else the line with the wider of its two intervals.
  [[nodiscard]] const ExponentEstimate& headline() const;
  /// All rows in the order of the report.
  [[nodiscard]] std::vector<const ExponentEstimate*> estimates() const;
};

/// Never throws for data that do not determine something: the field's status says so.
ScalingFit fit_scaling(const RunResults& results);

/// The same from a table that has only the best learning rate of each batch (read_optima): no
/// surface, no losses. With the grid's `rates` (rising, every optimum among them) optima on its
/// edges are known as such; with none they are taken at face value, and no verdict is given.
ScalingFit fit_optima(const RunResults& results, const std::vector<double>& rates);

/// Fills what weighs a fit's exponent: its two bootstraps, the rivals of its power law, and what
/// the design could see; apart, because they cost more than everything else.
void weigh_exponent(const RunResults& results, const ResamplingPlan& plan, ScalingFit& fit);

}  // namespace pg::post
