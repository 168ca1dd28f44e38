#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace pg::bench {

/// Numbers of which medians and extremes are printed.
struct Sample {
  std::vector<double> values;

  void add(double value) { values.push_back(value); }
  [[nodiscard]] double sum() const { return std::accumulate(values.begin(), values.end(), 0.0); }
  /// 0 the least, 0.5 the median, 1 the most.
  [[nodiscard]] double at(double quantile) const {
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted.at(static_cast<std::size_t>(quantile * static_cast<double>(sorted.size() - 1)));
  }
};

}  // namespace pg::bench
