#pragma once

#include <string>
#include <vector>

#include "postprocess/fits/optimum.hpp"
#include "postprocess/plots/gnuplot.hpp"

// What the four pictures share: axes, tics, colours, and a plot command built from its parts.

namespace pg::post {

inline constexpr const char* kFrame =
    "set border 3 lc rgb '#444444'\n"
    "set tics nomirror\n"
    "set grid lc rgb '#dddddd' lt 1 lw 1\n"
    "set lmargin 11\n";

struct Range {
  double low = 0;
  double high = 0;
};

/// Tics at 1 and 3 times the powers of ten within the range, written out for `set xtics`.
std::string decade_tics(double low, double high);
/// One tic for each batch.
std::string batch_tics(const std::vector<Optimum>& optima);
/// The batches with half a doubling of room at both ends.
Range batch_range(const std::vector<Optimum>& optima);
/// The colour of the hypothesis at `index` in the study's list.
const char* hypothesis_colour(std::size_t index);

/// A plot command from the parts that have data.
class PlotCommand {
 public:
  /// Defines a data block and adds a part of the plot; without lines neither.
  void add(const std::string& name, const std::vector<std::string>& lines,
           const std::string& style);
  [[nodiscard]] bool empty() const { return parts_.empty(); }
  [[nodiscard]] const std::string& blocks() const { return blocks_; }
  /// `plot ...`; an empty frame when nothing was added.
  [[nodiscard]] std::string command() const;

 private:
  std::string blocks_;
  std::vector<std::string> parts_;
};

}  // namespace pg::post
