#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {
namespace {

/// Up to two and a half times the middle rise from a batch's lowest cell to its neighbours, above
/// the highest of the minima: what lies beyond would press the minima together.
Range loss_range(const ScalingFit& fit) {
  std::vector<double> minima;
  std::vector<double> rises;
  for (std::size_t r = 0; r < fit.optima.size(); ++r) {
    const Optimum& o = fit.optima[r];
    if (o.state == OptimumState::no_data) continue;
    minima.push_back(std::min(o.argmin_loss, o.loss));
    const auto& cells = fit.cells[r].cells;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (!same_lr(cells[i].lr, o.argmin_lr)) continue;
      for (const std::size_t j : {i - 1, i + 1}) {  // i - 1 wraps to a value beyond the end
        if (j < cells.size() && cells[j].state == CellState::usable) {
          rises.push_back(cells[j].loss - o.argmin_loss);
        }
      }
    }
  }
  if (minima.empty()) return {0, 1};
  const auto [low, high] = std::minmax_element(minima.begin(), minima.end());
  double rise = 0;
  if (!rises.empty()) {
    std::nth_element(rises.begin(), rises.begin() + static_cast<long>(rises.size() / 2),
                     rises.end());
    rise = rises[rises.size() / 2];
  }
  const double span = std::max(*high - *low + 2.5 * rise, 1e-6);
  return {*low - 0.06 * span, *low + 1.04 * span};
}

}  // namespace

Picture loss_vs_lr(const ScalingFit& fit) {
  Picture picture;
  picture.name = "loss_vs_lr";
  picture.height = 800;
  picture.data.columns = {"batch", "lr", "stage", "loss", "standard_error", "n_seeds"};
  PlotCommand plot;
  std::vector<double> rates;
  std::vector<std::string> stars;
  constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};
  for (std::size_t r = 0; r < fit.cells.size(); ++r) {
    std::vector<std::string> points;
    std::vector<std::string> bars;
    for (const Cell& c : fit.cells[r].cells) {
      rates.push_back(c.lr);
      if (c.state != CellState::usable) continue;
      const double se = c.n_seeds > 1 ? c.seed_sd / std::sqrt(c.n_seeds) : 0;
      points.push_back(fmt::format("{} {}", c.lr, c.loss));
      if (c.n_seeds > 1) bars.push_back(fmt::format("{} {} {}", c.lr, c.loss, se));
      picture.data.rows.push_back({std::to_string(c.batch), shortest(c.lr), c.stage,
                                   shortest(c.loss), c.n_seeds > 1 ? shortest(se) : "",
                                   std::to_string(c.n_seeds)});
    }
    const std::string rgb = sequence_colour(r, fit.cells.size());
    plot.add(fmt::format("bars{}", r), bars,
             fmt::format("using 1:2:3 with yerrorbars pt 0 lw 1.5 lc rgb '{}' notitle", rgb));
    plot.add(fmt::format("curve{}", r), points,
             fmt::format("using 1:2 with linespoints pt {} ps 1.1 lw 2 lc rgb '{}' title "
                         "'batch {}'",
                         kMarks[r % 7], rgb, fit.cells[r].batch));
    const Optimum& o = fit.optima[r];
    if (o.state == OptimumState::bracketed) stars.push_back(fmt::format("{} {}", o.lr(), o.loss));
  }
  add_stars(plot, "stars", stars, "interpolated minimum");
  const Range x = range_of(rates, true, 0.03);
  picture.script =
      plot.blocks() + kFrame +
      "set title 'Final validation loss by learning rate (bars: standard error over seeds)'\n"
      "set xlabel 'peak learning rate'\nset ylabel 'final validation loss (nats per token)'\n"
      "set bmargin 8\nset key at screen 0.5, 0.015 center bottom horizontal Left reverse samplen 3 "
      "spacing 1.15 maxcols 4\n" +
      axis('x', x, true) + "set xtics " + decade_tics(x.low, x.high) + "\n" +
      axis('y', loss_range(fit), false) + plot.command();
  return picture;
}

}  // namespace pg::post
