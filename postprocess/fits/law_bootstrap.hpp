#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "postprocess/fits/law.hpp"
#include "postprocess/stats/bootstrap.hpp"

namespace pg::post {

/// A law refitted to resampled points.
struct LawBootstrap {
  std::size_t n_replicates = 0;
  std::uint64_t seed = 0;
  bool by_cluster = false;
  std::size_t n_degenerate = 0;  ///< replicates without a fit: counted and left out
  struct Parameter {
    std::string name;
    double se = 0;
    BootstrapInterval percentile;
    BootstrapInterval bca;  ///< by the jackknife over points or clusters
  };
  std::vector<Parameter> parameters;
  Matrix covariance;  ///< of the optimised values; empty with fewer than two good replicates
};

/// Resamples points with replacement (with `cluster_of`, whole clusters: e.g. all checkpoints of a
/// run) and refits from the fit's own values. The same bytes for any number of threads. `fit` must
/// be ok.
LawBootstrap bootstrap_law(const LawFit& fit, const LawData& data, std::size_t n_replicates,
                           std::uint64_t seed, std::size_t threads,
                           std::span<const std::size_t> cluster_of = {});

/// Gives a fit without errors of its own those of its bootstrap: covariance, standard errors and
/// percentile intervals.
void adopt_errors(const LawBootstrap& bootstrap, LawFit& fit);

}  // namespace pg::post
