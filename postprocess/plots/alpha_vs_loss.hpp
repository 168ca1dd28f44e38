#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postprocess/plots/curve.hpp"
#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

struct AlphaPoint {
  double alpha = 0;
  double loss = 0;     ///< mean over seeds
  Interval ci95 = {};  ///< low == high: not known
  std::size_t n_seeds = 1;
};

/// One model size (or any other group): its points and the quadratic through them.
struct AlphaGroup {
  std::string label;
  std::vector<AlphaPoint> points;
  Curve quadratic;  ///< empty where there is none
  std::optional<double> best_alpha;
  std::optional<double> best_loss;    ///< of the quadratic at best_alpha
  std::optional<Interval> best_ci95;  ///< of best_alpha; infinite ends run to the edge
  std::optional<double> anchor_loss;  ///< of the ungated model
};

struct AlphaVsLossData {
  std::string title;
  std::string x_label;         ///< "gate mixing alpha"
  std::string y_label;         ///< "final validation loss (nats per token)"
  std::string interval_label;  ///< what the points' intervals are of
  std::string anchor_label;    ///< "ungated model"; used where a group has an anchor_loss
  double anchor_margin = 0;    ///< relative half width of the equivalence band, 0.02; 0: none
  std::vector<AlphaGroup> groups;
};

/// Loss against alpha, one panel per group.
Picture alpha_vs_loss(const std::string& name, const AlphaVsLossData& data);

}  // namespace pg::post
