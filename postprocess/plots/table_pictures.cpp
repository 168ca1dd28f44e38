// The pictures of a table's fit.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "postprocess/plots/diagnostics.hpp"
#include "postprocess/plots/law_plots.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kSamples = 80;

bool all_positive(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v > 0; });
}

/// y of a law of one variable over the range of the data; bands where its errors are known.
Curve curve_of(const LawFit& fit, const std::vector<double>& x, bool logarithmic,
               const std::string& label, bool bands) {
  Curve curve;
  curve.label = label;
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  curve.x = spread(*low, *high, kSamples, logarithmic);
  bands = bands && fit.df >= 1 && fit.covariance.rows() > 0;
  for (const double at : curve.x) {
    curve.y.push_back(predict(fit, {&at, 1}));
    if (!bands) continue;
    const LawBand band = band_at(fit, {&at, 1});
    curve.mean95.push_back(band.mean95);
    curve.prediction95.push_back(band.prediction95);
  }
  return curve;
}

Picture fit_picture(const TableFit& table, const GroupFit& group, const std::string& name) {
  const Law& law = find_law(table.options.law);
  const std::vector<double>& x = group.data.x.front();
  LawPlotData data;
  data.title = law.formula + (group.name.empty() ? "" : ", " + group.name);
  data.x_label = table.request.x.front();
  data.y_label = table.request.y;
  data.log_x = all_positive(x);
  data.log_y = all_positive(group.data.y) && group.fit.response == "ln y";
  for (std::size_t i = 0; i < x.size(); ++i) {
    data.points.push_back({x[i], group.data.y[i], {}, "", false});
  }
  if (group.fit.ok()) data.fit = curve_of(group.fit, x, data.log_x, law.name, true);
  for (const Rival& r : group.rivals) {
    if (!r.fit.ok() || r.fit.law == law.name) continue;
    const std::string weight = r.aicc ? fmt::format(", weight {:.2f}", r.weight) : "";
    data.rivals.push_back(curve_of(r.fit, x, data.log_x, r.fit.law + weight, false));
  }
  return law_fit(name, data);
}

Picture diagnostics_picture(const GroupFit& group, const std::string& name) {
  DiagnosticsData data;
  data.title = group.fit.formula + (group.name.empty() ? "" : ", " + group.name);
  data.response = group.fit.response;
  for (std::size_t i = 0; i < group.data.size(); ++i) {
    data.labels.push_back(fmt::format("line {}", group.rows[i].line));
  }
  data.fitted = group.fit.fitted;
  data.residuals = group.fit.residuals;
  data.leverage = group.fit.leverage;
  data.cooks_distance = group.fit.cooks_distance;
  data.s = group.fit.s;
  data.n_params = static_cast<int>(group.fit.internal.size());
  return diagnostics(name, data);
}

Picture isoflop_picture(const GroupFit& group, const std::string& name) {
  IsoflopData data;
  data.title = "Best size at equal compute" + (group.name.empty() ? "" : ", " + group.name);
  std::vector<double> flops;
  for (const IsoflopBudgetFit& b : group.isoflop->budgets) {
    IsoflopBudget budget;
    budget.flops = b.flops;
    std::vector<double> sizes;
    for (const std::size_t i : b.points) {
      sizes.push_back(group.data.x[0][i]);
      budget.points.push_back({sizes.back(), group.data.y[i], {}, "", false});
    }
    if (b.ok()) {
      budget.parabola.x = spread(sizes.front(), sizes.back(), kSamples, true);
      for (const double n : budget.parabola.x) {
        budget.parabola.y.push_back(b.loss_at(std::log(n)));
      }
      budget.best_n = std::exp(b.ln_best_n);
      budget.best_loss = b.loss_at(b.ln_best_n);
      budget.best_n_ci95 = {std::exp(b.ln_best_n_ci95.low), std::exp(b.ln_best_n_ci95.high)};
      flops.push_back(b.flops);
    }
    data.budgets.push_back(std::move(budget));
  }
  if (const auto& line = group.isoflop->line) {
    data.best_n_law.label = fmt::format("N* ∝ C^{:.3f} [{:.3f}, {:.3f}]", line->slope,
                                        line->slope_ci95.low, line->slope_ci95.high);
    data.best_n_law.x = spread(flops.front(), flops.back(), kSamples, true);
    for (const double c : data.best_n_law.x) {
      data.best_n_law.y.push_back(group.isoflop->best_n(c));
      if (line->df < 1) continue;
      const Interval band = line_band(*line, std::log(c), Band::mean);
      data.best_n_law.mean95.push_back({std::exp(band.low), std::exp(band.high)});
    }
  }
  return isoflop(name, data);
}

/// A group's name as the beginning of a file name.
std::string prefix_of(const TableFit& table, std::size_t index) {
  if (table.groups.size() == 1) return "";
  std::string name = table.groups[index].name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  }
  return fmt::format("{:03}_{}_", index + 1, name);
}

}  // namespace

std::vector<Picture> pictures_of(const TableFit& table) {
  std::vector<Picture> list;
  for (std::size_t i = 0; i < table.groups.size(); ++i) {
    const GroupFit& group = table.groups[i];
    const std::string prefix = prefix_of(table, i);
    if (group.data.x.size() == 1) list.push_back(fit_picture(table, group, prefix + "fit"));
    if (group.fit.ok() && !group.fit.leverage.empty()) {
      list.push_back(diagnostics_picture(group, prefix + "diagnostics"));
    }
    if (group.isoflop && !group.isoflop->budgets.empty()) {
      list.push_back(isoflop_picture(group, prefix + "isoflop"));
    }
  }
  return list;
}

}  // namespace pg::post
