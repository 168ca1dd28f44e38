#include "postprocess/report/assessment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"

namespace pg::post {
namespace {

using record::TrialRecord;
using record::TrialStatus;
using record::TrialSummary;

constexpr double kClipLimit = 0.5;
constexpr double kEpochLimit = 4;
constexpr double kClearlyWorse = 2;  // in AICc: Burnham and Anderson 2002, 2.6

template <typename Predicate>
std::string batches_where(const std::vector<Optimum>& optima, Predicate predicate) {
  std::vector<std::string> batches;
  for (const Optimum& o : optima) {
    if (o.state != OptimumState::no_data && predicate(o))
      batches.push_back(std::to_string(o.batch));
  }
  return join(batches, ", ");
}

class Warnings {
 public:
  /// Adds the text when `batches` names any.
  void at_batches(const std::string& code, const std::string& batches, const std::string& text) {
    if (!batches.empty()) add(code, "At batch " + batches + " " + text);
  }
  void add(const std::string& code, const std::string& text) { list_.push_back({code, text}); }
  [[nodiscard]] std::vector<Warning> take() { return std::move(list_); }

 private:
  std::vector<Warning> list_;
};

void warn_about_optima(const ScalingFit& fit, Warnings& warnings) {
  const auto& optima = fit.optima;
  warnings.at_batches("optimum_on_edge",
                      batches_where(optima,
                                    [](const Optimum& o) {
                                      return o.state == OptimumState::edge_low ||
                                             o.state == OptimumState::edge_high;
                                    }),
                      "the best learning rate lies on the edge of the grid: only a bound is known, "
                      "and the default fit leaves it out.");
  warnings.at_batches(
      "optimum_not_determined",
      batches_where(optima,
                    [](const Optimum& o) { return o.state == OptimumState::not_determined; }),
      "the losses differ by no more than their noise: no optimum is determined.");
  warnings.at_batches("optimum_beside_diverged",
                      batches_where(optima, [](const Optimum& o) { return o.beside_diverged; }),
                      "a diverged trial bounds the optimum on one side: it is taken at the grid "
                      "point, with the width of its grid cell as uncertainty.");
  warnings.at_batches("not_unimodal",
                      batches_where(optima, [](const Optimum& o) { return o.non_unimodal; }),
                      "the loss has more than one dip along the learning rate.");
  warnings.at_batches(
      "clipped",
      batches_where(optima, [](const Optimum& o) { return o.clip_fraction > kClipLimit; }),
      "more than half of the steps at the best learning rate were clipped: beta "
      "then measures clipping as much as gradient noise.");
  warnings.at_batches("not_converged",
                      batches_where(optima, [](const Optimum& o) { return !o.converged; }),
                      "the best trial had not converged: its optimum may still move with more "
                      "steps.");
  std::set<double> argmins;
  int counted = 0;
  double epochs = 0;
  for (const Optimum& o : optima) {
    epochs = std::max(epochs, o.epochs);
    if (o.state == OptimumState::no_data) continue;
    argmins.insert(o.argmin_lr);
    ++counted;
  }
  if (counted >= 3 && argmins.size() == 1) {
    warnings.add("identical_optima",
                 fmt::format("All {} batches have the same best learning rate, {}: either it does "
                             "not depend on the batch here, or the grid cannot resolve it.",
                             counted, shortest(*argmins.begin())));
  }
  if (epochs > kEpochLimit) {
    warnings.add("repeated_corpus",
                 fmt::format("The corpus was read up to {:.1f} times (more than {:.0f}): repeated "
                             "data act differently from fresh data.",
                             epochs, kEpochLimit));
  }
}

void warn_about_design(const RunResults& results, const ScalingFit& fit, Warnings& warnings) {
  std::map<std::int64_t, std::int64_t> steps;  // by batch, of finished trials
  std::set<std::int64_t> distinct;
  for (const TrialRecord& t : results.trials) {
    if (t.summary.status != TrialStatus::finished) continue;
    steps[t.summary.batch] = t.summary.steps;
    distinct.insert(t.summary.steps);
  }
  if (results.table.empty() && steps.size() > 1 && distinct.size() == 1) {
    const double ratio =
        static_cast<double>(steps.rbegin()->first) / static_cast<double>(steps.begin()->first);
    warnings.add("fixed_steps",
                 fmt::format("Every trial took {} steps, so the tokens seen grow with the batch "
                             "({:.0f} times from the smallest to the largest): this is not the "
                             "experiment at fixed tokens.",
                             *distinct.begin(), ratio));
  }
  if (fit.surface.between_batches && fit.surface.misfit_p < 0.05) {
    warnings.add("not_a_power_law",
                 fmt::format("The optima scatter about the line by more than the cells explain "
                             "(F = {:.2f}, p = {:.2g}): a pure power law is doubtful.",
                             fit.surface.misfit_f, fit.surface.misfit_p));
  }
  if (!fit.rivals.empty() && fit.rivals.front().aicc) {
    const Rival& best = fit.rivals.front();
    for (const Rival& rival : fit.rivals) {
      if (rival.fit.law != "power" || !(rival.delta_aicc > kClearlyWorse)) continue;
      warnings.add("another_law_fits_better",
                   fmt::format("Through the same optima {} ({}) has an AICc lower by {:.1f} than "
                               "the power law: beta is then an average slope over these batches, "
                               "no law to extrapolate.",
                               best.fit.law, best.fit.formula, rival.delta_aicc));
    }
  }
  const std::string band = band_of(fit.headline().beta_ci95);
  for (const ExponentEstimate* other :
       {&fit.surface_without_small.estimate, &fit.surface_wide.estimate, &fit.line,
        &fit.line_propagated, &fit.line_without_small}) {
    const bool agrees = !other->ok() || band_of(other->beta_ci95) == band;
    if (!fit.headline().ok() || band == "indeterminate" || agrees) continue;
    warnings.add(
        "not_robust",
        fmt::format("The verdict does not hold for another choice ({}): beta = {:.3f} "
                    "[{:.3f}, {:.3f}] lies in no single band or in another one.",
                    other->label, other->beta, other->beta_ci95.low, other->beta_ci95.high));
  }
  if (fit.noise.sd == 0) {
    warnings.add("noise_unknown",
                 "The noise of the loss is not known (one seed, no repeated "
                 "evaluations): the optima carry no standard error.");
  } else if (fit.noise.df == 0) {
    warnings.add("noise_is_a_floor", "The noise is known from " + fit.noise.source + ".");
  }
  if (!results.table.empty()) {
    warnings.add("from_table",
                 "The losses are from a table: how the runs were trained (steps, clipping, "
                 "convergence, program) is not known here and was not checked.");
  } else if (!results.has_study_file) {
    warnings.add("no_study_file", "There is no study.yaml: the default analysis was used.");
  }
  if (!results.damaged.empty()) {
    warnings.add("damaged_trials", fmt::format("{} damaged metrics.h5 left out; see the coverage.",
                                               results.damaged.size()));
  }
}

/// Scalars of provenance.json as (path, value); of a launch list, each launch by its id.
void flatten(const nlohmann::json& node, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& out) {
  if (node.is_object() || node.is_array()) {
    for (const auto& item : node.items()) {
      std::string key = item.key();
      if (item.value().is_object() && item.value().contains("id") &&
          item.value()["id"].is_string()) {
        key = item.value()["id"].get<std::string>();
      }
      flatten(item.value(), prefix.empty() ? key : prefix + "." + key, out);
    }
    return;
  }
  out.emplace_back(prefix, node.is_string() ? node.get<std::string>() : node.dump());
}

void read_provenance(const RunResults& results, Assessment& assessment, Warnings& warnings) {
  if (!results.table.empty()) {
    assessment.provenance = {{"table", results.table.string()},
                             {"table_sha256", results.table_sha256}};
    return;
  }
  for (const std::string& text : results.origin_warnings) warnings.add("origin", text);
  const auto file = record::RunDirectory(results.root).provenance_file();
  if (!std::filesystem::exists(file)) return;
  try {
    flatten(nlohmann::json::parse(read_file(file)), "", assessment.provenance);
  } catch (const nlohmann::json::exception&) {
    assessment.provenance.clear();  // origin_warnings has said it
  }
}

void set_coverage(const RunResults& results, const ScalingFit& fit, Coverage& coverage) {
  coverage.grid_planned = results.planned_grid_trials;
  std::set<std::pair<std::int64_t, double>> explained;
  for (const TrialRecord& t : results.trials) {
    const TrialSummary& s = t.summary;
    if (s.stage == "refine") ++coverage.refine_trials;
    if (s.stage == "transfer") ++coverage.transfer_trials;
    if (s.stage == "grid") {
      coverage.grid_finished += s.status == TrialStatus::finished ? 1 : 0;
      coverage.grid_diverged += s.status == TrialStatus::diverged ? 1 : 0;
      coverage.grid_failed += s.status == TrialStatus::failed ? 1 : 0;
    }
    if (s.status != TrialStatus::finished) {
      coverage.excluded.push_back(
          {s.id + " (" + s.stage + ")", record::to_string(s.status) + ": " + s.reason});
      explained.emplace(s.batch, s.lr);
    }
  }
  for (const record::DamagedTrial& d : results.damaged) {
    coverage.excluded.push_back({d.id, "damaged: " + d.reason.substr(0, d.reason.find('\n'))});
  }
  for (const BatchCells& row : fit.cells) {
    for (const Cell& cell : row.cells) {
      if (cell.state != CellState::missing || explained.contains({cell.batch, cell.lr})) continue;
      coverage.excluded.push_back(
          {fmt::format("batch {}, learning rate {}", cell.batch, shortest(cell.lr)),
           "missing: planned, but there is no readable trial"});
    }
  }
}

std::vector<std::pair<std::string, std::string>> conventions(const ScalingFit& fit) {
  const double window = fit.surface.window;
  return {
      {"logarithms", "natural; lr = C * B^beta; C is a median multiplier, B counts sequences"},
      {"intervals", "Student t, two-sided, 95 %; pointwise band of the mean"},
      {"headline",
       "the joint surface L = c_B + k (ln lr - ln C - beta ln B)^2 where it can be "
       "fitted, else the line through the interpolated optima"},
      {"surface_window",
       fmt::format("cells within a factor {:.3g} of the batch's optimum (one grid "
                   "step, {:.3g} in ln lr), and the three cells of its parabola",
                   std::exp(window), window)},
      {"misfit_rule",
       "if batches scatter about the line by more than cells about their own curves "
       "(p < 0.175), the interval is from the scatter between batches with n - 2 "
       "degrees of freedom, else from the cells"},
      {"optimum",
       "vertex of the parabola through the lowest cell and its neighbours in (ln lr, "
       "loss); transfer trials never enter"},
      {"quadratic", fmt::format("with 5 or more cells within {:.0f} % of the lowest loss: least "
                                "squares; the larger of both standard errors is used",
                                100 * kLossWindow)},
      {"diverged",
       "infinitely bad for the argmin, never interpolated; one diverged seed makes the "
       "cell diverged"},
      {"seeds", "a cell's loss is the mean over its seeds"},
      {"wls", "weights 1 / se^2, relative: the scatter about the line scales the interval"},
      {"aicc", "k counts the coefficients and sigma; computed on the log-log line"},
      {"p_values", "two-sided t on the headline; Holm over the hypotheses"},
      {"equivalence", fmt::format("two one-sided t tests, margin {:.2f}", kEquivalenceMargin)},
      {"bands",
       "the source's, judged by the whole interval: Laplace 0.60-0.74, Gaussian "
       "0.45-0.55, heavier below 0.45, lighter above 0.74, nothing between 0.55 and 0.60; a band "
       "is "
       "given only if the interval of the line through the optima lies in it too"},
      {"theory",
       "the three exponents are labelled point hypotheses of the source, not computed "
       "from a tail index; the row alpha = 3 -> 2/3 has no derivation there, and for Adam "
       "the theory predicts a square root that bends at large batches"},
      {"transfer",
       "error = loss at the rule's lr less the interpolated minimum, with its sign; "
       "exact paired sign-flip test without the anchor batch"},
      {"loss", "mean validation loss of the last steps, nats per token"},
  };
}

}  // namespace

Assessment assess(const RunResults& results, const ScalingFit& fit) {
  Assessment assessment;
  assessment.verdict = judge(fit);
  set_coverage(results, fit, assessment.coverage);
  assessment.scenario = judge_scenario(fit, assessment.verdict);
  assessment.criteria = judge_criteria(fit, assessment.verdict, assessment.coverage);
  Warnings warnings;
  const Coverage& c = assessment.coverage;
  if (c.grid_finished + c.grid_diverged < c.grid_planned) {
    warnings.add("incomplete_grid",
                 fmt::format("Only {} of {} planned grid trials are there; the same pgmpi command "
                             "trains the rest.",
                             c.grid_finished + c.grid_diverged, c.grid_planned));
  }
  warn_about_optima(fit, warnings);
  warn_about_design(results, fit, warnings);
  read_provenance(results, assessment, warnings);
  assessment.warnings = warnings.take();
  const bool robust = std::none_of(assessment.warnings.begin(), assessment.warnings.end(),
                                   [](const Warning& w) { return w.code == "not_robust"; });
  if (!robust && assessment.verdict.word != "indeterminate") {
    assessment.verdict.sentence += " Not every estimator agrees: see the warnings.";
  }
  assessment.conventions = conventions(fit);
  return assessment;
}

bool nothing_in_doubt(const ScalingFit& fit, const Assessment& assessment) {
  return assessment.coverage.excluded.empty() && fit.headline().ok() &&
         std::all_of(assessment.warnings.begin(), assessment.warnings.end(),
                     [](const Warning& w) { return w.code == "from_table"; });
}

}  // namespace pg::post
