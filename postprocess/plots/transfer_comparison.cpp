#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {

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
    picture.height = 300;
    picture.script = empty_picture("Transfer test " + test.status);
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
          "set bmargin 9\nset key at graph 0.5, -0.26 center top Left reverse samplen 2 "
          "vertical maxrows 3\n",
          test.results.size() / 2, test.anchor_batch, x.low, x.high, range.low, range.high,
          batch_tics(fit.optima)) +
      panels + "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
