// The pictures of a comparison of gates.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.hpp"
#include "postprocess/fits/gating_arms.hpp"
#include "postprocess/plots/alpha_vs_loss.hpp"
#include "postprocess/plots/forest.hpp"
#include "postprocess/plots/plots.hpp"
#include "postprocess/plots/power.hpp"
#include "postprocess/plots/training_curves.hpp"
#include "postprocess/stats/power.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kMostPanels = 12;
constexpr std::size_t kMostCurves = 6;  ///< as many as distinct_colour tells apart
constexpr std::size_t kMostSeeds = 64;

Picture relative_differences(const GatingAnalysis& a) {
  ForestData data;
  data.title = "Loss of each arm relative to its anchor (" + a.anchor + "), 95 % intervals";
  data.x_label = "relative difference in loss (%); left of 0 is better";
  for (const ArmComparison& c : a.comparisons) {
    ForestRow row;
    row.label = a.blocks.size() > 1 ? a.blocks[c.block].label + ": " + c.label : c.label;
    if (c.measured()) {
      row.estimate = 100 * c.test.estimate;
      if (c.test.ci95.finite()) {
        row.interval = {100 * c.test.ci95.low, 100 * c.test.ci95.high};
      }
      row.strong = c.p_holm < 0.05;
    }
    row.note = to_string(c.status);
    data.rows.push_back(std::move(row));
  }
  const double margin = 100 * a.table.analysis.equivalence_margin;
  data.references = {{"equal", 0}, {"margin", -margin}, {"margin", margin}};
  return forest("relative_differences", data);
}

/// Mean over the usable seeds of an arm. Its interval is that of the difference from the anchor:
/// what a seed adds to both is not in it.
AlphaPoint alpha_point(const GatingAnalysis& a, std::size_t arm, double alpha) {
  AlphaPoint point;
  point.alpha = alpha;
  point.n_seeds = 0;
  for (const std::size_t r : a.arms[arm].rows) {
    if (!a.table.rows[r].usable()) continue;
    point.loss += a.table.rows[r].loss;
    ++point.n_seeds;
  }
  point.loss /= static_cast<double>(point.n_seeds);
  for (const ArmComparison& c : a.comparisons) {
    if (c.arm != arm || !c.test.ci95.finite() || c.test.df < 1) continue;
    point.ci95 = {point.loss + c.anchor_loss * (c.test.ci95.low - c.test.estimate),
                  point.loss + c.anchor_loss * (c.test.ci95.high - c.test.estimate)};
  }
  return point;
}

AlphaGroup alpha_group(const GatingAnalysis& a, const AlphaOptimum& o) {
  AlphaGroup group;
  group.label = a.blocks[o.block].label;
  double anchor = 0;
  std::size_t n_anchor = 0;
  for (const std::size_t i : a.blocks[o.block].arms) {
    const Arm& arm = a.arms[i];
    const auto alpha = parse_real(value_at(arm.settings, "gate.alpha"));
    if (!alpha) {
      for (const std::size_t r : arm.rows) {
        if (!a.table.rows[r].usable()) continue;
        anchor += a.table.rows[r].loss;
        ++n_anchor;
      }
    } else if (gate_of(arm) == o.gate &&
               std::find(o.alphas.begin(), o.alphas.end(), *alpha) != o.alphas.end()) {
      group.points.push_back(alpha_point(a, i, *alpha));
    }
  }
  if (n_anchor > 0) group.anchor_loss = anchor / static_cast<double>(n_anchor);
  if (!o.parabola) return group;
  group.quadratic.label = "quadratic";
  group.quadratic.x = spread(o.alphas.front(), o.alphas.back(), 60, false);
  for (const double alpha : group.quadratic.x) group.quadratic.y.push_back(o.parabola->at(alpha));
  if (o.status != "determined") return group;
  group.best_alpha = o.alpha;
  group.best_loss = o.parabola->at(o.alpha);
  group.best_ci95 = o.ci95;
  return group;
}

Picture alpha_curves(const GatingAnalysis& a) {
  AlphaVsLossData data;
  const bool one_gate = std::all_of(a.optima.begin(), a.optima.end(), [&](const AlphaOptimum& o) {
    return o.gate == a.optima.front().gate;
  });
  data.title = "Loss against the gate's mixing parameter";
  if (one_gate) data.title += ", " + a.optima.front().gate;
  data.x_label = "α";
  data.y_label = "final validation loss (nats per token)";
  data.interval_label = "mean, 95 % interval of the pairs";
  data.anchor_label = "ungated model";
  data.anchor_margin = a.table.analysis.equivalence_margin;
  for (const AlphaOptimum& o : a.optima) {
    if (data.groups.size() == kMostPanels) break;
    data.groups.push_back(alpha_group(a, o));
    if (!one_gate) data.groups.back().label += ", " + o.gate;
  }
  return alpha_vs_loss("alpha_vs_loss", data);
}

