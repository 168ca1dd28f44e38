#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "postprocess/stats/inference.hpp"
#include "postprocess/stats/line_fit.hpp"

// Resampling. Replicate r of seed s is a function of (s, r) alone (base/random.hpp), so that any
// number of threads gives the same bytes.

namespace pg::post {

/// Runs body(i) for i in [0, n) on `threads` threads (0: as many as the machine has), each index
/// once; what body writes for an index must be its own. The exception of the lowest index is
/// rethrown at the end.
void parallel_for(std::size_t n, std::size_t threads, const std::function<void(std::size_t)>& body);

/// Indices drawn with replacement from [0, n) for one replicate.
std::vector<std::size_t> resample_indices(std::size_t n, std::uint64_t seed,
                                          std::uint64_t replicate);
/// Whole clusters drawn with replacement: indices of all members, cluster by cluster.
std::vector<std::size_t> resample_clusters(std::span<const std::size_t> cluster_of,
                                           std::uint64_t seed, std::uint64_t replicate);

/// What one replicate gave: a value, and its standard error where the interval is studentised.
/// Nothing: the replicate was degenerate (undefined statistic); it is counted and left out.
struct Replicate {
  double value = 0;
  double se = 0;
};
using ReplicateFunction = std::function<std::optional<Replicate>(std::uint64_t replicate)>;

struct BootstrapSample {
  std::vector<Replicate> replicates;  ///< the good ones in order of their number
  std::size_t n_degenerate = 0;
  [[nodiscard]] double se() const;  ///< standard deviation of the values
};
BootstrapSample run_bootstrap(std::size_t n_replicates, std::size_t threads,
                              const ReplicateFunction& replicate);

/// An interval, or why there is none ("all replicates are equal", "every replicate lies below the
/// estimate"), in which case its ends are infinite. The ends are the order statistics
/// (R + 1) p of R replicates, interpolated on the normal scale in between (Davison and Hinkley
/// 1997, 5.2.1; R's boot); an end beyond the replicates is a reason for none.
struct BootstrapInterval {
  std::string method;  ///< percentile, basic, studentised, BCa
  std::string status = "ok";
  Interval interval = {-std::numeric_limits<double>::infinity(),
                       std::numeric_limits<double>::infinity()};
  [[nodiscard]] bool ok() const { return status == "ok"; }
};
BootstrapInterval percentile_interval(const BootstrapSample& sample, double level = 0.95);
BootstrapInterval basic_interval(const BootstrapSample& sample, double estimate,
                                 double level = 0.95);
/// From (value - estimate) / se of each replicate.
BootstrapInterval studentised_interval(const BootstrapSample& sample, double estimate, double se,
                                       double level = 0.95);
/// Efron 1987; `jackknife` holds the leave-one-out estimates.
BootstrapInterval bca_interval(const BootstrapSample& sample, double estimate,
                               std::span<const double> jackknife, double level = 0.95);

/// Slopes of a line through fixed x, e.g. a grid of batch sizes: residuals e_i / sqrt(1 - h_i),
/// recentred, are drawn anew (Davison and Hinkley 1997, 6.2.3). `fit` is the unweighted fit_line
/// of x. Without residuals (a perfect line, two points) every replicate is degenerate.
BootstrapSample resample_slope(const LineFit& fit, std::span<const double> x,
                               std::size_t n_replicates, std::uint64_t seed, std::size_t threads);

/// A value per (group, member), e.g. seeds within settings: the mean over groups of the means over
/// members, both levels resampled (a hierarchical bootstrap). Studentised interval, by the groups'
/// means: with a handful of groups the percentile interval is too short. Empty groups are left
/// out; fewer than two groups have no interval.
struct HierarchicalMean {
  double mean = 0;
  BootstrapInterval interval;
};
HierarchicalMean hierarchical_mean(const std::vector<std::vector<double>>& groups,
                                   std::size_t n_replicates, std::uint64_t seed,
                                   std::size_t threads);

}  // namespace pg::post
