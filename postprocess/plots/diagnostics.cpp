#include "postprocess/plots/diagnostics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kAllNamed = 16;
constexpr std::size_t kNamedOfMany = 4;

struct Point {
  std::size_t index;
  double standardised;  ///< e / (s sqrt(1 - h))
  double quantile;      ///< of the normal distribution, for its rank
};

/// R's plotting positions: (i - a) / (n + 1 - 2a) with a = 3/8 up to ten points, else 1/2.
std::vector<Point> points_of(const DiagnosticsData& data) {
  std::vector<Point> out;
  for (std::size_t i = 0; i < data.residuals.size(); ++i) {
    const double rest = std::max(1 - data.leverage[i], 1e-12);
    out.push_back({i, data.residuals[i] / (data.s * std::sqrt(rest)), 0});
  }
  std::vector<std::size_t> order(out.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return out[a].standardised < out[b].standardised;
  });
  const auto n = static_cast<double>(out.size());
  const double a = out.size() <= 10 ? 0.375 : 0.5;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double p = (static_cast<double>(rank) + 1 - a) / (n + 1 - 2 * a);
    out[order[rank]].quantile = student_quantile(p, 1e12);  // the normal distribution's
  }
  return out;
}

/// Which points get their names: all of few, else the largest by `size`.
template <typename Size>
std::vector<bool> named(const std::vector<Point>& points, Size size) {
  std::vector<bool> out(points.size(), points.size() <= kAllNamed);
  if (points.size() <= kAllNamed) return out;
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size(points[a]) > size(points[b]); });
  for (std::size_t i = 0; i < kNamedOfMany; ++i) out[order[i]] = true;
  return out;
}

/// One panel: points, their names, and what else `extra` holds.
class Panel {
 public:
  explicit Panel(std::string id) : id_(std::move(id)) {}
  void add(double x, double y, const std::string& label, bool with_name) {
    points_.push_back(fmt::format("{} {}", x, y));
    if (with_name) names_.push_back(fmt::format("{} {} \"{}\"", x, y, literal(label)));
  }
  std::string command(PlotCommand plot) const {
    plot.add("points_" + id_, points_,
             fmt::format("using 1:2 with points pt 7 ps 1.2 lc rgb '{}' notitle", colour::kBlue));
    plot.add("names_" + id_, names_,
             "using 1:2:3 with labels offset 0.6,0.7 left font ',11' textcolor rgb '#444444' "
             "notitle");
    return plot.blocks() + plot.command();
  }

 private:
  std::string id_;
  std::vector<std::string> points_;
  std::vector<std::string> names_;
};

std::string zero_line() {
  return "set xzeroaxis lt 1 lw 1.5 lc rgb '#777777'\n";
}

std::string fitted_panel(const DiagnosticsData& data, const std::vector<Point>& points) {
  Panel panel("fitted");
  const auto with_name =
      named(points, [&](const Point& p) { return std::abs(data.residuals[p.index]); });
  for (const Point& p : points) {
    panel.add(data.fitted[p.index], data.residuals[p.index], data.labels[p.index],
              with_name[p.index]);
  }
  return fmt::format(
             "set title 'Residual against fitted value'\nset xlabel \"fitted {0}\"\n"
             "set ylabel \"residual of {0}\"\n",
             literal(data.response)) +
         axis('x', range_of(data.fitted, false, 0.12), false) +
         axis('y', range_of(data.residuals, false, 0.15), false) + zero_line() + panel.command({});
}

std::string quantile_panel(const DiagnosticsData& data, const std::vector<Point>& points) {
  Panel panel("quantile");
  std::vector<double> x;
  std::vector<double> y;
  const auto with_name = named(points, [](const Point& p) { return std::abs(p.standardised); });
  for (const Point& p : points) {
    panel.add(p.quantile, p.standardised, data.labels[p.index], with_name[p.index]);
    x.push_back(p.quantile);
    y.push_back(p.standardised);
  }
  const Range range = range_of(x, false, 0.15);
  PlotCommand plot;
  plot.add("diagonal", {fmt::format("{0} {0}", range.low), fmt::format("{0} {0}", range.high)},
           fmt::format("using 1:2 with lines lw 1.5 dt 2 lc rgb '{}' notitle", colour::kGrey));
  y.insert(y.end(), {range.low, range.high});
  return "set title 'Normal quantiles (dashed: a normal distribution)'\nset xlabel 'quantile of "
         "the normal distribution'\n"
         "set ylabel 'standardised residual'\nunset xzeroaxis\n" +
         axis('x', range, false) + axis('y', range_of(y, false, 0.08), false) +
         panel.command(std::move(plot));
}

