#include <cmath>

#include "postprocess/plots/diagnostics.hpp"
#include "postprocess/plots/forest.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {

Picture exponent_estimates(const RunResults& results, const ScalingFit& fit) {
  ForestData data;
  data.title = "The exponent β of LR* = C B^β, by estimator (95 % intervals)";
  data.x_label = "β";
  for (const ExponentEstimate* e : fit.estimates()) {
    ForestRow row;
    row.label = e->label;
    row.strong = e == &fit.headline();
    row.note = e->status;
    if (e->ok()) {
      row.estimate = e->beta;
      row.interval = e->beta_ci95;
    }
    data.rows.push_back(std::move(row));
  }
  ForestRow set;
  set.label = "slopes that the grid's argmins allow (a set)";
  set.note = "no line passes through all argmin cells";
  if (fit.argmin_set.feasible) set.interval = fit.argmin_set.beta;
  data.rows.push_back(std::move(set));
  for (const auto& h : results.study.analysis.hypotheses)
    data.references.push_back({h.name, h.beta});
  return forest("exponent_estimates", data);
}

Picture line_diagnostics(const ScalingFit& fit) {
  const LineFit& line = *fit.line_details;
  DiagnosticsData data;
  data.title = "Line through the interpolated optima: ln LR* = ln C + β ln B";
  data.response = "ln LR*";
  for (std::size_t i = 0; i < line.n; ++i) {
    const auto batch = static_cast<double>(fit.line.batches[i]);
    data.labels.push_back(std::to_string(fit.line.batches[i]));
    data.fitted.push_back(line.intercept + line.slope * std::log(batch));
  }
  data.residuals = line.residuals;
  data.leverage = line.leverage;
  data.cooks_distance = line.cooks_distance;
  data.s = line.s;
  return diagnostics("line_diagnostics", data);
}

std::vector<Picture> pictures_of(const RunResults& results, const ScalingFit& fit) {
  std::vector<Picture> list = {lr_vs_batch(results, fit),
                               loss_vs_lr(fit),
                               loss_heatmap(fit),
                               transfer_comparison(fit),
                               convergence_curves(results, fit),
                               exponent_estimates(results, fit)};
  if (fit.line_details) list.push_back(line_diagnostics(fit));
  return list;
}

}  // namespace pg::post
