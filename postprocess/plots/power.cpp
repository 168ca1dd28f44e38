#include "postprocess/plots/power.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"

namespace pg::post {

Picture power_curve(const std::string& name, const PowerData& data) {
  Picture picture;
  picture.name = name;
  picture.height = 720;
  picture.data.columns = {"curve", "n_seeds", "detectable"};
  std::vector<double> x;
  std::vector<double> y;
  PlotCommand plot;
  constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};
  for (std::size_t c = 0; c < data.curves.size(); ++c) {
    const PowerCurve& curve = data.curves[c];
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < curve.n_seeds.size() && i < curve.detectable.size(); ++i) {
      if (!std::isfinite(curve.detectable[i]) || curve.detectable[i] <= 0) continue;
      x.push_back(static_cast<double>(curve.n_seeds[i]));
      y.push_back(curve.detectable[i]);
      lines.push_back(fmt::format("{} {}", curve.n_seeds[i], curve.detectable[i]));
      picture.data.rows.push_back(
          {curve.label, std::to_string(curve.n_seeds[i]), shortest(curve.detectable[i])});
    }
    plot.add(fmt::format("curve{}", c), lines,
             fmt::format("using 1:2 with linespoints pt {} ps 1.1 lw 2 lc rgb '{}' title \"{}\"",
                         kMarks[c % 7], distinct_colour(c), literal(curve.label)));
  }
  for (const auto& [label, effect] : data.effects) y.push_back(effect);
  const Range xs = range_of(x, true, 0.05);
  const Range ys = range_of(y, true, 0.08);
  for (std::size_t i = 0; i < data.effects.size(); ++i) {
    plot.add(fmt::format("effect{}", i),
             {fmt::format("{} {}", xs.low, data.effects[i].second),
              fmt::format("{} {}", xs.high, data.effects[i].second)},
             fmt::format("using 1:2 with lines lw 2 dt {} lc rgb '{}' title \"{}: {:.3g}\"", i + 2,
                         hypothesis_colour(i + 1), literal(data.effects[i].first),
                         data.effects[i].second));
  }
  if (data.n_seeds_used > 0) {
    plot.add("used",
             {fmt::format("{} {}", data.n_seeds_used, ys.low),
              fmt::format("{} {}", data.n_seeds_used, ys.high)},
             fmt::format("using 1:2 with lines lw 2 lc rgb '{}' title 'this run: {} seeds'",
                         colour::kGrey, data.n_seeds_used));
  }
  if (x.empty()) {
    picture.height = 300;
    picture.script =
        empty_picture("No standard deviation is known: nothing can be planned from it");
    return picture;
  }
  picture.script = plot.blocks() + kFrame +
                   fmt::format("set title \"{}\"\nset xlabel 'seeds per arm'\nset ylabel \"{}\"\n",
                               literal(data.title), literal(data.y_label)) +
                   axis('x', xs, true) + axis('y', ys, true) +
                   "set bmargin 9\nset key at screen 0.5, 0.012 center bottom Left reverse "
                   "samplen 3 spacing 1.15 vertical maxrows 4\n" +
                   plot.command();
  return picture;
}

}  // namespace pg::post
