#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// The smallest difference that n seeds find, for one way to compare.
struct PowerCurve {
  std::string label;  ///< "paired, sd 0.0021"
  std::vector<std::size_t> n_seeds;
  std::vector<double> detectable;  ///< infinite values are left out
};

struct PowerData {
  std::string title;
  std::string y_label;  ///< "smallest detectable difference (nats per token)"
  std::vector<PowerCurve> curves;
  std::vector<std::pair<std::string, double>> effects;  ///< horizontal lines: label, size > 0
  std::size_t n_seeds_used = 0;                         ///< a vertical line; 0: none
};
Picture power_curve(const std::string& name, const PowerData& data);

}  // namespace pg::post
