#include "postprocess/plots/plots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.hpp"

namespace pg::post {
namespace {

constexpr const char* kFrame =
    "set border 3 lc rgb '#444444'\n"
    "set tics nomirror\n"
    "set grid lc rgb '#dddddd' lt 1 lw 1\n"
    "set lmargin 11\n";

/// Tics at 1 and 3 times the powers of ten within the range, written out.
std::string rate_tics(double low, double high) {
  std::vector<std::string> tics;
  for (int exponent = -12; exponent <= 3; ++exponent) {
    for (const int factor : {1, 3}) {
      const double value = factor * std::pow(10.0, exponent);
      if (value >= low * 0.999 && value <= high * 1.001) {
        const double rounded = *parse_real(fmt::format("{:.0e}", value));
        tics.push_back(fmt::format("\"{}\" {:g}", shortest(rounded), rounded));
      }
    }
  }
  return "(" + join(tics, ", ") + ")";
}

std::string batch_tics(const std::vector<Optimum>& optima) {
  std::vector<std::string> tics;
  for (const Optimum& o : optima) tics.push_back(fmt::format("\"{0}\" {0}", o.batch));
  return "(" + join(tics, ", ") + ")";
}

struct Range {
  double low = 0;
  double high = 0;
};

Range batch_range(const std::vector<Optimum>& optima) {
  return {static_cast<double>(optima.front().batch) / 1.5,
          static_cast<double>(optima.back().batch) * 1.5};
}

std::string block(const std::string& name, const std::vector<std::string>& lines) {
  std::string text = "$" + name + " << EOD\n";
  for (const std::string& line : lines) text += line + "\n";
  return text + "EOD\n";
}

/// A plot command from the parts that have data.
class PlotCommand {
 public:
  /// Defines the data block and adds a part; without lines neither.
  void add(const std::string& name, const std::vector<std::string>& lines,
           const std::string& style) {
    if (lines.empty()) return;
    blocks_ += block(name, lines);
    parts_.push_back("$" + name + " " + style);
  }
  void key_only(const std::string& style) { parts_.push_back("NaN " + style); }
  [[nodiscard]] const std::string& blocks() const { return blocks_; }
  [[nodiscard]] std::string command() const { return "plot " + join(parts_, ", \\\n  ") + "\n"; }

