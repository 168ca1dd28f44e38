#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/law_plots.hpp"

namespace pg::post {
namespace {

using Value = std::function<double(const SizePoint&)>;

std::string point_line(double x, double y, const Interval& ci) {
  const bool known = ci.low < ci.high;
  return fmt::format("{} {} {} {}", x, y, known ? ci.low : y, known ? ci.high : y);
}

/// Points against the number of parameters, coloured by width, with a fitted curve.
std::string size_panel(const ScalingLawsData& data, const std::string& id, const Value& y,
                       const Curve& fit, bool intervals) {
  PlotCommand plot;
  std::vector<double> xs;
  std::vector<double> ys;
  std::map<int, std::vector<std::string>> by_width;
  for (const SizePoint& p : data.points) {
    xs.push_back(p.n_parameters);
    ys.push_back(y(p));
    by_width[p.d_model].push_back(
        point_line(p.n_parameters, y(p), intervals ? p.perplexity_ci95 : Interval{}));
  }
  add_curve(plot, id, fit, colour::kBlack);
  std::size_t index = 0;
  for (const auto& [width, lines] : by_width) {
    plot.add(fmt::format("{}_width{}", id, width), lines,
             fmt::format("using 1:2:3:4 with yerrorbars pt 7 ps 1.3 lw 1.5 lc rgb '{}' title "
                         "'width {}'",
                         sequence_colour(index++, by_width.size()), width));
  }
  return axis('x', range_of(xs, true, 0.08), true) + axis('y', range_of(ys, true, 0.12), true) +
         plot.blocks() + plot.command();
}

/// Perplexity against one dimension, one line for each value of the other.
std::string dimension_panel(const ScalingLawsData& data, const std::string& id, int SizePoint::*x,
                            int SizePoint::*group, const std::string& group_name) {
  PlotCommand plot;
  std::vector<double> xs;
  std::vector<double> ys;
  std::map<int, std::map<int, std::string>> lines;
  std::set<int> tics;
  for (const SizePoint& p : data.points) {
    xs.push_back(p.*x);
    ys.push_back(p.perplexity);
    tics.insert(p.*x);
    lines[p.*group][p.*x] = point_line(p.*x, p.perplexity, p.perplexity_ci95);
  }
  std::size_t index = 0;
  constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};
  for (const auto& [value, by_x] : lines) {
    std::vector<std::string> block;
    for (const auto& [position, line] : by_x) block.push_back(line);
    const std::string rgb = sequence_colour(index, lines.size());
    const std::string name = fmt::format("{}_{}", id, value);
    plot.add(name + "_bars", block,
             fmt::format("using 1:2:3:4 with yerrorbars pt 0 lw 1.5 lc rgb '{}' notitle", rgb));
    plot.add(name, block,
             fmt::format("using 1:2 with linespoints pt {} ps 1.2 lw 2 lc rgb '{}' title '{} {}'",
                         kMarks[index % 7], rgb, group_name, value));
    ++index;
  }
  std::vector<std::string> written;
  for (const int t : tics) written.push_back(fmt::format("\"{0}\" {0}", t));
  return axis('x', range_of(xs, true, 0.08), true) + "set xtics (" + join(written, ", ") + ")\n" +
         axis('y', range_of(ys, true, 0.12), true) + plot.blocks() + plot.command();
}

}  // namespace

Picture scaling_laws(const ScalingLawsData& data) {
  Picture picture;
  picture.name = "scaling_laws";
  picture.width = 1400;
  picture.height = 1100;
  picture.data.columns = {"d_model",          "n_layers",          "n_parameters", "perplexity",
                          "perplexity_low95", "perplexity_high95", "seconds"};
  for (const SizePoint& p : data.points) {
    const bool known = p.perplexity_ci95.low < p.perplexity_ci95.high;
    picture.data.rows.push_back(
        {std::to_string(p.d_model), std::to_string(p.n_layers), shortest(p.n_parameters),
         shortest(p.perplexity), known ? shortest(p.perplexity_ci95.low) : "",
         known ? shortest(p.perplexity_ci95.high) : "", shortest(p.seconds)});
  }
  if (data.points.empty()) {
    picture.script = empty_picture("No finished trial to draw");
    return picture;
  }
  picture.script =
      std::string(kFrame) +
      "set multiplot layout 2,2 margins 0.065,0.985,0.06,0.955 spacing 0.08,0.12\n"
      "set key top right Left reverse samplen 2 opaque font ',11'\n"
      "set title 'Perplexity by model size'\nset xlabel 'parameters N'\n"
      "set ylabel 'validation perplexity'\n" +
      size_panel(
          data, "size", [](const SizePoint& p) { return p.perplexity; }, data.perplexity_fit,
          true) +
      "set title 'Perplexity by width'\nset xlabel 'd\\_model'\n" +
      dimension_panel(data, "width", &SizePoint::d_model, &SizePoint::n_layers, "layers:") +
      "set title 'Perplexity by depth'\nset xlabel 'n\\_layers'\n" +
      dimension_panel(data, "depth", &SizePoint::n_layers, &SizePoint::d_model, "width") +
      "set title 'Training time by model size'\nset xlabel 'parameters N'\n"
      "set ylabel 'training time (s)'\nset key top left\n" +
      size_panel(
          data, "time", [](const SizePoint& p) { return p.seconds; }, data.time_fit, false) +
      "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
