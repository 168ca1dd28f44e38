#include <algorithm>
#include <cmath>
#include <set>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "postprocess/report/json_values.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {
namespace {

Json estimate_json(const ExponentEstimate& e) {
  Json out = {{"name", e.name}, {"label", e.label}, {"status", e.status}, {"batches", e.batches}};
  if (!e.ok()) return out;
  out["beta"] = number(e.beta);
  out["beta_se"] = number(e.beta_se);
  out["beta_ci95"] = interval(e.beta_ci95);
  out["df"] = e.df;
  out["ln_c"] = number(e.ln_c);
  out["ln_c_se"] = number(e.ln_c_se);
  out["r2"] = optional_number(e.r2);
  out["n_cells"] = e.n_cells;
  return out;
}

Json optimum_json(const Optimum& o, const LossNoise& noise) {
  Json out = {{"batch", o.batch}, {"state", to_string(o.state)}, {"flags", o.flags()}};
  out["n_usable_cells"] = o.n_usable;
  out["n_missing_cells"] = o.n_missing;
  out["n_diverged_cells"] = o.n_diverged;
  if (o.state == OptimumState::no_data) return out;
  out["lr"] = o.lr();
  const auto ci = o.lr_ci95(noise);
  out["lr_ci95"] = ci ? interval(*ci) : Json(nullptr);
  out["ln_lr_se"] = o.ln_lr_se > 0 ? number(o.ln_lr_se) : Json(nullptr);
  out["loss"] = o.loss;
  out["interpolated"] = o.parabola.has_value();
  out["argmin_lr"] = o.argmin_lr;
  out["argmin_loss"] = o.argmin_loss;
  out["curvature"] = o.parabola ? number(o.parabola->curvature) : Json(nullptr);
  out["quadratic_lr"] = o.quadratic_ln_lr ? number(std::exp(*o.quadratic_ln_lr)) : Json(nullptr);
  out["quadratic_ln_lr_se"] = optional_number(o.quadratic_se);
  out["clip_fraction"] = o.clip_fraction;
  out["converged"] = o.converged;
  out["epochs"] = o.epochs;
  return out;
}

Json surface_json(const SurfaceFit& s) {
  Json out = {{"status", s.estimate.status}, {"window_ln_lr", s.window}};
  if (!s.estimate.ok()) return out;
  out["curvature"] = s.curvature;
  out["curvature_se"] = s.curvature_se;
  out["residual_sd"] = s.residual_sd;
  out["residual_df"] = s.residual_df;
  out["pooled_beta_se"] = s.pooled_beta_se;
  out["pooled_beta_ci95"] = interval(s.pooled_ci95);
  out["misfit_f"] = s.misfit_f;
  out["misfit_df"] = Json::array({s.misfit_df, s.free_df});
  out["misfit_p"] = s.misfit_p;
  out["interval_from"] = s.between_batches ? "scatter_between_batches" : "cells";
  return out;
}

Json line_json(const ScalingFit& fit) {
  if (!fit.line_details) return {{"status", fit.line.status}};
  const LineFit& line = *fit.line_details;
  Json rows = Json::array();
  for (std::size_t i = 0; i < line.n; ++i) {
    rows.push_back({{"batch", fit.line.batches[i]},
                    {"residual", line.residuals[i]},
                    {"leverage", line.leverage[i]},
                    {"cooks_distance", line.cooks_distance[i]},
                    {"beta_without", number(line.leave_one_out_slopes[i])}});
  }
  return {{"status", "ok"},
          {"n", line.n},
          {"df", line.df},
          {"r2", line.r2},
          {"adjusted_r2", line.adjusted_r2},
          {"residual_sd", line.s},
          {"ln_c_beta_covariance", line.covariance},
          {"aicc", optional_number(fit.free_slope_aicc)},
          {"theil_sen", fit.line_ranks ? Json{{"beta", fit.line_ranks->slope},
                                              {"beta_ci95", interval(fit.line_ranks->ci95)},
                                              {"confidence", fit.line_ranks->confidence}}
                                       : Json(nullptr)},
          {"huber",
           {{"status", to_string(fit.line_huber.status)},
            {"detail", fit.line_huber.detail},
            {"beta", fit.line_huber.ok() ? Json(fit.line_huber.slope) : Json(nullptr)}}},
          {"per_batch", rows}};
}

Json hypotheses_json(const ScalingFit& fit) {
  Json list = Json::array();
  for (const HypothesisTest& h : fit.hypotheses) {
    list.push_back({{"name", h.name},
                    {"beta", h.beta},
                    {"t", number(h.t)},
                    {"p", h.p},
                    {"p_holm", h.p_holm},
                    {"in_ci95", h.in_ci95},
                    {"equivalence_p", h.equivalence_p},
                    {"aicc", optional_number(h.aicc)}});
  }
  return list;
}

Json transfer_json(const TransferTest& test) {
  Json out = {{"status", test.status}, {"anchor_batch", test.anchor_batch}};
  out["rules"] = Json::array();
  for (const TransferResult& r : test.results) {
    Json errors = Json::array();
    for (const TransferError& e : r.errors) {
      const bool has = e.source == TransferSource::run || e.source == TransferSource::interpolated;
      errors.push_back({{"batch", e.batch},
                        {"lr", e.lr},
                        {"source", to_string(e.source)},
                        {"loss", has ? Json(e.loss) : Json(nullptr)},
                        {"error", has ? Json(e.error) : Json(nullptr)}});
    }
    out["rules"].push_back({{"hypothesis", r.rule.hypothesis},
                            {"anchor", r.rule.anchor},
                            {"anchor_lr", r.rule.anchor_lr},
                            {"beta", r.rule.beta},
                            {"n", r.n},
                            {"mean_error", r.n > 0 ? Json(r.mean_error) : Json(nullptr)},
                            {"max_error", r.n > 0 ? Json(r.max_error) : Json(nullptr)},
                            {"errors", errors}});
  }
  out["comparisons"] = Json::array();
  for (const TransferComparison& c : test.comparisons) {
    out["comparisons"].push_back(
        {{"anchor", c.anchor},
         {"n_pairs", c.test.n},
         {"mean_difference", c.test.mean_difference},
         {"p", c.test.p},
         {"smallest_possible_p", c.test.smallest_p},
         {"share_saved", c.ratio_defined ? Json(c.ratio_saved) : Json(nullptr)},
         {"share_saved_ci95", c.ratio_defined ? interval(c.saved_ci95) : Json(nullptr)},
         {"diverged_pairs", c.diverged_pairs},
         {"conclusion", c.conclusion}});
  }
  return out;
}

Json bootstrap_json(const ExponentBootstrap& b) {
  Json out = {{"of", b.name}, {"status", b.status}};
  if (!b.ok()) return out;
  out["n_replicates"] = b.n_replicates;
  out["n_degenerate"] = b.n_degenerate;
  out["seed"] = b.seed;
  out["studentised_ci95"] = interval(b.studentised.interval);
  out["percentile_ci95"] = b.percentile.ok() ? interval(b.percentile.interval) : Json(nullptr);
  return out;
}

Json design_json(const DesignPower& d) {
  Json out = {{"status", d.status}};
  if (d.status != "ok") return out;
  out["beta_se"] = d.beta_se;
  out["df"] = d.df;
  out["detectable_difference"] = number(d.detectable);
  out["pairs"] = Json::array();
  for (const Separation& pair : d.pairs) {
    out["pairs"].push_back({{"first", pair.first},
                            {"second", pair.second},
                            {"distance", pair.distance},
                            {"power", pair.power},
                            {"designs_needed", pair.designs > 0 ? Json(pair.designs) : nullptr},
                            {"trials_needed", pair.designs > 0 ? Json(pair.trials) : nullptr}});
  }
  if (!d.caveat.empty()) out["caveat"] = d.caveat;
  return out;
}

Json rivals_json(const std::vector<Rival>& rivals) {
  Json list = Json::array();
  for (const Rival& r : rivals) {
    Json parameters = Json::array();
    for (const LawParameter& p : r.fit.parameters) {
      parameters.push_back({{"name", p.name},
                            {"estimate", number(p.estimate)},
                            {"se", number(p.se)},
                            {"ci95", interval(p.ci95)},
                            {"ci_method", p.ci_method}});
    }
    list.push_back({{"law", r.fit.law},
                    {"formula", r.fit.formula},
                    {"status", to_string(r.fit.status)},
                    {"detail", r.fit.detail},
                    {"aicc", optional_number(r.aicc)},
                    {"delta_aicc", number(r.delta_aicc)},
                    {"weight", number(r.weight)},
                    {"parameters", parameters}});
  }
  return list;
}

Json criteria_json(const Assessment& assessment) {
  Json list = Json::array();
  for (const Criterion& c : assessment.criteria) {
    list.push_back({{"name", c.name}, {"text", c.text}, {"outcome", c.outcome}, {"why", c.why}});
  }
  return list;
}

Json coverage_json(const Coverage& c) {
  return {{"grid_planned", c.grid_planned},       {"grid_finished", c.grid_finished},
          {"grid_diverged", c.grid_diverged},     {"grid_failed", c.grid_failed},
          {"refine_trials", c.refine_trials},     {"transfer_trials", c.transfer_trials},
          {"excluded", left_out_json(c.excluded)}};
}

/// A digest of what the numbers were computed from: every trial's cell and result.
std::string input_digest(const RunResults& results) {
  Sha256 digest;
  for (const record::TrialRecord& t : results.trials) {
    digest.add(t.summary.id + "," + t.summary.stage + "," + record::to_string(t.summary.status) +
               "," + shortest(t.summary.final_val_loss) + "\n");
  }
  return digest.hex();
}

}  // namespace

