#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "base/version.hpp"
#include "postprocess/report/law_conventions.hpp"
#include "postprocess/report/law_report.hpp"

namespace pg::post {
namespace {

const std::string kDouble(92, '=');
const std::string kSingle(92, '-');

std::string number(double value) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return fmt::format("{:.6g}", value);
}

std::string optional_number(const std::optional<double>& value) {
  return value ? fmt::format("{:.3f}", *value) : "-";
}

std::string interval(const Interval& ci) {
  return fmt::format("[{}, {}]", number(ci.low), number(ci.high));
}

std::string joined(const std::vector<double>& values) {
  std::vector<std::string> words;
  for (const double value : values) words.push_back(shortest(value));
  return join(words, ", ");
}

std::string head(const TableFit& table, const GroupFit& group) {
  const LawFit& fit = group.fit;
  std::string text = kDouble + "\n";
  if (!group.name.empty()) text += group.name + "\n";
  const auto row = [&](const std::string& a, const std::string& b, const std::string& c,
                       const std::string& d) {
    text += fmt::format("{:<14} {:<30} {:<18} {:>26}\n", a, b, c, d);
  };
  row("law", fit.law, "status", to_string(fit.status));
  row("y", table.request.y, "points", std::to_string(fit.n));
  row("x", join(table.request.x, ", "), "df of residuals", std::to_string(fit.df));
  if (!fit.ok()) return text;
  row("residuals of", fit.response, "R2", fmt::format("{:.6f}", fit.r2));
  row("ln likelihood", optional_number(fit.log_likelihood), "s", number(fit.s));
  row("AIC", optional_number(fit.aic), fit.objective_name, number(fit.objective));
  row("AICc", optional_number(fit.aicc), "BIC", optional_number(fit.bic));
  return text;
}

std::string parameters(const LawFit& fit) {
  std::string text = kSingle + "\n";
  text += fmt::format("{:<12} {:>13} {:>13}   {:<32} {}\n", "parameter", "estimate", "std error",
                      "95 % interval", "by");
  for (const LawParameter& p : fit.parameters) {
    text += fmt::format("{:<12} {:>13} {:>13}   {:<32} {}\n", p.name, number(p.estimate),
                        number(p.se), interval(p.ci95), p.ci_method);
  }
  if (fit.covariance.rows() > 1) {
    text += "correlations of the optimised values: ";
    std::vector<std::string> pairs;
    for (std::size_t i = 0; i < fit.covariance.rows(); ++i) {
      for (std::size_t j = i + 1; j < fit.covariance.rows(); ++j) {
        const double size = std::sqrt(fit.covariance(i, i) * fit.covariance(j, j));
        if (!(size > 0)) continue;
        pairs.push_back(fmt::format("{} {} {:.3f}", fit.internal_names[i], fit.internal_names[j],
                                    fit.covariance(i, j) / size));
      }
    }
    text += join(pairs, ", ") + "\n";
  }
  return text;
}

std::string bootstrap(const LawBootstrap& sample) {
  std::string text = fmt::format("{}\nbootstrap of {} replicates, seed {}, {} without a fit\n",
                                 kSingle, sample.n_replicates, sample.seed, sample.n_degenerate);
  for (const LawBootstrap::Parameter& p : sample.parameters) {
    text += fmt::format("{:<12} {:>13} {:>13}   {:<32} {}\n", p.name, "", number(p.se),
                        p.percentile.ok() ? interval(p.percentile.interval) : p.percentile.status,
                        p.percentile.method);
    text += fmt::format("{:<12} {:>13} {:>13}   {:<32} {}\n", "", "", "",
                        p.bca.ok() ? interval(p.bca.interval) : p.bca.status, p.bca.method);
  }
  return text;
}

std::string break_test(const std::optional<BreakTest>& test) {
  if (!test) return "";
  if (!test->ok()) return fmt::format("{}\nbreak: no p-value: {}\n", kSingle, test->status);
  return fmt::format(
      "{}\nbreak: it removes {:.1f} % of one line's residual sum of squares, p = {:.4g}\n"
      "       by parametric bootstrap of {} replicates, seed {}\n",
      kSingle, 100 * test->removed, test->p, test->n_replicates, test->seed);
}

std::string hypotheses(const std::vector<LawHypothesis>& tests) {
  if (tests.empty()) return "";
  std::string text = kSingle + "\n";
  for (const LawHypothesis& h : tests) {
    text += fmt::format(
        "{} = {}: t = {:.3f}, p = {:.3g}, Holm {:.3g}, {} the 95 % interval{}\n", h.parameter,
        shortest(h.value), h.t, h.p, h.p_holm, h.in_ci95 ? "inside" : "outside",
        h.equivalence_p ? fmt::format(", equivalence p = {:.3g}", *h.equivalence_p) : "");
  }
  return text;
}

std::string rivals(const std::vector<Rival>& list) {
  if (list.empty()) return "";
  std::string text = kSingle + "\n" +
                     fmt::format("{:<16} {:>12} {:>12} {:>9}   {}\n", "rival", "AICc of y",
                                 "difference", "weight", "status");
  for (const Rival& r : list) {
    const bool compared = std::isfinite(r.delta_aicc);
    text += fmt::format("{:<16} {:>12} {:>12} {:>9}   {}\n", r.fit.law, optional_number(r.aicc),
                        compared ? fmt::format("{:.3f}", r.delta_aicc) : "-",
                        compared ? fmt::format("{:.3f}", r.weight) : "-", to_string(r.fit.status));
  }
  return text;
}

std::string held_out(const GroupFit& group) {
  const HeldOut& held = group.held_out;
  const std::string unit =
      group.fit.response == "ln y" ? "ln(predicted / observed)" : "predicted - observed";
  std::string text = kSingle + "\n";
  text += fmt::format("hold-out, {}: leave one out, rms {}{}; largest x ", unit,
                      held.rms ? number(*held.rms) : "-",
                      held.n_failed > 0 ? fmt::format(" ({} without a fit)", held.n_failed) : "");
  if (held.largest_errors.empty()) return text + held.largest_status + "\n";
  std::vector<std::string> errors;
  for (const double e : held.largest_errors) errors.push_back(fmt::format("{:+.4g}", e));
  return text + join(errors, ", ") + "\n";
}

std::string predictions(const std::vector<LawPrediction>& list) {
  if (list.empty()) return "";
  std::string text =
      kSingle + "\n" +
      fmt::format("{:<20} {:>12}   {:<27} {:<27}\n", "at x", "y", "mean 95 %", "new point 95 %");
  for (const LawPrediction& p : list) {
    text += fmt::format("{:<20} {:>12}   {:<27} {:<27}{}\n", joined(p.x), number(p.band.y),
                        interval(p.band.mean95), interval(p.band.prediction95),
                        p.extrapolated ? " extrapolated" : "");
  }
  return text;
}

std::string isoflop(const IsoflopFit& fit) {
  std::string text = kSingle + "\nequal compute C = 6 N D (parabolas in ln N): ";
  if (!fit.line) {
    text += fit.status + "\n";
  } else {
    text += fmt::format("N* grows as C^{:.4f} {} over {} budgets\n", fit.line->slope,
                        interval(fit.line->slope_ci95), fit.line->n);
  }
  for (const IsoflopBudgetFit& b : fit.budgets) {
    text += fmt::format("{:>12} FLOPs {:>4} points   ", number(b.flops), b.points.size());
    text += b.ok()
                ? fmt::format(
                      "N* = {} {}\n", number(std::exp(b.ln_best_n)),
                      interval({std::exp(b.ln_best_n_ci95.low), std::exp(b.ln_best_n_ci95.high)}))
                : b.status + "\n";
  }
  return text + fmt::format("{} points lie near no budget\n", fit.n_unused);
}

std::string group_text(const TableFit& table, const GroupFit& group) {
  std::string text = head(table, group);
  if (!group.fit.ok()) {
    text += "no fit: " + group.fit.detail + "\n" + break_test(group.break_test);
    text += rivals(group.rivals);
    return group.isoflop ? text + isoflop(*group.isoflop) : text;
  }
  text += parameters(group.fit);
  if (group.bootstrap) text += bootstrap(*group.bootstrap);
  text += break_test(group.break_test) + hypotheses(group.hypotheses) + rivals(group.rivals) +
          held_out(group) + predictions(group.predictions);
  if (group.isoflop) text += isoflop(*group.isoflop);
  for (const std::string& warning : group.fit.warnings) text += "warning: " + warning + "\n";
  return text;
}

/// One row per group.
std::string summary(const TableFit& table) {
  if (table.groups.size() < 2) return "";
  std::string text = kDouble + "\n" + fmt::format("{:<24} {:>4}", "group", "n");
  const Law& law = find_law(table.options.law);
  for (const std::string& name : law.parameter_names) text += fmt::format(" {:>12}", name);
  text += fmt::format(" {:>10}  status\n", "AICc");
  for (const GroupFit& group : table.groups) {
    text += fmt::format("{:<24} {:>4}", group.name, group.fit.n);
    for (const std::string& name : law.parameter_names) {
      text += fmt::format(" {:>12}", group.fit.ok()
                                         ? fmt::format("{:.5g}", group.fit.parameter(name).estimate)
                                         : std::string("-"));
    }
    text += fmt::format(
        " {:>10}  {}{}\n", optional_number(group.fit.aicc), to_string(group.fit.status),
        group.fit.warnings.empty() ? "" : fmt::format(", warnings: {}", group.fit.warnings.size()));
  }
  return text;
}

}  // namespace

