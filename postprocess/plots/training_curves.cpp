#include "postprocess/plots/training_curves.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kMostPoints = 200;
constexpr std::size_t kKeyColumns = 3;
constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};

/// Mean over seeds at one step, with its standard error (0 with one seed).
struct MeanPoint {
  double step = 0;
  double mean = 0;
  double se = 0;
  std::size_t n = 0;
};

/// Means of neighbouring steps, at most kMostPoints of them.
LossSeries thinned(const LossSeries& series) {
  const std::size_t n = std::min(series.step.size(), series.loss.size());
  const std::size_t group = (n + kMostPoints - 1) / kMostPoints;
  LossSeries out;
  for (std::size_t begin = 0; begin < n; begin += group) {
    const std::size_t end = std::min(begin + group, n);
    double loss = 0;
    for (std::size_t i = begin; i < end; ++i) loss += series.loss[i];
    out.step.push_back(series.step[end - 1]);
    out.loss.push_back(loss / static_cast<double>(end - begin));
  }
  return out;
}

/// Over the steps that every seed has with a finite loss.
std::vector<MeanPoint> mean_series(const std::vector<LossSeries>& seeds) {
  std::map<double, std::vector<double>> at_step;
  for (const LossSeries& whole : seeds) {
    const LossSeries series = thinned(whole);
    for (std::size_t i = 0; i < series.step.size(); ++i) {
      if (std::isfinite(series.loss[i])) at_step[series.step[i]].push_back(series.loss[i]);
    }
  }
  std::vector<MeanPoint> out;
  for (const auto& [step, losses] : at_step) {
    if (losses.size() != seeds.size()) continue;
    const auto n = static_cast<double>(losses.size());
    double sum = 0;
    for (const double loss : losses) sum += loss;
    double squares = 0;
    for (const double loss : losses) squares += (loss - sum / n) * (loss - sum / n);
    out.push_back({step, sum / n, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0, losses.size()});
  }
  return out;
}

struct MeanArm {
  std::string label;
  std::vector<MeanPoint> train;
  std::vector<MeanPoint> validation;
};

/// From the lowest loss to the highest that an arm has after a twentieth of its steps.
Range loss_range(const std::vector<MeanArm>& arms) {
  std::vector<double> shown;
  for (const MeanArm& arm : arms) {
    for (const auto* series : {&arm.train, &arm.validation}) {
      if (series->empty()) continue;
      const double start = 0.05 * series->back().step;
      for (const MeanPoint& p : *series) {
        if (p.step >= start) shown.insert(shown.end(), {p.mean - p.se, p.mean + p.se});
      }
    }
  }
  return range_of(shown, false);
}

std::string panel(const std::vector<MeanArm>& arms, bool validation, const Range& y) {
  PlotCommand plot;
  const std::string kind = validation ? "val" : "train";
  double last = 1;
  for (std::size_t a = 0; a < arms.size(); ++a) {
    const std::vector<MeanPoint>& series = validation ? arms[a].validation : arms[a].train;
    std::vector<std::string> line;
    std::vector<std::string> band;
    for (const MeanPoint& p : series) {
      last = std::max(last, p.step);
      // Cut off at the frame here: gnuplot draws a filled band beyond it as a wedge.
      line.push_back(fmt::format("{} {}", p.step, p.mean));
      if (p.n > 1) {
        band.push_back(fmt::format("{} {} {}", p.step, std::min(p.mean - p.se, y.high),
                                   std::min(p.mean + p.se, y.high)));
      }
    }
    const std::string rgb = sequence_colour(a, arms.size());
    plot.add(fmt::format("{}_band{}", kind, a), band,
             fmt::format("using 1:2:3 with filledcurves lc rgb '{}' fs transparent solid 0.22 "
                         "noborder notitle",
                         rgb));
    const std::size_t every = std::max<std::size_t>(1, line.size() / 8);
    plot.add(fmt::format("{}_line{}", kind, a), line,
             fmt::format("using 1:2 with linespoints pt {} ps 1 pi {} lw 2 lc rgb '{}' "
                         "notitle",
                         kMarks[a % 7], every, rgb));
  }
  return fmt::format("set title '{}'\nset ylabel '{}'\n",
                     validation ? "Validation loss" : "Training loss",
                     validation ? "loss (nats per token)" : "") +
         axis('x', {0, last}, false) + axis('y', y, false) + plot.blocks() + plot.command();
}

}  // namespace

Picture training_curves(const std::string& name, const TrainingCurvesData& data) {
  Picture picture;
  picture.name = name;
  picture.width = 1300;
  const double key_height = 26.0 * std::ceil(static_cast<double>(data.arms.size()) / kKeyColumns);
  picture.height = 665 + static_cast<int>(key_height);
  picture.data.columns = {"arm", "series", "step", "mean_loss", "standard_error", "n_seeds"};
  std::vector<MeanArm> arms;
  for (const CurveArm& arm : data.arms) {
    arms.push_back({arm.label, mean_series(arm.train), mean_series(arm.validation)});
    for (const bool validation : {true, false}) {
      for (const MeanPoint& p : validation ? arms.back().validation : arms.back().train) {
        picture.data.rows.push_back({arm.label, validation ? "validation" : "training",
                                     shortest(p.step), shortest(p.mean),
                                     p.n > 1 ? shortest(p.se) : "", std::to_string(p.n)});
      }
    }
  }
  const Range y = loss_range(arms);
  const bool any_train =
      std::any_of(arms.begin(), arms.end(), [](const MeanArm& arm) { return !arm.train.empty(); });
  std::vector<std::string> key;
  for (std::size_t a = 0; a < arms.size(); ++a) {
    key.push_back(fmt::format("with linespoints pt {} ps 1 lw 2 lc rgb '{}' title \"{}\"",
                              kMarks[a % 7], sequence_colour(a, arms.size()),
                              literal(arms[a].label)));
  }
  const double key_top = (key_height + 16) / picture.height;
  const double bottom = key_top + 85.0 / picture.height;
  picture.script =
      std::string(kFrame) +
      fmt::format("set xlabel 'step'\nunset key\nset multiplot title \"{}\" font ',16'\n",
                  literal(data.title)) +
      panel_at(0.07, any_train ? 0.5 : 0.97, bottom, 0.87) + panel(arms, true, y) +
      (any_train ? panel_at(0.56, 0.97, bottom, 0.87) + panel(arms, false, y) : "") +
      key_panel(key, key_top, kKeyColumns) + "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
