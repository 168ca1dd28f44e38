#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "postprocess/fits/exponent.hpp"
#include "postprocess/stats/bootstrap.hpp"

// Bootstrap intervals of the exponent. The batch grid is fixed, so residuals are resampled, not
// points: e_i / sqrt(1 - h_i), recentred (Davison and Hinkley 1997, 6.3.2).

namespace pg::post {

struct ResamplingPlan {
  std::size_t n_replicates = 9999;
  std::uint64_t seed = 1;
  std::size_t threads = 0;  ///< 0: as many as the machine has; the result does not depend on it
};

/// Intervals of beta, or why there are none. The studentised one is the one to quote; the
/// percentile interval is too short for a handful of points and stands beside it for comparison.
struct ExponentBootstrap {
  std::string name;                      ///< of the estimate
  std::string status = "not asked for";  ///< "ok", or why there is none
  std::size_t n_replicates = 0;
  std::size_t n_degenerate = 0;
  std::uint64_t seed = 0;
  BootstrapInterval studentised;
  BootstrapInterval percentile;
  [[nodiscard]] bool ok() const { return status == "ok"; }
};

/// Of the log-log line. Needs four points: with fewer the residuals are one number.
ExponentBootstrap bootstrap_line(const ExponentEstimate& line, const std::vector<LinePoint>& points,
                                 const ResamplingPlan& plan);

/// Of the joint surface, over the cells that fit_surface used. None where the batches scatter about
/// the line by more than the cells explain: cell residuals would understate the error.
ExponentBootstrap bootstrap_surface(const SurfaceFit& surface, const std::vector<BatchCells>& table,
                                    const std::vector<Optimum>& optima, const ResamplingPlan& plan);

}  // namespace pg::post
