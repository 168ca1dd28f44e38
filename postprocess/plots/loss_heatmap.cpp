#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/contours.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {
namespace {

struct HeatCell {
  std::int64_t batch;
  std::size_t row;
  double lr, low, high;  ///< the cell's extent in learning rate
  CellState state;
  double loss;
  double excess;  ///< over the batch's lowest
};

/// Each cell reaches to the middles (in ln LR) between it and its neighbours.
std::vector<HeatCell> heat_cells(const ScalingFit& fit) {
  std::vector<HeatCell> out;
  for (std::size_t r = 0; r < fit.cells.size(); ++r) {
    const auto& cells = fit.cells[r].cells;
    double lowest = INFINITY;
    for (const Cell& c : cells) {
      if (c.state == CellState::usable) lowest = std::min(lowest, c.loss);
    }
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const double half = std::exp(fit.grid_step / 2);
      const double low = i > 0 ? std::sqrt(cells[i - 1].lr * cells[i].lr) : cells[i].lr / half;
      const double high =
          i + 1 < cells.size() ? std::sqrt(cells[i].lr * cells[i + 1].lr) : cells[i].lr * half;
      out.push_back({fit.cells[r].batch, r, cells[i].lr, low, high, cells[i].state, cells[i].loss,
                     cells[i].loss - lowest});
    }
  }
  return out;
}

Range excess_range(const std::vector<HeatCell>& cells) {
  double smallest = INFINITY;
  double largest = 0;
  for (const HeatCell& c : cells) {
    if (c.state != CellState::usable || c.excess <= 0) continue;
    smallest = std::min(smallest, c.excess);
    largest = std::max(largest, c.excess);
  }
  if (largest <= 0) return {1e-4, 1e-3};
  const double low = std::max(std::pow(10, std::floor(std::log10(smallest))), largest * 1e-3);
  return {low, std::max(largest, 10 * low)};
}

/// dL / d ln LR at cell `i` of its row: of the parabola through it and its neighbours, of the
/// straight line at an end.
double slope_at(const std::vector<Cell>& cells, std::size_t i) {
  const auto usable = [&](std::size_t k) {
    return k < cells.size() && cells[k].state == CellState::usable;
  };
  const auto slope = [&](std::size_t k) {
    return (cells[k + 1].loss - cells[k].loss) / std::log(cells[k + 1].lr / cells[k].lr);
  };
  const bool left = i > 0 && usable(i - 1);
  const bool right = usable(i + 1);
  if (!left) return right ? slope(i) : 0;
  if (!right) return slope(i - 1);
  const double before = std::log(cells[i].lr / cells[i - 1].lr);
  const double after = std::log(cells[i + 1].lr / cells[i].lr);
  return (after * slope(i - 1) + before * slope(i)) / (before + after);
}

/// A batch's loss between usable neighbours, a cubic in ln LR; NaN outside.
double loss_between(const std::vector<Cell>& cells, double lr) {
  for (std::size_t i = 0; i + 1 < cells.size(); ++i) {
    const Cell& a = cells[i];
    const Cell& b = cells[i + 1];
    if (lr < a.lr || lr > b.lr) continue;
    if (a.state != CellState::usable || b.state != CellState::usable) return NAN;
    const double width = std::log(b.lr / a.lr);
    const double t = std::log(lr / a.lr) / width;
    const double u = 1 - t;
    return u * u * (1 + 2 * t) * a.loss + t * t * (1 + 2 * u) * b.loss +
           width * t * u * (u * slope_at(cells, i) - t * slope_at(cells, i + 1));
  }
  return NAN;
}

/// The lines of equal loss above each batch's lowest.
void add_contours(const ScalingFit& fit, double low, double high, PlotCommand& plot) {
  const std::vector<double> rates = spread(low, high, 160, true);
  std::vector<double> rows;
  std::vector<std::vector<double>> excess;
  const std::size_t n = fit.cells.size();
  for (std::size_t r = 0; r < n; ++r) {
    const auto& cells = fit.cells[r].cells;
    double lowest = INFINITY;
    std::vector<double> row;
    for (const double lr : rates) {
      row.push_back(loss_between(cells, lr));
      if (row.back() < lowest) lowest = row.back();
    }
    for (double& value : row) value = value / lowest - 1;
    // The first and the last row reach to the frame.
    if (r == 0) rows.push_back(-0.5), excess.push_back(row);
    rows.push_back(static_cast<double>(r)), excess.push_back(row);
    if (r + 1 == n) rows.push_back(static_cast<double>(r) + 0.5), excess.push_back(row);
  }
  int dash = 1;
  for (const double percent : {0.25, 0.5, 1.0, 2.0}) {
    std::vector<std::string> lines;
    for (const Segment& s : contour(rates, rows, excess, percent / 100)) {
      lines.push_back(fmt::format("{} {}", s.x0, s.y0));
      lines.push_back(fmt::format("{} {}", s.x1, s.y1));
      lines.emplace_back("");
    }
    const std::string name = fmt::format("contour{}", dash);
    plot.add(name + "_halo", lines, "using 1:2 with lines lw 3.2 lc rgb '#70ffffff' notitle");
    plot.add(name, lines,
             fmt::format("using 1:2 with lines lw 1.6 dt {} lc rgb '#000000' title '+{:g} %'", dash,
                         percent));
    ++dash;
  }
}

}  // namespace

