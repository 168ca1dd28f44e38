#include <cmath>

#include "base/version.hpp"
#include "postprocess/report/json_values.hpp"
#include "postprocess/report/law_conventions.hpp"
#include "postprocess/report/law_report.hpp"

namespace pg::post {
namespace {

Json matrix(const Matrix& m) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < m.rows(); ++i) {
    Json row = Json::array();
    for (std::size_t j = 0; j < m.columns(); ++j) row.push_back(number(m(i, j)));
    rows.push_back(row);
  }
  return rows;
}

Json points(const GroupFit& group) {
  Json list = Json::array();
  const LawFit& fit = group.fit;
  for (std::size_t i = 0; i < fit.n; ++i) {
    Json point = {{"line", group.rows[i].line}, {"x", group.rows[i].x}, {"y", group.rows[i].y}};
    if (!group.data.weights.empty()) point["weight"] = group.rows[i].weight;
    if (group.rows[i].n_merged > 1) point["n_merged"] = group.rows[i].n_merged;
    if (fit.ok()) {
      point["fitted"] = number(fit.fitted[i]);
      point["residual"] = number(fit.residuals[i]);
      point["leverage"] = i < fit.leverage.size() ? number(fit.leverage[i]) : Json(nullptr);
      point["cooks_distance"] =
          i < fit.cooks_distance.size() ? number(fit.cooks_distance[i]) : Json(nullptr);
      point["leave_one_out_error"] = optional_number(group.held_out.errors[i]);
    }
    list.push_back(point);
  }
  return list;
}

Json bootstrap(const LawBootstrap& sample) {
  Json list = Json::array();
  for (const LawBootstrap::Parameter& p : sample.parameters) {
    list.push_back({{"name", p.name},
                    {"se", number(p.se)},
                    {"status", p.percentile.status},
                    {"ci95", p.percentile.ok() ? interval(p.percentile.interval) : Json(nullptr)},
                    {"ci_method", p.percentile.method},
                    {"bca_status", p.bca.status},
                    {"bca_ci95", p.bca.ok() ? interval(p.bca.interval) : Json(nullptr)}});
  }
  return {{"n_replicates", sample.n_replicates},
          {"n_without_fit", sample.n_degenerate},
          {"seed", sample.seed},
          {"by_cluster", sample.by_cluster},
          {"parameters", list}};
}

Json break_test(const BreakTest& test) {
  return {{"status", test.status},
          {"removed", test.ok() ? number(test.removed) : Json(nullptr)},
          {"p", test.ok() ? Json(test.p) : Json(nullptr)},
          {"method", "parametric bootstrap"},
          {"n_replicates", test.n_replicates},
          {"seed", test.seed}};
}

Json rivals(const std::vector<Rival>& list) {
  Json out = Json::array();
  for (const Rival& r : list) {
    out.push_back({{"law", r.fit.law},
                   {"status", to_string(r.fit.status)},
                   {"detail", r.fit.detail},
                   {"aicc_of_y", optional_number(r.aicc)},
                   {"delta_aicc", number(r.delta_aicc)},
                   {"akaike_weight", std::isfinite(r.delta_aicc) ? Json(r.weight) : Json(nullptr)},
                   {"parameters", parameters_json(r.fit)}});
  }
  return out;
}

Json hypotheses(const std::vector<LawHypothesis>& list) {
  Json out = Json::array();
  for (const LawHypothesis& h : list) {
    out.push_back({{"parameter", h.parameter},
                   {"value", h.value},
                   {"t", number(h.t)},
                   {"p", h.p},
                   {"p_holm", h.p_holm},
                   {"in_ci95", h.in_ci95},
                   {"equivalence_p", optional_number(h.equivalence_p)}});
  }
  return out;
}

Json predictions(const std::vector<LawPrediction>& list) {
  Json out = Json::array();
  for (const LawPrediction& p : list) {
    out.push_back({{"x", p.x},
                   {"y", number(p.band.y)},
                   {"mean_ci95", interval(p.band.mean95)},
                   {"prediction_ci95", interval(p.band.prediction95)},
                   {"simultaneous_ci95", interval(p.band.simultaneous95)},
                   {"extrapolated", p.extrapolated}});
  }
  return out;
}

Json held_out(const HeldOut& held) {
  Json errors = Json::array();
  for (const double e : held.largest_errors) errors.push_back(number(e));
  return {{"leave_one_out_rms", optional_number(held.rms)},
          {"n_without_fit", held.n_failed},
          {"largest_points", held.largest},
          {"largest_status", held.largest_status},
          {"largest_errors", errors}};
}

