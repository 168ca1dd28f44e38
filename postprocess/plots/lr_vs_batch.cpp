#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {
namespace {

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
  std::vector<std::string> edges;
  const double t = fit.noise.quantile95();
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
      edges.push_back(point);
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
                       "'{}' notitle",
                       colour::kBlack));
  plot.add("edges", edges,
           fmt::format("using 1:2 with points pt 6 ps 1.7 lw 2.5 lc rgb '{}' title 'on the edge of "
                       "the grid: only a bound'",
                       colour::kBlack));
  plot.add("open", open,
           fmt::format("using 1:2 with points pt 2 ps 1.8 lw 2 lc rgb '{}' title 'not determined'",
                       colour::kGrey));
  plot.add("clean", clean,
           fmt::format("using 1:2:3:4 with yerrorbars pt 7 ps 1.5 lw 2 lc rgb '{}' title "
                       "'interpolated optimum, 95 % range'",
                       colour::kBlack));
  plot.add(
      "flagged", flagged,
      fmt::format("using 1:2:3:4 with yerrorbars pt 12 ps 1.9 lw 2 lc rgb '{}' title 'beside a "
                  "diverged trial, or several dips'",
                  colour::kBlack));
}

CsvTable lr_table(const std::vector<config::Hypothesis>& hypotheses, const ScalingFit& fit) {
  CsvTable table;
  table.columns = {"batch",     "state",  "lr",        "lr_low95",  "lr_high95",
                   "argmin_lr", "fit_lr", "fit_low95", "fit_high95"};
  for (const auto& h : hypotheses) table.columns.push_back("lr_" + h.name);
  const ExponentEstimate& headline = fit.headline();
  const Centroid centroid = centroid_of(fit.optima);
  for (const Optimum& o : fit.optima) {
    const auto b = static_cast<double>(o.batch);
    const bool has = o.state != OptimumState::no_data;
    const auto ci = o.lr_ci95(fit.noise);
    const auto when = [](bool holds, double value) {
      return holds && std::isfinite(value) ? shortest(value) : std::string();
    };
    const Interval band = headline.ok() ? headline.band_at(b) : Interval{};
    std::vector<std::string> row = {std::to_string(o.batch),
                                    to_string(o.state),
                                    when(has, o.lr()),
                                    when(ci.has_value(), ci ? ci->low : 0),
                                    when(ci.has_value(), ci ? ci->high : 0),
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
  std::string label = headline.label;
  if (headline.ok()) {
    label += fmt::format(": β = {:.3f} [{:.3f}, {:.3f}]", headline.beta, headline.beta_ci95.low,
                         headline.beta_ci95.high);
  }
  plot.add("line", line,
           fmt::format("using 1:2 with lines lw 3 lc rgb '{}' title \"{}\"", colour::kBlue, label));
  add_optima(fit, plot);

  double low = INFINITY;
  double high = 0;
  for (const Optimum& o : fit.optima) {
    if (o.state == OptimumState::no_data) continue;
    const double reach = std::min(fit.noise.quantile95() * o.ln_lr_se, fit.grid_step);
    low = std::min({low, o.argmin_lr, o.lr() * std::exp(-reach)});
    high = std::max({high, o.argmin_lr, o.lr() * std::exp(reach)});
  }
  if (high == 0) low = high = 1e-3;
  low /= 2.5;
  high *= 2.5;
  std::string title = "Best learning rate by batch size";
  if (!headline.ok()) title += ": no exponent";
  if (fit.line.r2)
    title += fmt::format(" (R^2 of the line through the optima {:.3f})", *fit.line.r2);
  Picture picture;
  picture.name = "lr_vs_batch";
  picture.height = 870;
  picture.script =
      plot.blocks() + kFrame +
      fmt::format(
          "set title \"{}\"\n"
          "set logscale xy\nset xrange [{}:{}]\nset yrange [{}:{}]\n"
          "set xtics {}\nset ytics {}\nset mytics 1\nset mxtics 1\n"
          "set xlabel 'batch size (sequences per step)'\n"
          "set ylabel 'peak learning rate'\n"
          "set bmargin 11\nset key at screen 0.5, 0.015 center bottom Left reverse samplen 3 "
          "spacing 1.15 vertical maxrows 5\n",
          title, x.low, x.high, low, high, batch_tics(fit.optima), decade_tics(low, high)) +
      plot.command();
  picture.data = lr_table(hypotheses, fit);
  return picture;
}

}  // namespace pg::post
