#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postprocess/plots/gnuplot.hpp"
#include "postprocess/stats/inference.hpp"

namespace pg::post {

/// One row of a forest plot.
struct ForestRow {
  std::string label;
  std::optional<double> estimate;  ///< nothing: only an interval (a set), or only the note
  Interval interval = {0, 0};      ///< an infinite end becomes an arrow; low == high: none
  std::string note;                ///< printed where there is no number: why not
  bool strong = false;             ///< the headline
};

/// A vertical line, e.g. a hypothesis.
struct ForestReference {
  std::string label;
  double value = 0;
};

struct ForestData {
  std::string title;
  std::string x_label;  ///< quantity and unit
  std::vector<ForestRow> rows;
  std::vector<ForestReference> references;
};

/// Estimates and 95 % intervals below each other, from top to bottom, their numbers to the right.
Picture forest(const std::string& name, const ForestData& data);

}  // namespace pg::post
