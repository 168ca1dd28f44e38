#pragma once

#include <string>
#include <vector>

#include "postprocess/stats/inference.hpp"

namespace pg::post {

/// A fitted curve, sampled: x rises; all vectors that are not empty have the length of x.
struct Curve {
  std::string label;  ///< for the key: "y = C x^beta, beta = 0.65 [0.62, 0.68]"
  std::vector<double> x;
  std::vector<double> y;
  std::vector<Interval> mean95;        ///< shaded; or empty
  std::vector<Interval> prediction95;  ///< dashed; or empty
};

/// n values from low to high: equal steps, or equal factors (then 0 < low).
std::vector<double> spread(double low, double high, std::size_t n, bool logarithmic);

}  // namespace pg::post