 private:
  std::string blocks_;
  std::vector<std::string> parts_;
};

double error_quantile(const LossNoise& noise) {
  return noise.df > 0 ? student_quantile(0.975, noise.df) : 1.96;
}

const char* hypothesis_colour(std::size_t index) {
  constexpr const char* kColours[] = {colour::kVermilion, colour::kGreen, colour::kPurple,
                                      colour::kOrange};
  return kColours[index % 4];
}

// ---- lr_vs_batch

struct Centroid {
  double ln_b = 0;
  double ln_lr = 0;
  int n = 0;
};

Centroid centroid_of(const std::vector<Optimum>& optima) {
  Centroid centroid;
  for (const Optimum& o : optima) {
    if (o.state != OptimumState::bracketed) continue;
    centroid.ln_b += std::log(static_cast<double>(o.batch));
    centroid.ln_lr += o.ln_lr;
    ++centroid.n;
  }
  if (centroid.n > 0) {
    centroid.ln_b /= centroid.n;
    centroid.ln_lr /= centroid.n;
  }
  return centroid;
}

void add_optima(const ScalingFit& fit, PlotCommand& plot) {
  std::vector<std::string> argmins;
  std::vector<std::string> clean;
  std::vector<std::string> flagged;
  std::vector<std::string> arrows;
  std::vector<std::string> open;
  const double t = error_quantile(fit.noise);
  for (const Optimum& o : fit.optima) {
    if (o.state == OptimumState::no_data) continue;
    argmins.push_back(fmt::format("{} {}", o.batch, o.argmin_lr));
    const double reach = t * o.ln_lr_se;
    const std::string point = fmt::format("{} {} {} {}", o.batch, o.lr(), std::exp(o.ln_lr - reach),
                                          std::exp(o.ln_lr + reach));
    if (o.state == OptimumState::bracketed) {
      (o.beside_diverged || o.non_unimodal ? flagged : clean).push_back(point);
    } else if (o.state == OptimumState::not_determined) {
      open.push_back(point);
    } else {
      const double up = o.state == OptimumState::edge_high ? 1 : -1;
      arrows.push_back(
          fmt::format("{} {} 0 {}", o.batch, o.argmin_lr, o.argmin_lr * (std::exp(up * 0.6) - 1)));
    }
  }
  plot.add("argmins", argmins,
           fmt::format("using 1:2 with points pt 4 ps 2.2 lw 1 lc rgb '{}' title 'lowest cell of "
                       "the grid and its refinement'",
                       colour::kGrey));
  plot.add("arrows", arrows,
           fmt::format("using 1:2:3:4 with vectors head filled size screen 0.012,20 lw 2.5 lc rgb "
                       "'{}' title 'on the edge of the grid: only a bound'",
                       colour::kBlack));
  plot.add("open", open,
           fmt::format("using 1:2 with points pt 2 ps 1.8 lw 2 lc rgb '{}' title 'not determined'",
                       colour::kGrey));
  plot.add("clean", clean,
           fmt::format("using 1:2:3:4 with yerrorbars pt 7 ps 1.5 lw 2 lc rgb '{}' title "
                       "'interpolated optimum, 95 % range'",
                       colour::kBlack));
  plot.add("flagged", flagged,
           fmt::format("using 1:2:3:4 with yerrorbars pt 6 ps 1.7 lw 2 lc rgb '{}' title 'optimum "
                       "beside a diverged trial, or several dips'",
                       colour::kBlack));
}

CsvTable lr_table(const std::vector<config::Hypothesis>& hypotheses, const ScalingFit& fit) {
  CsvTable table;
  table.columns = {"batch",     "state",  "lr",        "lr_low95",  "lr_high95",
                   "argmin_lr", "fit_lr", "fit_low95", "fit_high95"};
  for (const auto& h : hypotheses) table.columns.push_back("lr_" + h.name);
  const ExponentEstimate& headline = fit.headline();
  const Centroid centroid = centroid_of(fit.optima);
  const double t = error_quantile(fit.noise);
  for (const Optimum& o : fit.optima) {
    const auto b = static_cast<double>(o.batch);
    const bool has = o.state != OptimumState::no_data;
    const bool range = o.state == OptimumState::bracketed && o.ln_lr_se > 0;
    const auto when = [](bool holds, double value) {
      return holds && std::isfinite(value) ? shortest(value) : std::string();
    };
    const Interval band = headline.ok() ? headline.band_at(b) : Interval{};
    std::vector<std::string> row = {std::to_string(o.batch),
                                    to_string(o.state),
                                    when(has, o.lr()),
                                    when(range, std::exp(o.ln_lr - t * o.ln_lr_se)),
                                    when(range, std::exp(o.ln_lr + t * o.ln_lr_se)),
                                    when(has, o.argmin_lr),
                                    when(headline.ok(), std::exp(headline.ln_lr_at(b))),
                                    when(headline.ok(), std::exp(band.low)),
                                    when(headline.ok(), std::exp(band.high))};
    for (const auto& h : hypotheses) {
      row.push_back(
          when(centroid.n > 0, std::exp(centroid.ln_lr + h.beta * (std::log(b) - centroid.ln_b))));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// ---- loss_heatmap

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

}  // namespace

Picture lr_vs_batch(const RunResults& results, const ScalingFit& fit) {
  const auto& hypotheses = results.study.analysis.hypotheses;
  const ExponentEstimate& headline = fit.headline();
  const Centroid centroid = centroid_of(fit.optima);
  const Range x = batch_range(fit.optima);
  std::vector<double> batches;
  for (int i = 0; i <= 60; ++i) batches.push_back(x.low * std::pow(x.high / x.low, i / 60.0));

  PlotCommand plot;
  std::vector<std::string> band;
  std::vector<std::string> line;
  for (const double b : batches) {
    if (!headline.ok()) break;
    const Interval ci = headline.band_at(b);
    band.push_back(fmt::format("{} {} {}", b, std::exp(ci.low), std::exp(ci.high)));
    line.push_back(fmt::format("{} {}", b, std::exp(headline.ln_lr_at(b))));
  }
  plot.add("band", band,
           fmt::format("using 1:2:3 with filledcurves lc rgb '{}' fs transparent solid 0.30 "
                       "noborder title '95 % band of the fit'",
                       colour::kSkyBlue));
  for (std::size_t i = 0; i < hypotheses.size() && centroid.n > 0; ++i) {
    std::vector<std::string> theory;
    for (const double b : {x.low, x.high}) {
      theory.push_back(fmt::format(
          "{} {}", b,
          std::exp(centroid.ln_lr + hypotheses[i].beta * (std::log(b) - centroid.ln_b))));
    }
    plot.add(
        fmt::format("theory{}", i), theory,
        fmt::format("using 1:2 with lines lw 2 dt {} lc rgb '{}' title \"{}: slope {:.3f}\"", i + 2,
                    hypothesis_colour(i), literal(hypotheses[i].name), hypotheses[i].beta));
  }
  plot.add("line", line,
           fmt::format("using 1:2 with lines lw 3 lc rgb '{}' title \"{}\"", colour::kBlue,
                       headline.label));
  add_optima(fit, plot);

  double low = INFINITY;
  double high = 0;
  for (const Optimum& o : fit.optima) {
    if (o.state == OptimumState::no_data) continue;
    const double reach = std::min(error_quantile(fit.noise) * o.ln_lr_se, fit.grid_step);
    low = std::min({low, o.argmin_lr, o.lr() * std::exp(-reach)});
    high = std::max({high, o.argmin_lr, o.lr() * std::exp(reach)});
  }
  if (high == 0) low = high = 1e-3;
  low /= 2.5;
  high *= 2.5;
  std::string title = "Best learning rate by batch size: no exponent";
  if (headline.ok()) {
    title =
        fmt::format("Best learning rate by batch size: β = {:.3f}, 95 % interval [{:.3f}, {:.3f}]",
                    headline.beta, headline.beta_ci95.low, headline.beta_ci95.high);
  }
  if (fit.line.r2) title += fmt::format("; R^2 of the line {:.3f}", *fit.line.r2);
  Picture picture;
  picture.name = "lr_vs_batch";
  picture.height = 850;
  picture.script =
      plot.blocks() + kFrame +
      fmt::format(
          "set title \"{}\"\n"
          "set logscale xy\nset xrange [{}:{}]\nset yrange [{}:{}]\n"
          "set xtics {}\nset ytics {}\nset mytics 1\nset mxtics 1\n"
          "set xlabel 'batch size (sequences per step)'\n"
          "set ylabel 'peak learning rate'\n"
          "set bmargin 9\nset key at screen 0.5, 0.015 center bottom Left reverse samplen 3 "
          "spacing 1.15 vertical maxrows 4\n",
          title, x.low, x.high, low, high, batch_tics(fit.optima), rate_tics(low, high)) +
      plot.command();
  picture.data = lr_table(hypotheses, fit);
  return picture;
}

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
  picture.height = 160 + 85 * static_cast<int>(fit.cells.size());
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
      optima.push_back(fmt::format("{} {}", o.lr(), static_cast<double>(r) - 0.36));
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
  const std::string label = "using 1:2:3 with labels font ',11' textcolor rgb ";
  plot.add("on_dark", on_dark, label + "'#ffffff' notitle");
  plot.add("on_light", on_light, label + "'#000000' notitle");
  plot.add("upright_on_dark", upright_on_dark, label + "'#ffffff' rotate by 90 notitle");
  plot.add("upright_on_light", upright_on_light, label + "'#000000' rotate by 90 notitle");
  plot.add("optima", optima,
           "using 1:2 with points pt 9 ps 1.9 lc rgb '#000000' title 'interpolated optimum'");
  plot.add("optima_core", optima, "using 1:2 with points pt 9 ps 1.1 lc rgb '#ffffff' notitle");

  std::vector<std::string> rows;
  for (std::size_t r = 0; r < fit.cells.size(); ++r) {
    rows.push_back(fmt::format("\"{}\" {}", fit.cells[r].batch, r));
  }
  picture.script =
      plot.blocks() + kFrame + viridis_palette(true) +
      fmt::format(
          "set title \"Final validation loss (printed, nats per token); colour: loss above "
          "the batch's lowest\"\n"
          "unset grid\nset border 0\nset tics scale 0\nset logscale x\nset logscale cb\n"
          "set xrange [{}:{}]\nset yrange [-0.5:{}]\nset cbrange [{}:{}]\n"
          "set xtics {}\nset mxtics 1\nset ytics ({})\nset format cb '%g'\n"
          "set xlabel 'peak learning rate'\n"
          "set ylabel 'batch size (sequences per step)'\n"
          "set cblabel 'loss above the lowest of the batch (nats per token)' offset 1\n"
          "set rmargin 12\nset bmargin 6\n"
          "set key at graph 0.5, screen 0.035 center center horizontal Left reverse samplen 2\n",
          low, high, static_cast<double>(fit.cells.size()) - 0.5, excess.low, excess.high,
          rate_tics(low, high), join(rows, ", ")) +
      plot.command();
  return picture;
}

namespace {

struct ErrorRange {
  double low = 0;
  double high = 0;
};

ErrorRange transfer_range(const ScalingFit& fit) {
  ErrorRange range{-2 * fit.noise.sd, 2 * fit.noise.sd};
  for (const TransferResult& r : fit.transfer.results) {
    for (const TransferError& e : r.errors) {
      if (e.source == TransferSource::diverged || e.source == TransferSource::missing) continue;
      range.low = std::min(range.low, e.error);
      range.high = std::max(range.high, e.error);
    }
  }
  const double margin = 0.12 * std::max(range.high - range.low, 1e-6);
  return {range.low - margin, range.high + margin};
}

void add_rule(const TransferResult& r, std::size_t index, const ErrorRange& range,
              PlotCommand& plot) {
  std::vector<std::string> joined;
  std::vector<std::string> measured;
  std::vector<std::string> interpolated;
  std::vector<std::string> diverged;
  for (const TransferError& e : r.errors) {
    const std::string point = fmt::format("{} {}", e.batch, e.error);
    if (e.source == TransferSource::run) measured.push_back(point);
    if (e.source == TransferSource::interpolated) interpolated.push_back(point);
    if (e.source == TransferSource::run || e.source == TransferSource::interpolated) {
      joined.push_back(point);
    }
    if (e.source == TransferSource::diverged) {
      diverged.push_back(
          fmt::format("{} {}", e.batch, range.high - 0.03 * (range.high - range.low)));
    }
  }
  const char* rgb = hypothesis_colour(index);
  const int filled = index == 0 ? 7 : 5;
  const std::string id = fmt::format("{}_{}", r.rule.anchor, index);
  plot.add("line_" + id, joined,
           fmt::format("using 1:2 with lines lw 2 dt {} lc rgb '{}' notitle", index + 1, rgb));
  plot.add("run_" + id, measured,
           fmt::format("using 1:2 with points pt {} ps 1.6 lc rgb '{}' title \"{} rule, β = "
                       "{:.3f}\"",
                       filled, rgb, literal(r.rule.hypothesis), r.rule.beta));
  plot.add("between_" + id, interpolated,
           fmt::format("using 1:2 with points pt {} ps 1.6 lw 2 lc rgb '{}' title \"{} rule, "
                       "interpolated\"",
                       filled - 1, rgb, literal(r.rule.hypothesis)));
  plot.add("diverged_" + id, diverged,
           fmt::format("using 1:2 with points pt 9 ps 1.8 lc rgb '{}' title \"{} rule diverged\"",
                       rgb, literal(r.rule.hypothesis)));
}

}  // namespace

Picture transfer_comparison(const ScalingFit& fit) {
  const TransferTest& test = fit.transfer;
  Picture picture;
  picture.name = "transfer_comparison";
  picture.width = 1300;
  picture.height = 680;
  picture.data.columns = {"anchor", "anchor_lr", "rule", "beta", "batch",
                          "lr",     "source",    "loss", "error"};
  for (const TransferResult& r : test.results) {
    for (const TransferError& e : r.errors) {
      const bool has = e.source == TransferSource::run || e.source == TransferSource::interpolated;
      picture.data.rows.push_back({r.rule.anchor, shortest(r.rule.anchor_lr), r.rule.hypothesis,
                                   shortest(r.rule.beta), std::to_string(e.batch), shortest(e.lr),
                                   to_string(e.source), has ? shortest(e.loss) : "",
                                   has ? shortest(e.error) : ""});
    }
  }
  if (test.status != "ok") {
    picture.script = fmt::format(
        "unset border\nunset tics\nunset key\nset xrange [0:1]\nset yrange [0:1]\n"
        "set label 1 \"Transfer test {}\" at 0.5,0.5 center\nplot NaN notitle\n",
        literal(test.status));
    return picture;
  }
  const ErrorRange range = transfer_range(fit);
  const Range x = batch_range(fit.optima);
  std::string blocks;
  std::string panels;
  for (std::size_t first = 0; first + 1 < test.results.size(); first += 2) {
    const TransferRule& rule = test.results[first].rule;
    PlotCommand plot;
    if (fit.noise.sd > 0) {
      plot.add("noise_" + rule.anchor,
               {fmt::format("{} {} {}", x.low, -fit.noise.sd, fit.noise.sd),
                fmt::format("{} {} {}", x.high, -fit.noise.sd, fit.noise.sd)},
               "using 1:2:3 with filledcurves lc rgb '#bbbbbb' fs transparent solid 0.5 noborder "
               "title 'noise of one loss (1 sd)'");
    }
    add_rule(test.results[first], 0, range, plot);
    add_rule(test.results[first + 1], 1, range, plot);
    blocks += plot.blocks();
    const std::string which =
        rule.anchor == "given" ? "the given learning rate" : "the optimum found there";
    panels += fmt::format("set title \"anchor: {}, {:.3g} at batch {}\"\n", which, rule.anchor_lr,
                          test.anchor_batch) +
              plot.command();
  }
  picture.script =
      blocks + kFrame +
      fmt::format(
          "set multiplot layout 1,{} title 'Loss given up by transferring the learning rate from "
          "batch {}'\n"
          "set logscale x\nset xrange [{}:{}]\nset yrange [{}:{}]\nset xtics {}\n"
          "set mxtics 1\nset xzeroaxis lt 1 lw 1.5 lc rgb '#444444'\n"
          "set xlabel 'batch size (sequences per step)'\n"
          "set ylabel 'loss above the batch minimum (nats per token)'\n"
          "set bmargin 9\nset key at graph 0.5, -0.19 center top Left reverse samplen 2 "
          "vertical maxrows 3\n",
          test.results.size() / 2, test.anchor_batch, x.low, x.high, range.low, range.high,
          batch_tics(fit.optima)) +
      panels + "unset multiplot\n";
  return picture;
}

Picture convergence_curves(const RunResults& results, const ScalingFit& fit) {
  Picture picture;
  picture.name = "convergence_curves";
  picture.data.columns = {"batch", "lr", "trial", "step", "val_loss"};
  PlotCommand plot;
  for (std::size_t r = 0; r < fit.optima.size(); ++r) {
    const Optimum& o = fit.optima[r];
    const Cell* cell =
        o.state == OptimumState::no_data ? nullptr : find_cell(fit.cells, o.batch, o.argmin_lr);
    if (cell == nullptr || cell->trials.empty()) continue;
    const record::TrialRecord& trial = results.trials[cell->trials.front()];
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < trial.val_step.size() && i < trial.val_loss.size(); ++i) {
      if (!std::isfinite(trial.val_loss[i])) continue;
      lines.push_back(fmt::format("{} {}", trial.val_step[i], trial.val_loss[i]));
      picture.data.rows.push_back({std::to_string(o.batch), shortest(cell->lr), trial.summary.id,
                                   std::to_string(trial.val_step[i]), shortest(trial.val_loss[i])});
    }
    // The lightest end of viridis is hard to see on white.
    const double share = fit.optima.size() > 1 ? 0.88 * static_cast<double>(r) /
                                                     static_cast<double>(fit.optima.size() - 1)
                                               : 0;
    constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};
    const std::size_t every = std::max<std::size_t>(1, lines.size() / 10);
    plot.add(fmt::format("batch{}", r), lines,
             fmt::format("using 1:2 with linespoints pt {} ps 1.1 pi {} lw 2.2 lc rgb '{}' title "
                         "'batch {}, learning rate {:.3g}'",
                         kMarks[r % 7], every, viridis(share), o.batch, cell->lr));
  }
  const bool empty = plot.blocks().empty();
  if (empty) plot.key_only("notitle");
  picture.script = plot.blocks() + kFrame +
                   "set title 'Validation loss of the best learning rate of each batch size'\n"
                   "set xlabel 'step'\nset ylabel 'validation loss (nats per token)'\n"
                   "set key top right Left reverse samplen 3 spacing 1.2 opaque\n" +
                   (empty ? "set xrange [0:1]\nset yrange [0:1]\n" : "") + plot.command();
  return picture;
}

void draw_plots(const std::filesystem::path& folder, const RunResults& results,
                const ScalingFit& fit) {
  draw(folder, lr_vs_batch(results, fit));
  draw(folder, loss_heatmap(fit));
  draw(folder, transfer_comparison(fit));
  draw(folder, convergence_curves(results, fit));
}

}  // namespace pg::post
