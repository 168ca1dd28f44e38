#include <fmt/format.h>

#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/law_plots.hpp"

namespace pg::post {

Picture law_fit(const std::string& name, const LawPlotData& data) {
  Picture picture;
  picture.name = name;
  picture.height = 830;
  picture.data.columns = {"series", "label", "x", "y", "low95", "high95", "in_fit"};
  std::vector<double> x;
  std::vector<double> y;
  std::vector<std::string> used;
  std::vector<std::string> hollow;
  std::vector<std::string> bars;
  for (const PlotPoint& p : data.points) {
    const bool known = p.ci95.low < p.ci95.high;
    x.push_back(p.x);
    y.push_back(p.y);
    (p.hollow ? hollow : used).push_back(fmt::format("{} {}", p.x, p.y));
    if (known) bars.push_back(fmt::format("{} {} {} {}", p.x, p.y, p.ci95.low, p.ci95.high));
    picture.data.rows.push_back({"data", p.label, shortest(p.x), shortest(p.y),
                                 known ? shortest(p.ci95.low) : "",
                                 known ? shortest(p.ci95.high) : "", p.hollow ? "no" : "yes"});
  }
  const auto add_rows = [&](const std::string& series, const Curve& curve) {
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      const bool band = i < curve.mean95.size() && curve.mean95[i].finite();
      picture.data.rows.push_back({series, curve.label, shortest(curve.x[i]), shortest(curve.y[i]),
                                   band ? shortest(curve.mean95[i].low) : "",
                                   band ? shortest(curve.mean95[i].high) : "", ""});
    }
  };
  add_rows("fit", data.fit);
  PlotCommand plot;
  add_curve(plot, "fit", data.fit, colour::kBlue);
  for (std::size_t i = 0; i < data.rivals.size(); ++i) {
    add_rows("rival", data.rivals[i]);
    add_curve(plot, fmt::format("rival{}", i), data.rivals[i], distinct_colour(i + 1),
              static_cast<int>(i % 4) + 2);
  }
  plot.add(
      "bars", bars,
      fmt::format("using 1:2:3:4 with yerrorbars pt 0 lw 1.5 lc rgb '{}' notitle", colour::kBlack));
  const double size = data.points.size() > 60 ? 0.7 : 1.4;
  plot.add("used", used,
           fmt::format("using 1:2 with points pt 7 ps {} lc rgb '{}' title 'data'", size,
                       colour::kBlack));
  plot.add("hollow", hollow,
           fmt::format("using 1:2 with points pt 6 ps {} lw 1.5 lc rgb '{}' title 'left out'", size,
                       colour::kBlack));
  picture.script = plot.blocks() + kFrame +
                   fmt::format("set title \"{}\"\nset xlabel \"{}\"\nset ylabel \"{}\"\n",
                               literal(data.title), literal(data.x_label), literal(data.y_label)) +
                   axis('x', range_of(x, data.log_x, 0.08), data.log_x) +
                   axis('y', range_of(y, data.log_y, 0.12), data.log_y) +
                   "set bmargin 9\nset key at screen 0.5, 0.012 center bottom Left reverse "
                   "samplen 3 spacing 1.15 vertical maxrows 4\n" +
                   plot.command();
  return picture;
}

}  // namespace pg::post