Picture loss_heatmap(const ScalingFit& fit) {
  const std::vector<HeatCell> cells = heat_cells(fit);
  const Range excess = excess_range(cells);
  double low = INFINITY;
  double high = 0;
  for (const HeatCell& c : cells) {
    low = std::min(low, c.low);
    high = std::max(high, c.high);
  }
  Picture picture;
  picture.name = "loss_heatmap";
  picture.width = 1300;
  picture.height = 200 + 80 * static_cast<int>(fit.cells.size());
  picture.data.columns = {"batch", "lr", "state", "loss", "loss_above_lowest"};
  const double pixels_per_ln = 0.78 * picture.width / std::log(high / low);

  std::vector<std::string> boxes;
  std::vector<std::string> hatched;
  std::vector<std::string> blank;
  std::vector<std::string> on_dark;
  std::vector<std::string> on_light;
  std::vector<std::string> upright_on_dark;
  std::vector<std::string> upright_on_light;
  for (const HeatCell& c : cells) {
    const std::string extent =
        fmt::format("{} {} {} {} {} {}", c.lr, c.row, c.low, c.high,
                    static_cast<double>(c.row) - 0.5, static_cast<double>(c.row) + 0.5);
    const bool usable = c.state == CellState::usable;
    picture.data.rows.push_back(
        {std::to_string(c.batch), shortest(c.lr),
         usable ? "usable" : (c.state == CellState::diverged ? "diverged" : "missing"),
         usable ? shortest(c.loss) : "", usable ? shortest(c.excess) : ""});
    if (c.state == CellState::missing) {
      blank.push_back(extent);
      continue;
    }
    if (c.state == CellState::diverged) {
      hatched.push_back(extent);
      continue;
    }
    const double shown = std::clamp(c.excess, excess.low, excess.high);
    boxes.push_back(fmt::format("{} {}", extent, shown));
    const double share = std::log(shown / excess.low) / std::log(excess.high / excess.low);
    const bool narrow = std::log(c.high / c.low) * pixels_per_ln < 58;
    auto& labels = share > 0.38 ? (narrow ? upright_on_dark : on_dark)
                                : (narrow ? upright_on_light : on_light);
    labels.push_back(fmt::format("{} {} \"{:.3f}\"", std::sqrt(c.low * c.high), c.row, c.loss));
  }
  std::vector<std::string> optima;
  for (std::size_t r = 0; r < fit.optima.size(); ++r) {
    const Optimum& o = fit.optima[r];
    if (o.state == OptimumState::bracketed) {
      optima.push_back(fmt::format("{} {}", o.lr(), static_cast<double>(r) - 0.34));
    }
  }
  PlotCommand plot;
  plot.add("boxes", boxes,
           "using 1:2:3:4:5:6:7 with boxxyerror lc palette fs solid noborder notitle");
  plot.add("outlines", boxes,
           "using 1:2:3:4:5:6 with boxxyerror lc rgb '#ffffff' lw 1 fs empty notitle");
  plot.add("hatched", hatched,
           "using 1:2:3:4:5:6 with boxxyerror lc rgb '#555555' lw 1 fs pattern 4 border "
           "title 'diverged'");
  plot.add("blank", blank,
           "using 1:2:3:4:5:6 with boxxyerror lc rgb '#bbbbbb' lw 1 fs empty border title "
           "'no finished trial'");
  add_contours(fit, low, high, plot);
  const std::string label = "using 1:2:3 with labels font ',11' textcolor rgb ";
  plot.add("on_dark", on_dark, label + "'#ffffff' notitle");
  plot.add("on_light", on_light, label + "'#000000' notitle");
  plot.add("upright_on_dark", upright_on_dark, label + "'#ffffff' rotate by 90 notitle");
  plot.add("upright_on_light", upright_on_light, label + "'#000000' rotate by 90 notitle");
  add_stars(plot, "optima", optima, "interpolated optimum");

  std::vector<std::string> rows;
  for (std::size_t r = 0; r < fit.cells.size(); ++r) {
    rows.push_back(fmt::format("\"{}\" {}", fit.cells[r].batch, r));
  }
  picture.script =
      plot.blocks() + kFrame + viridis_palette(true) +
      fmt::format(
          "set title \"Final validation loss (printed, nats per token); colour and lines: above "
          "the batch's lowest\"\n"
          "unset grid\nset border 0\nset tics scale 0\nset logscale x\nset logscale cb\n"
          "set xrange [{}:{}]\nset yrange [-0.5:{}]\nset cbrange [{}:{}]\n"
          "set xtics {}\nset mxtics 1\nset ytics ({})\nset cbtics {}\n"
          "set xlabel 'peak learning rate'\n"
          "set ylabel 'batch size (sequences per step)'\n"
          "set cblabel 'nats per token above the lowest' offset 1\n"
          "set rmargin 12\nset bmargin 6\n"
          "set key at graph 0.5, screen 0.035 center center horizontal Left reverse samplen 2\n",
          low, high, static_cast<double>(fit.cells.size()) - 0.5, excess.low, excess.high,
          decade_tics(low, high), join(rows, ", "), decade_tics(excess.low, excess.high)) +
      plot.command();
  return picture;
}

}  // namespace pg::post
