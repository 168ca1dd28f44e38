#include "postprocess/plots/gradient_tails.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"

namespace pg::post {
namespace {

using measure::kHillRatios;

constexpr std::size_t kKeyColumns = 3;
constexpr std::size_t kCurvePoints = 50;
constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};

struct ReferenceCurve {
  const char* name;
  const char* title;
  double (*alpha)(double k_ratio);
  int dash;
};
constexpr ReferenceCurve kCurves[] = {
    {"gaussian", "Gaussian coordinates", measure::hill_of_gaussian, 2},
    {"laplace", "Laplace coordinates", measure::hill_of_laplace, 4}};

}  // namespace

Picture gradient_tails(const TailAnalysis& analysis) {
  Picture picture;
  picture.name = "gradient_tails";
  picture.data.columns = {"kind", "name", "k_ratio", "hill_alpha", "low", "high", "n_steps"};
  PlotCommand plot;
  std::vector<std::string> key;
  std::vector<double> heights;
  for (const ReferenceCurve& curve : kCurves) {
    std::vector<std::string> line;
    for (const double k : spread(kHillRatios.front(), kHillRatios.back(), kCurvePoints, true)) {
      heights.push_back(curve.alpha(k));
      line.push_back(fmt::format("{} {}", k, heights.back()));
    }
    const std::string style = fmt::format("lw 2.5 dt {} lc rgb '{}'", curve.dash, colour::kBlack);
    plot.add(curve.name, line, "using 1:2 with lines " + style + " notitle");
    key.push_back(fmt::format("with lines {} title '{}'", style, curve.title));
    for (const double k : kHillRatios) {
      picture.data.rows.push_back(
          {"curve", curve.name, shortest(k), shortest(curve.alpha(k)), "", "", ""});
    }
  }
  const std::size_t n = std::min(analysis.trials.size(), kMostTailsDrawn);
  for (std::size_t t = 0; t < n; ++t) {
    const TrialTails& trial = analysis.trials[t];
    std::vector<std::string> line;
    for (std::size_t i = 0; i < kHills; ++i) {
      const TailSummary& s = trial.gradient.hill[i];
      if (s.n == 0) continue;
      heights.push_back(s.median);
      line.push_back(fmt::format("{} {}", kHillRatios[i], s.median));
      picture.data.rows.push_back({"trial", trial.id, shortest(kHillRatios[i]), shortest(s.median),
                                   shortest(s.low), shortest(s.high), std::to_string(s.n)});
    }
    const std::string style = fmt::format("with linespoints pt {} ps 1.1 lw 2 lc rgb '{}'",
                                          kMarks[t % 7], sequence_colour(t, n));
    plot.add(fmt::format("trial{}", t), line, "using 1:2 " + style + " notitle");
    key.push_back(fmt::format("{} title \"{}\"", style, literal(trial.id)));
  }
  const double key_height =
      26.0 * std::ceil(static_cast<double>(key.size()) / static_cast<double>(kKeyColumns));
  picture.height = 700 + static_cast<int>(key_height);
  const double key_top = (key_height + 16) / picture.height;
  std::string title = "Hill's alpha of the gradient, median over the recorded steps";
  if (n < analysis.trials.size()) {
    title += fmt::format(" (the first {} of {} trials)", n, analysis.trials.size());
  }
  picture.script =
      std::string(kFrame) +
      fmt::format("unset key\nset multiplot title \"{}\" font ',16'\n", literal(title)) +
      panel_at(0.08, 0.97, key_top + 85.0 / picture.height, 0.91) +
      "set xlabel 'k: the share of the largest coordinates'\nset ylabel \"Hill's alpha\"\n" +
      axis('x', range_of({kHillRatios.front(), kHillRatios.back()}, true, 0.03), true) +
      axis('y', range_of(heights, false), false) + plot.blocks() + plot.command() +
      key_panel(key, key_top, kKeyColumns) + "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