std::string leverage_panel(const DiagnosticsData& data, const std::vector<Point>& points) {
  Panel panel("leverage");
  std::vector<double> y = {0};
  double largest = 0;
  const auto with_name =
      named(points, [&](const Point& p) { return data.cooks_distance[p.index]; });
  for (const Point& p : points) {
    panel.add(data.leverage[p.index], p.standardised, data.labels[p.index], with_name[p.index]);
    y.push_back(p.standardised);
    largest = std::max(largest, data.leverage[p.index]);
  }
  const Range range = range_of(y, false, 0.15);
  const double right = std::min(1.0, 1.15 * largest + 0.02);
  PlotCommand plot;
  for (const double distance : {0.5, 1.0}) {
    std::vector<std::string> lines;
    for (const double sign : {1.0, -1.0}) {
      for (const double h : spread(right / 60, std::min(right, 0.995), 60, false)) {
        const double r = sign * std::sqrt(distance * data.n_params * (1 - h) / h);
        if (r >= range.low && r <= range.high) lines.push_back(fmt::format("{} {}", h, r));
      }
      lines.emplace_back("");  // two branches
    }
    if (lines.size() < 4) continue;
    plot.add(distance < 1 ? "half" : "one", lines,
             fmt::format("using 1:2 with lines lw 1.5 dt {} lc rgb '{}' notitle",
                         distance < 1 ? 3 : 2, colour::kVermilion));
  }
  return "set title \"Residual against leverage (dotted: Cook's distance 0.5, dashed: 1)\"\nset "
         "xlabel 'leverage'\n"
         "set ylabel 'standardised residual'\n" +
         axis('x', {0, right}, false) + axis('y', range, false) + zero_line() +
         panel.command(std::move(plot));
}

std::string cook_panel(const DiagnosticsData& data) {
  std::vector<std::string> bars;
  std::vector<std::string> tics;
  double largest = 0;
  const std::size_t n = data.labels.size();
  for (std::size_t i = 0; i < n; ++i) {
    bars.push_back(fmt::format("{} {}", i, data.cooks_distance[i]));
    largest = std::max(largest, data.cooks_distance[i]);
    if (n <= 2 * kAllNamed)
      tics.push_back(fmt::format("\"{}\" {}", tic_literal(data.labels[i]), i));
  }
  std::size_t longest = 0;
  for (const std::string& label : data.labels) longest = std::max(longest, label.size());
  PlotCommand plot;
  plot.add("cook", bars,
           fmt::format("using 1:2 with boxes fs solid 0.8 lc rgb '{}' notitle", colour::kBlue));
  return "set title 'How far each point moves the fit'\n" +
         fmt::format("set xlabel '{}'\n", n <= 2 * kAllNamed ? "point" : "point, by number") +
         "set ylabel \"Cook's distance\"\nunset xzeroaxis\nset boxwidth 0.6\n" +
         axis('x', {-0.7, static_cast<double>(n) - 0.3}, false) +
         axis('y', {0, std::max(1.1 * largest, 1e-9)}, false) +
         (tics.empty() ? ""
                       : fmt::format("set xtics ({}){}\n", join(tics, ", "),
                                     longest * n > 60 ? " rotate by 40 right" : "")) +
         plot.blocks() + plot.command();
}

}  // namespace

Picture diagnostics(const std::string& name, const DiagnosticsData& data) {
  Picture picture;
  picture.name = name;
  picture.width = 1300;
  picture.height = 1000;
  picture.data.columns = {"point",    "fitted",   "residual",      "standardised",
                          "quantile", "leverage", "cooks_distance"};
  const bool visible = data.s > 0 && !data.residuals.empty();
  if (!visible) {
    picture.height = 300;
    picture.script =
        empty_picture("No residuals to look at: the fit is exact, or no degree of freedom is left");
    return picture;
  }
  const std::vector<Point> points = points_of(data);
  for (const Point& p : points) {
    picture.data.rows.push_back({data.labels[p.index], shortest(data.fitted[p.index]),
                                 shortest(data.residuals[p.index]), shortest(p.standardised),
                                 shortest(p.quantile), shortest(data.leverage[p.index]),
                                 shortest(data.cooks_distance[p.index])});
  }
  // Blocks may stand inside a multiplot.
  picture.script = std::string(kFrame) + "unset key\n" +
                   fmt::format(
                       "set multiplot layout 2,2 margins 0.09,0.98,0.09,0.89 spacing "
                       "0.1,0.14 title \"{}\" font ',16'\n",
                       literal(data.title)) +
                   fitted_panel(data, points) + quantile_panel(data, points) +
                   leverage_panel(data, points) + cook_panel(data) + "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