/// The configuration with the most parameters: its anchor, and the arms with the lowest loss.
Picture largest_curves(const GatingAnalysis& a) {
  std::size_t largest = 0;
  for (std::size_t b = 0; b < a.blocks.size(); ++b) {
    if (a.blocks[b].compared && (!a.blocks[largest].compared ||
                                 a.blocks[b].n_parameters > a.blocks[largest].n_parameters)) {
      largest = b;
    }
  }
  TrainingCurvesData data;
  data.title = "Loss by step, " + a.blocks[largest].label;
  std::vector<const ArmComparison*> arms;
  for (const ArmComparison& c : a.comparisons) {
    if (c.block == largest && !c.seeds.empty()) arms.push_back(&c);
  }
  std::stable_sort(arms.begin(), arms.end(),
                   [](const auto* x, const auto* y) { return x->loss < y->loss; });
  if (arms.size() > kMostCurves - 1) arms.resize(kMostCurves - 1);
  const auto add = [&](const std::string& label, const Arm& arm) {
    CurveArm curve;
    curve.label = label;
    for (const std::size_t r : arm.rows) {
      const TrialRow& row = a.table.rows[r];
      if (!row.usable()) continue;
      if (!row.train_loss.empty()) {
        curve.train.push_back({{row.train_step.begin(), row.train_step.end()}, row.train_loss});
      }
      curve.validation.push_back({{row.val_step.begin(), row.val_step.end()}, row.val_loss});
    }
    if (!curve.validation.empty()) data.arms.push_back(std::move(curve));
  };
  if (!arms.empty()) add("anchor (" + a.anchor + ")", a.arms[arms.front()->anchor]);
  for (const ArmComparison* c : arms) add(c->label, a.arms[c->arm]);
  return training_curves("training_curves", data);
}

/// From the scatter that the comparisons have shown: the quietest and the noisiest.
Picture seeds_needed(const GatingAnalysis& a) {
  PowerData data;
  data.title = "What paired seeds can see, from the scatter observed here (power 80 %, level 5 %)";
  data.y_label = "smallest detectable relative difference";
  const ArmComparison* quiet = nullptr;
  const ArmComparison* noisy = nullptr;
  const auto sd = [](const ArmComparison* c) {
    return c->test.se * std::sqrt(static_cast<double>(c->differences.size()));
  };
  for (const ArmComparison& c : a.comparisons) {
    if (c.status != ArmStatus::ok || c.test.df < 1) continue;
    if (quiet == nullptr || sd(&c) < sd(quiet)) quiet = &c;
    if (noisy == nullptr || sd(&c) > sd(noisy)) noisy = &c;
    data.n_seeds_used = std::max(data.n_seeds_used, c.seeds.size());
  }
  std::vector<const ArmComparison*> chosen;
  if (quiet != nullptr) chosen.push_back(quiet);
  if (noisy != quiet) chosen.push_back(noisy);
  for (const ArmComparison* c : chosen) {
    PowerCurve curve;
    curve.label = fmt::format("{}: sd of a pair {:.2g} %", c->label, 100 * sd(c));
    for (std::size_t n = 2; n <= kMostSeeds; n = n < 16 ? n + 1 : n + 4) {
      curve.n_seeds.push_back(n);
      curve.detectable.push_back(minimum_detectable_effect(sd(c), n));
    }
    data.curves.push_back(std::move(curve));
  }
  for (const double effect : kAskedEffects) {
    data.effects.emplace_back(shortest(100 * effect) + " %", effect);
  }
  return power_curve("seeds_needed", data);
}

}  // namespace

std::vector<Picture> pictures_of(const GatingAnalysis& a) {
  std::vector<Picture> list = {relative_differences(a)};
  if (!a.optima.empty()) list.push_back(alpha_curves(a));
  list.push_back(largest_curves(a));
  const bool any = std::any_of(a.comparisons.begin(), a.comparisons.end(),
                               [](const ArmComparison& c) { return c.test.df >= 1; });
  if (any) list.push_back(seeds_needed(a));
  return list;
}

}  // namespace pg::post
