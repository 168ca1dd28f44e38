#include "postprocess/plots/alpha_vs_loss.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"

namespace pg::post {
namespace {

Range alpha_range(const AlphaVsLossData& data) {
  std::vector<double> alphas;
  for (const AlphaGroup& g : data.groups) {
    for (const AlphaPoint& p : g.points) alphas.push_back(p.alpha);
  }
  return range_of(alphas, false, 0.05);
}

Range loss_range(const AlphaGroup& group, double margin) {
  std::vector<double> losses;
  for (const AlphaPoint& p : group.points) {
    losses.push_back(p.loss);
    if (p.ci95.low < p.ci95.high) losses.insert(losses.end(), {p.ci95.low, p.ci95.high});
  }
  if (group.anchor_loss) {
    for (const double factor : {1 - margin, 1 + margin}) {
      losses.push_back(*group.anchor_loss * factor);
    }
  }
  if (group.best_loss) losses.push_back(*group.best_loss);
  return range_of(losses, false, 0.1);
}

constexpr const char* kMargin = "filledcurves lc rgb '#bbbbbb' fs transparent solid 0.4 noborder";
constexpr const char* kAnchor = "lines lw 2 dt 2 lc rgb '#000000'";
constexpr const char* kPoints = "points pt 7 ps 1.4 lc rgb '#000000'";
constexpr const char* kBest = "xerrorbars pt 13 ps 1.9 lw 3 lc rgb '#D55E00'";

std::string best_text(const AlphaGroup& group) {
  if (!group.best_alpha) return "no optimum determined";
  std::string text = fmt::format("best α {:.3f}", *group.best_alpha);
  if (!group.best_ci95) return text;
  const auto end = [](double value) {
    return std::isfinite(value) ? fmt::format("{:.3f}", value)
                                : std::string(value > 0 ? "∞" : "-∞");
  };
  return text + fmt::format(" [{}, {}]", end(group.best_ci95->low), end(group.best_ci95->high));
}

std::string panel(const AlphaVsLossData& data, const AlphaGroup& group, std::size_t index,
                  const Range& x) {
  PlotCommand plot;
  const Range y = loss_range(group, data.anchor_margin);
  const auto id = [&](const char* part) { return fmt::format("{}{}", part, index); };
  const auto style = [](const char* columns, const char* with) {
    return fmt::format("using {} with {} notitle", columns, with);
  };
  if (group.anchor_loss) {
    const double loss = *group.anchor_loss;
    const double half = loss * data.anchor_margin;
    if (half > 0) {
      plot.add(id("margin"),
               {fmt::format("{} {} {}", x.low, loss - half, loss + half),
                fmt::format("{} {} {}", x.high, loss - half, loss + half)},
               style("1:2:3", kMargin));
    }
    plot.add(id("anchor"), {fmt::format("{} {}", x.low, loss), fmt::format("{} {}", x.high, loss)},
             style("1:2", kAnchor));
  }
  add_curve(plot, id("quadratic"), group.quadratic, colour::kBlue);
  std::vector<std::string> points;
  std::vector<std::string> bars;
  for (const AlphaPoint& p : group.points) {
    points.push_back(fmt::format("{} {}", p.alpha, p.loss));
    if (p.ci95.low < p.ci95.high) {
      bars.push_back(fmt::format("{} {} {} {}", p.alpha, p.loss, p.ci95.low, p.ci95.high));
    }
  }
  plot.add(id("bars"), bars, style("1:2:3:4", "yerrorbars pt 0 lw 2 lc rgb '#000000'"));
  plot.add(id("points"), points, style("1:2", kPoints));
  if (group.best_alpha) {
    // The interval of the optimum stands at the foot of the panel, clear of the points.
    const double foot = y.low + 0.045 * (y.high - y.low);
    const Interval ci = group.best_ci95.value_or(Interval{*group.best_alpha, *group.best_alpha});
    plot.add(id("best"),
             {fmt::format("{} {} {} {}", std::clamp(*group.best_alpha, x.low, x.high), foot,
                          std::clamp(ci.low, x.low, x.high), std::clamp(ci.high, x.low, x.high))},
             style("1:2:3:4", kBest));
  }
  return fmt::format("set title \"{}\\n{}\"\n", literal(group.label), best_text(group)) +
         axis('x', x, false) + axis('y', y, false) + plot.blocks() + plot.command();
}

/// The key of all panels: what any of them shows.
std::vector<std::string> key_entries(const AlphaVsLossData& data) {
  std::vector<std::string> out = {std::string("with ") + kPoints + " title \"" +
                                  literal(data.interval_label) + "\""};
  const auto any = [&](auto has) {
    return std::any_of(data.groups.begin(), data.groups.end(), has);
  };
  if (any([](const AlphaGroup& g) { return !g.quadratic.x.empty(); })) {
    out.push_back(fmt::format("with lines lw 2.5 lc rgb '{}' title 'quadratic'", colour::kBlue));
  }
  if (any([](const AlphaGroup& g) { return g.best_alpha.has_value(); })) {
    out.push_back("with points pt 13 ps 1.9 lc rgb '#D55E00' title 'best α, 95 % interval'");
  }
  if (any([](const AlphaGroup& g) { return g.anchor_loss.has_value(); })) {
    out.push_back(fmt::format("with {} title \"{}\"", kAnchor, literal(data.anchor_label)));
    if (data.anchor_margin > 0) {
      out.push_back(fmt::format("with lines lw 10 lc rgb '#d8d8d8' title '± {:g} %'",
                                100 * data.anchor_margin));
    }
  }
  return out;
}

}  // namespace

Picture alpha_vs_loss(const std::string& name, const AlphaVsLossData& data) {
  Picture picture;
  picture.name = name;
  picture.data.columns = {"group", "series", "alpha", "loss", "low95", "high95", "n_seeds"};
  for (const AlphaGroup& g : data.groups) {
    for (const AlphaPoint& p : g.points) {
      const bool known = p.ci95.low < p.ci95.high;
      picture.data.rows.push_back({g.label, "data", shortest(p.alpha), shortest(p.loss),
                                   known ? shortest(p.ci95.low) : "",
                                   known ? shortest(p.ci95.high) : "", std::to_string(p.n_seeds)});
    }
    if (g.best_alpha) {
      const bool known = g.best_ci95.has_value() && g.best_ci95->finite();
      picture.data.rows.push_back({g.label, "best_alpha", shortest(*g.best_alpha),
                                   g.best_loss ? shortest(*g.best_loss) : "",
                                   known ? shortest(g.best_ci95->low) : "",
                                   known ? shortest(g.best_ci95->high) : "", ""});
    }
    if (g.anchor_loss) {
      picture.data.rows.push_back({g.label, "anchor", "", shortest(*g.anchor_loss), "", "", ""});
    }
  }
  if (data.groups.empty()) {
    picture.height = 300;
    picture.script = empty_picture("No finished trial to draw");
    return picture;
  }
  const std::size_t n = data.groups.size();
  const std::size_t columns = std::min<std::size_t>(n, 3);
  const std::size_t rows = (n + columns - 1) / columns;
  picture.width = n == 1 ? 1000 : 1400;
  constexpr double kTitle = 50;
  constexpr double kPanel = 520;
  constexpr double kKey = 80;
  const auto n_rows = static_cast<double>(rows);
  picture.height = static_cast<int>(kTitle + kPanel * n_rows + kKey);
  const Range x = alpha_range(data);
  picture.script =
      std::string(kFrame) + fmt::format(
                                "set multiplot title \"{}\" font ',16'\nunset key\n"
                                "set xlabel \"{}\"\nset ylabel \"{}\"\n",
                                literal(data.title), literal(data.x_label), literal(data.y_label));
  for (std::size_t i = 0; i < n; ++i) {
    const double width = 1.0 / static_cast<double>(columns);
    const double left = width * static_cast<double>(i % columns);
    const double foot = kKey + kPanel * (n_rows - 1 - static_cast<double>(i / columns));
    picture.script +=
        panel_at(left + 110.0 / picture.width, left + width - 20.0 / picture.width,
                 (foot + 70) / picture.height, (foot + kPanel - 60) / picture.height) +
        panel(data, data.groups[i], i, x);
  }
  picture.script += key_panel(key_entries(data), kKey / picture.height, 2) + "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
