#include "postprocess/plots/forest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"

namespace pg::post {
namespace {

bool has_interval(const ForestRow& row) {
  return row.interval.low < row.interval.high;
}

/// Estimates and references in full; intervals as far as one such span beyond, so that one estimate
/// that says nothing does not hide the rest.
Range shown_range(const ForestData& data) {
  std::vector<double> centre;
  std::vector<double> widths;
  for (const ForestReference& r : data.references) centre.push_back(r.value);
  for (const ForestRow& row : data.rows) {
    if (row.estimate && std::isfinite(*row.estimate)) centre.push_back(*row.estimate);
    if (!has_interval(row) || !row.interval.finite()) continue;
    widths.push_back(row.interval.width());
    if (!row.estimate) centre.push_back((row.interval.low + row.interval.high) / 2);
  }
  if (centre.empty()) return {0, 1};
  auto [low, high] = std::minmax_element(centre.begin(), centre.end());
  double span = *high - *low;
  if (!widths.empty()) {
    std::nth_element(widths.begin(), widths.begin() + static_cast<long>(widths.size() / 2),
                     widths.end());
    span = std::max(span, widths[widths.size() / 2]);
  }
  std::vector<double> ends = {*low, *high};
  for (const ForestRow& row : data.rows) {
    if (!has_interval(row)) continue;
    ends.push_back(std::max(row.interval.low, *low - span));
    ends.push_back(std::min(row.interval.high, *high + span));
  }
  return range_of(ends, false, 0.05);
}

/// As many decimals as three digits of the middle interval's width ask for, 1 to 6.
int decimals(const ForestData& data) {
  double width = 0;
  for (const ForestRow& row : data.rows) {
    if (has_interval(row) && row.interval.finite() &&
        (width == 0 || row.interval.width() < width)) {
      width = row.interval.width();
    }
  }
  if (width <= 0) return 3;
  return std::clamp(static_cast<int>(std::ceil(-std::log10(width))) + 1, 3, 6);
}

/// As many whole words as fit into `width` letters; tables give the rest.
std::string shortened(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  const std::size_t space = text.rfind(' ', width);
  return space == std::string::npos ? text : text.substr(0, space) + " …";
}

std::string number(const ForestRow& row, int places) {
  const auto end = [&](double value) {
    return std::isfinite(value) ? fmt::format("{:.{}f}", value, places)
                                : std::string(value > 0 ? "∞" : "-∞");
  };
  const std::string interval =
      has_interval(row) ? fmt::format("[{}, {}]", end(row.interval.low), end(row.interval.high))
                        : "";
  if (row.estimate) return end(*row.estimate) + (interval.empty() ? "" : " " + interval);
  return interval.empty() ? shortened(row.note, 40) : interval;
}

/// A text in at most two lines of about `width` letters.
std::string wrapped(const std::string& text, std::size_t width) {
  if (text.size() <= width) return tic_literal(text);
  const std::size_t space = text.rfind(' ', std::max(width, text.size() / 2));
  if (space == std::string::npos) return tic_literal(text);
  return tic_literal(text.substr(0, space)) + "\\n" + tic_literal(text.substr(space + 1));
}

}  // namespace

Picture forest(const std::string& name, const ForestData& data) {
  Picture picture;
  picture.name = name;
  picture.width = 1300;
  picture.height = 190 + 46 * static_cast<int>(data.rows.size());
  picture.data.columns = {"row", "estimate", "low95", "high95", "note"};
  const Range range = shown_range(data);
  const int places = decimals(data);
  const std::size_t n = data.rows.size();
  std::vector<std::string> tics;
  std::vector<std::string> plain;
  std::vector<std::string> strong;
  std::vector<std::string> points;
  std::vector<std::string> strong_points;
  std::vector<std::string> numbers;
  std::vector<std::string> left;
  std::vector<std::string> right;
  for (std::size_t i = 0; i < n; ++i) {
    const ForestRow& row = data.rows[i];
    const auto y = static_cast<double>(n - 1 - i);
    tics.push_back(fmt::format("\"{}{}\" {}", row.strong ? "{/:Bold " : "",
                               wrapped(row.label, 38) + (row.strong ? "}" : ""), y));
    const auto number_or_none = [](double value) {
      return std::isfinite(value) ? shortest(value) : std::string();
    };
    picture.data.rows.push_back({row.label, row.estimate ? number_or_none(*row.estimate) : "",
                                 has_interval(row) ? number_or_none(row.interval.low) : "",
                                 has_interval(row) ? number_or_none(row.interval.high) : "",
                                 row.note});
    numbers.push_back(fmt::format("{} {} \"{}\"", range.high, y, literal(number(row, places))));
    if (has_interval(row)) {
      const double low = std::max(row.interval.low, range.low);
      const double high = std::min(row.interval.high, range.high);
      (row.strong ? strong : plain).push_back(fmt::format("{} {} {} 0", low, y, high - low));
      if (row.interval.low < range.low) left.push_back(fmt::format("{} {}", range.low, y));
      if (row.interval.high > range.high) right.push_back(fmt::format("{} {}", range.high, y));
    }
    if (row.estimate && *row.estimate >= range.low && *row.estimate <= range.high) {
      (row.strong ? strong_points : points).push_back(fmt::format("{} {}", *row.estimate, y));
    }
  }
  PlotCommand plot;
  for (std::size_t i = 0; i < data.references.size(); ++i) {
    const ForestReference& r = data.references[i];
    plot.add(fmt::format("reference{}", i),
             {fmt::format("{} -0.6", r.value),
              fmt::format("{} {}", r.value, static_cast<double>(n) - 0.4)},
             fmt::format("using 1:2 with lines lw 2 dt {} lc rgb '{}' title \"{} ({:.4g})\"", i + 2,
                         hypothesis_colour(i), literal(r.label), r.value));
  }
  const auto bars = [&](const std::string& id, const std::vector<std::string>& lines, double width,
                        const char* rgb) {
    plot.add(
        id, lines,
        fmt::format("using 1:2:3:4 with vectors nohead lw {} lc rgb '{}' notitle", width, rgb));
  };
  bars("plain", plain, 3, colour::kGrey);
  bars("strong", strong, 5, colour::kBlue);
  plot.add("left", left,
           fmt::format("using 1:2 with points pt \"◀\" ps 1.2 lc rgb '{}' notitle", colour::kGrey));
  plot.add("right", right,
           fmt::format("using 1:2 with points pt \"▶\" ps 1.2 lc rgb '{}' notitle", colour::kGrey));
  plot.add("points", points,
           fmt::format("using 1:2 with points pt 7 ps 1.5 lc rgb '{}' notitle", colour::kBlack));
  plot.add("strong_points", strong_points,
           fmt::format("using 1:2 with points pt 13 ps 2.4 lc rgb '{}' notitle", colour::kBlue));
  plot.add("numbers", numbers, "using 1:2:3 with labels left offset 1.5,0 font ',12' notitle");
  picture.script =
      plot.blocks() + kFrame +
      fmt::format(
          "set title \"{}\"\nset xlabel \"{}\"\n{}set yrange [-0.6:{}]\nset ytics ({})\n"
          "set border 1\nset grid xtics noytics\nset lmargin 38\nset rmargin 30\n"
          "set bmargin 7\n"
          "set key at screen 0.5, 0.012 center bottom vertical maxrows 1 Left reverse samplen 3\n",
          literal(data.title), literal(data.x_label), axis('x', range, false),
          static_cast<double>(n) - 0.4, join(tics, ", ")) +
      plot.command();
  return picture;
}

}  // namespace pg::post
