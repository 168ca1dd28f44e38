#pragma once

#include <string>
#include <vector>

#include "postprocess/fits/optimum.hpp"
#include "postprocess/plots/curve.hpp"
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
/// Four to eight round tics within the range, written out for `set xtics`: powers of ten and their
/// parts on a logarithmic axis, equal steps elsewhere. "10 k", "3 M" for large values.
std::string round_tics(double low, double high, bool logarithmic);
/// The range of the values with some room at both ends; logarithmic: in equal factors. Values that
/// are not finite (or not above zero on a logarithmic axis) count for nothing; without any, [0, 1]
/// or [1, 10].
Range range_of(const std::vector<double>& values, bool logarithmic, double room = 0.06);
/// `set xrange`, `set xtics` and, if so, `set logscale x` for axis 'x' or 'y'.
std::string axis(char name, const Range& range, bool logarithmic);
/// "3 M", "1e18", "0.03".
std::string short_number(double value);
/// Margins of the next panel of a multiplot, as shares of the picture from its lower left corner.
std::string panel_at(double left, double right, double bottom, double top);
/// The last panel of a multiplot: a key for all others over the whole width, below `top`. Each
/// entry is what follows `plot NaN`: "with lines lw 2 title 'a'".
std::string key_panel(const std::vector<std::string>& entries, double top, std::size_t columns);
/// A colour of the viridis scale for part `index` of `n`, without the end that is hard to see on
/// white.
std::string sequence_colour(std::size_t index, std::size_t n);
/// `index` to a colour that any other below 7 differs from: Okabe and Ito's, without yellow.
const char* distinct_colour(std::size_t index);
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

/// Adds prediction band (dashed edges), mean band (shaded) and line of a curve; `dash` is gnuplot's
/// dash type. An empty curve adds nothing.
void add_curve(PlotCommand& plot, const std::string& id, const Curve& curve, const std::string& rgb,
               int dash = 1);

/// Adds a black star with a white rim, the mark of an interpolated minimum, at each "x y" line.
void add_stars(PlotCommand& plot, const std::string& id, const std::vector<std::string>& lines,
               const std::string& title);

/// A picture that only says why there is nothing to see.
std::string empty_picture(const std::string& why);

}  // namespace pg::post