std::string table_fit_text(const TableFit& fit) {
  const Law& law = find_law(fit.options.law);
  std::string text = fmt::format("{}\n{}\n", law.formula, law.about);
  for (const GroupFit& group : fit.groups) text += group_text(fit, group);
  text += summary(fit) + kDouble + "\n";
  for (const ExcludedRow& row : fit.table.excluded) {
    text += fmt::format("left out line {}: {}\n", row.line, row.reason);
  }
  if (fit.table.n_deselected > 0) {
    text += fmt::format("{} of {} rows not selected by {}\n", fit.table.n_deselected,
                        fit.table.n_rows, join(fit.request.where, " and "));
  }
  for (const std::string& note : fit.table.notes) text += "note: " + note + "\n";
  text += "conventions\n";
  for (const std::string& line : law_conventions(fit)) text += "  " + line + "\n";
  text += fmt::format("{}, sha256 {}; pgpost {}\n", fit.table.file, fit.table.sha256, kVersion);
  return text;
}

std::string laws_text() {
  std::string text;
  for (const Law& law : laws()) {
    text += fmt::format("{:<16} {}\n{:<16} x: {}; residuals of {}; at least {} points\n{:<16} {}\n",
                        law.name, law.formula, "", join(law.variables, ", "), law.fitted_response,
                        law.fewest_points, "", law.about);
  }
  return text;
}

}  // namespace pg::post