std::string fit_json(const RunResults& results, const ScalingFit& fit,
                     const Assessment& assessment) {
  const ExponentEstimate& headline = fit.headline();
  Json out = {{"format_version", 1},
              {"kind", "batch_scaling"},
              {"tool", std::string("pgpost ") + kVersion},
              {"study", results.study.name},
              {"question", results.study.question}};
  if (!results.selection.empty()) out["where"] = results.selection;
  out["verdict"] = assessment.verdict.word;
  out["verdict_sentence"] = assessment.verdict.sentence;
  out["extend_grid"] = assessment.verdict.extend_grid;
  out["hypotheses_in_ci95"] = assessment.verdict.hypotheses_in_ci95;
  out["method"] = headline.name;
  out["beta"] = headline.ok() ? number(headline.beta) : Json(nullptr);
  out["beta_se"] = headline.ok() ? number(headline.beta_se) : Json(nullptr);
  out["beta_ci95"] = headline.ok() ? interval(headline.beta_ci95) : Json(nullptr);
  out["df"] = headline.ok() ? Json(headline.df) : Json(nullptr);
  out["c"] = headline.ok() ? number(std::exp(headline.ln_c)) : Json(nullptr);
  out["r2"] = optional_number(fit.line.r2);
  out["hypotheses"] = hypotheses_json(fit);
  out["optima"] = Json::array();
  for (const Optimum& o : fit.optima) out["optima"].push_back(optimum_json(o, fit.noise));
  out["estimates"] = Json::array();
  for (const ExponentEstimate* e : fit.estimates()) out["estimates"].push_back(estimate_json(*e));
  out["joint_surface"] = surface_json(fit.surface);
  out["ols"] = line_json(fit);
  out["argmin_identified_set"] = {
      {"feasible", fit.argmin_set.feasible},
      {"n_batches", fit.argmin_set.n},
      {"beta", fit.argmin_set.feasible ? interval(fit.argmin_set.beta) : Json(nullptr)}};
  out["bootstrap"] =
      Json::array({bootstrap_json(fit.surface_bootstrap), bootstrap_json(fit.line_bootstrap)});
  out["rivals"] = rivals_json(fit.rivals);
  out["design"] = design_json(fit.design);
  out["scenario"] = assessment.scenario.word;
  out["scenario_sentence"] = assessment.scenario.sentence;
  out["criteria"] = criteria_json(assessment);
  out["transfer"] = transfer_json(fit.transfer);
  out["loss_noise"] = {{"sd", fit.noise.sd > 0 ? Json(fit.noise.sd) : Json(nullptr)},
                       {"df", fit.noise.df},
                       {"source", fit.noise.source}};
  out["coverage"] = coverage_json(assessment.coverage);
  out["warnings"] = Json::array();
  for (const Warning& w : assessment.warnings) {
    out["warnings"].push_back({{"code", w.code}, {"text", w.text}});
  }
  out["conventions"] = pairs_json(assessment.conventions);
  out["trials"] = origins_json(results.origins);
  out["input_sha256"] = input_digest(results);
  out["corpus_sha256"] = results.trials.front().corpus_sha256;
  return out.dump(2) + "\n";
}

}  // namespace pg::post
