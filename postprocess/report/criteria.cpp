#include <fmt/format.h>

#include "postprocess/report/assessment.hpp"

namespace pg::post {
namespace {

constexpr double kLaplace = 2.0 / 3;
constexpr double kGaussian = 0.5;
constexpr double kSourceTarget = 0.67;
constexpr double kSavedShare = 0.2;
constexpr double kCleanR2 = 0.95;
constexpr double kScenarioLow = 0.45;
constexpr double kScenarioHigh = 0.75;

std::string interval_text(const Interval& ci) {
  return fmt::format("[{:.3f}, {:.3f}]", ci.low, ci.high);
}

std::string outcome(bool met, bool not_met) {
  if (met) return "met";
  return not_met ? "not_met" : "indeterminate";
}

Criterion all_trials(const Coverage& c) {
  if (c.grid_planned == 0) {
    return {"all_trials", "complete all experiments without crashes", "indeterminate",
            "a table of optima does not name the trials behind them"};
  }
  const bool complete = c.grid_finished + c.grid_diverged >= c.grid_planned;
  return {"all_trials", "complete all experiments without crashes", outcome(complete, !complete),
          fmt::format("{} of {} grid trials finished, {} diverged, {} failed", c.grid_finished,
                      c.grid_planned, c.grid_diverged, c.grid_failed)};
}

Criterion beta_measured(const ExponentEstimate& e) {
  return {"beta_with_interval", "measure beta with a confidence interval", outcome(e.ok(), !e.ok()),
          e.ok() ? fmt::format("beta = {:.3f} {}", e.beta, interval_text(e.beta_ci95)) : e.status};
}

Criterion closer_to(const ExponentEstimate& e) {
  Criterion c{"closer_theory", "determine if beta is closer to 0.67 or to 0.50", "indeterminate",
              e.status};
  if (!e.ok()) return c;
  const double middle = (kLaplace + kGaussian) / 2;
  const bool above = e.beta_ci95.low > middle;
  const bool below = e.beta_ci95.high < middle;
  c.outcome = outcome(above || below, false);
  c.why =
      fmt::format("the interval {} {} {:.3f}, the middle between them", interval_text(e.beta_ci95),
                  above   ? "lies above"
                  : below ? "lies below"
                          : "contains",
                  middle);
  return c;
}

/// "beta IS 0.67 +- 0.05" is a claim of equivalence: the 90 % interval must lie inside.
Criterion beta_is_two_thirds(const ExponentEstimate& e) {
  const Interval wanted{kSourceTarget - kEquivalenceMargin, kSourceTarget + kEquivalenceMargin};
  Criterion c{"beta_067", fmt::format("beta = {:.2f} +- {:.2f}", kSourceTarget, kEquivalenceMargin),
              "indeterminate", e.status};
  if (!e.ok()) return c;
  const Interval ci90 = student_interval(e.beta, e.beta_se, e.df, 0.90);
  const bool outside = e.beta_ci95.high < wanted.low || e.beta_ci95.low > wanted.high;
  c.outcome = outcome(ci90.within(wanted.low, wanted.high), outside);
  c.why = fmt::format("90 % interval {}, 95 % interval {}", interval_text(ci90),
                      interval_text(e.beta_ci95));
  return c;
}

Criterion transfer_saves(const TransferTest& test) {
  Criterion c{"transfer_20_percent", "transfer error 20 % or more lower with the first rule",
              "indeterminate", test.status == "ok" ? "no comparison" : test.status};
  // The source's anchor comes first; LR* as anchor is the report's addition.
  if (test.comparisons.empty()) return c;
  const TransferComparison& first = test.comparisons.front();
  if (!first.ratio_defined) {
    c.why = first.conclusion;
    return c;
  }
  const Interval& ci = first.saved_ci95;
  c.outcome = outcome(ci.low >= kSavedShare, ci.high < kSavedShare);
  c.why = ci.finite() ? fmt::format("{:.0f} % lower, 95 % interval [{:.0f} %, {:.0f} %]",
                                    100 * first.ratio_saved, 100 * ci.low, 100 * ci.high)
                      : fmt::format(
                            "{:.0f} % lower, but the interval is unbounded: the second "
                            "rule's error is not distinguishable from zero",
                            100 * first.ratio_saved);
  return c;
}

/// Nothing is met or missed by optima that a wider grid could move.
Criterion doubt_edges(Criterion criterion, bool movable) {
  if (!movable || criterion.outcome == "indeterminate") return criterion;
  criterion.outcome = "indeterminate";
  criterion.why += "; but optima lie, or may lie, on the edge of the grid and could move it";
  return criterion;
}

std::string scenario_of(const Interval& ci) {
  if (ci.within(kLaplaceLow, kLaplaceHigh)) return "laplace_confirmed";
  if (ci.within(kGaussianLow, kGaussianHigh)) return "gaussian";
  if (ci.within(kGaussian, kLaplace)) return "intermediate";
  if (ci.finite() && (ci.high < kScenarioLow || ci.low > kScenarioHigh)) return "unexpected";
  return "indeterminate";
}

Criterion clean_fit(const ExponentEstimate& line) {
  Criterion c{"r2_095", "clean power-law fit (R2 > 0.95)", "indeterminate", line.status};
  if (!line.ok() || !line.r2) return c;
  c.outcome = outcome(*line.r2 > kCleanR2, *line.r2 <= kCleanR2);
  c.why = fmt::format(
      "R2 = {:.3f} of the line through the interpolated optima; R2 is not evidence "
      "for a power law: see its rivals",
      *line.r2);
  return c;
}

}  // namespace

std::vector<Criterion> judge_criteria(const ScalingFit& fit, const Verdict& verdict,
                                      const Coverage& coverage) {
  const ExponentEstimate& e = fit.headline();
  const bool movable = verdict.extend_grid || fit.edges_unknown;
  return {all_trials(coverage),
          beta_measured(e),
          doubt_edges(closer_to(e), movable),
          doubt_edges(beta_is_two_thirds(e), movable),
          transfer_saves(fit.transfer),
          doubt_edges(clean_fit(fit.line), movable)};
}

Scenario judge_scenario(const ScalingFit& fit, const Verdict& verdict) {
  const ExponentEstimate& e = fit.headline();
  if (!e.ok()) return {"indeterminate", "No scenario: " + e.status + "."};
  const std::string numbers = interval_text(e.beta_ci95);
  if (verdict.extend_grid || fit.edges_unknown) {
    return {"indeterminate", "No scenario: optima on the edge of the grid could move " + numbers +
                                 " into another one."};
  }
  const std::string word = scenario_of(e.beta_ci95);
  if (word == "indeterminate") {
    return {word, "No scenario: the interval " + numbers + " spans more than one."};
  }
  if (fit.line.ok() && scenario_of(fit.line.beta_ci95) != word) {
    return {"indeterminate", fmt::format("No scenario: {} from the loss surface and {} from the "
                                         "line through the optima do not name the same one.",
                                         numbers, interval_text(fit.line.beta_ci95))};
  }
  if (word == "laplace_confirmed") return {word, "Scenario 1, Laplace confirmed: " + numbers + "."};
  if (word == "gaussian") return {word, "Scenario 2, Gaussian behaviour: " + numbers + "."};
  if (word == "intermediate") return {word, "Scenario 3, intermediate behaviour: " + numbers + "."};
  return {word, fmt::format("Scenario 4, unexpected result: {} lies outside [{:.2f}, {:.2f}].",
                            numbers, kScenarioLow, kScenarioHigh)};
}

}  // namespace pg::post