Json isoflop_json(const IsoflopFit& fit) {
  Json budgets = Json::array();
  for (const IsoflopBudgetFit& b : fit.budgets) {
    Json budget = {{"flops", b.flops}, {"n_points", b.points.size()}, {"status", b.status}};
    if (b.ok()) {
      budget["best_n"] = std::exp(b.ln_best_n);
      budget["ln_best_n"] = b.ln_best_n;
      budget["ln_best_n_se"] = number(b.ln_best_n_se);
      budget["ln_best_n_ci95"] = interval(b.ln_best_n_ci95);
      budget["best_loss"] = b.loss_at(b.ln_best_n);
    }
    budgets.push_back(std::move(budget));
  }
  Json out = {{"status", fit.status}, {"n_unused", fit.n_unused}};
  if (fit.line) {
    out["exponent"] = fit.line->slope;
    out["exponent_se"] = number(fit.line->slope_se);
    out["exponent_ci95"] = interval(fit.line->slope_ci95);
    out["df"] = fit.line->df;
  }
  out["budgets"] = std::move(budgets);
  return out;
}

Json group_json(const GroupFit& group) {
  const LawFit& fit = group.fit;
  Json out = {{"group", group.name},
              {"status", to_string(fit.status)},
              {"detail", fit.detail},
              {"n", fit.n},
              {"df", fit.df}};
  if (fit.ok()) {
    out["parameters"] = parameters_json(fit);
    out["optimised"] = {{"names", fit.internal_names}, {"values", fit.internal}};
    out["covariance"] = fit.covariance.rows() > 0 ? matrix(fit.covariance) : Json(nullptr);
    out["objective"] = {{"name", fit.objective_name}, {"value", number(fit.objective)}};
    out["rss"] = number(fit.rss);
    out["s"] = number(fit.s);
    out["r2"] = number(fit.r2);
    out["log_likelihood"] = optional_number(fit.log_likelihood);
    out["aic"] = optional_number(fit.aic);
    out["aicc"] = optional_number(fit.aicc);
    out["bic"] = optional_number(fit.bic);
    out["bootstrap"] = group.bootstrap ? bootstrap(*group.bootstrap) : Json(nullptr);
    out["hypotheses"] = hypotheses(group.hypotheses);
    out["hold_out"] = held_out(group.held_out);
    out["predictions"] = predictions(group.predictions);
  }
  if (group.break_test) out["break_test"] = break_test(*group.break_test);
  out["rivals"] = rivals(group.rivals);
  if (group.isoflop) out["isoflop"] = isoflop_json(*group.isoflop);
  out["points"] = points(group);
  out["warnings"] = fit.warnings;
  return out;
}

}  // namespace

std::string table_fit_json(const TableFit& fit) {
  const Law& law = find_law(fit.options.law);
  Json out = {{"model", law.name},
              {"formula", law.formula},
              {"about", law.about},
              {"response", law.fitted_response}};
  out["columns"] = {{"x", fit.request.x},
                    {"y", fit.request.y},
                    {"weights", fit.request.weights},
                    {"group", fit.request.group},
                    {"cluster", fit.request.cluster}};
  out["groups"] = Json::array();
  for (const GroupFit& group : fit.groups) out["groups"].push_back(group_json(group));
  out["clean"] = fit.clean();
  out["n_rows"] = fit.table.n_rows;
  out["where"] = fit.request.where;
  out["n_not_selected"] = fit.table.n_deselected;
  out["excluded_rows"] = Json::array();
  for (const ExcludedRow& row : fit.table.excluded) {
    out["excluded_rows"].push_back({{"line", row.line}, {"reason", row.reason}});
  }
  out["notes"] = fit.table.notes;
  out["conventions"] = law_conventions(fit);
  out["seed"] = fit.options.seed;
  out["input"] = {{"file", fit.table.file}, {"sha256", fit.table.sha256}};
  out["version"] = kVersion;
  return out.dump(2) + "\n";
}

std::string laws_json() {
  Json out = Json::array();
  for (const Law& law : laws()) {
    out.push_back({{"name", law.name},
                   {"formula", law.formula},
                   {"about", law.about},
                   {"variables", law.variables},
                   {"response", law.fitted_response},
                   {"parameters", law.parameter_names},
                   {"rivals", law.rivals},
                   {"fewest_points", law.fewest_points}});
  }
  return out.dump(2) + "\n";
}

}  // namespace pg::post
