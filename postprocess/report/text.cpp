#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {
namespace {

std::string power_text(const DesignPower& design) {
  if (design.status != "ok") return "";
  std::string text = fmt::format(
      "\nwhat this design could see\n  beta's standard error is {:.3g}: a difference of {:.3g} is "
      "found with a power of 80 %\n",
      design.beta_se, design.detectable);
  for (const Separation& pair : design.pairs) text += "  " + separation_text(pair) + "\n";
  if (!design.caveat.empty()) text += "  " + design.caveat + "\n";
  return text;
}

}  // namespace

std::string with_interval(const ExponentEstimate& e) {
  if (!e.ok()) return e.status;
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", e.beta, e.beta_ci95.low, e.beta_ci95.high);
}

std::string set_text(const IdentifiedSet& set) {
  if (set.feasible) return fmt::format("[{:.3f}, {:.3f}]", set.beta.low, set.beta.high);
  return set.n < 2 ? "not possible: fewer than two batches"
                   : "none: no line passes through all argmin cells";
}

std::string rival_text(const Rival& rival) {
  if (!rival.fit.ok()) return to_string(rival.fit.status) + ": " + rival.fit.detail;
  if (!rival.aicc) return "too few optima for AICc";
  return fmt::format("{:.2f} (+{:.2f}); {:.2f}", *rival.aicc, rival.delta_aicc, rival.weight);
}

std::string separation_text(const Separation& pair) {
  std::string text = fmt::format("{} and {} lie {:.3f} apart: power {:.2f}", pair.first,
                                 pair.second, pair.distance, pair.power);
  if (pair.designs == 1) return text + ", this design is enough";
  if (pair.designs == 0) return text + ", more of it would not help";
  return text + fmt::format(", 80 % would take {} such designs ({} trials)", pair.designs,
                            grouped(static_cast<long long>(pair.trials)));
}

std::string fit_text(const ScalingFit& fit, const Assessment& assessment) {
  std::string text = assessment.verdict.sentence + "\n\n";
  text += fmt::format("{:>6}  {:>10}  {:>8}  {:>9}  {}\n", "batch", "best lr", "+-se(ln)", "loss",
                      "flags");
  for (const Optimum& o : fit.optima) {
    if (o.state == OptimumState::no_data) {
      text += fmt::format("{:>6}  {:>10}\n", o.batch, "no data");
      continue;
    }
    const std::vector<std::string> flags = o.flags();
    text += fmt::format("{:>6}  {:>10.3g}  {:>8}  {:>9}  {}\n", o.batch, o.lr(),
                        o.ln_lr_se > 0 ? fmt::format("{:.3f}", o.ln_lr_se) : "-",
                        std::isfinite(o.loss) ? fmt::format("{:.4f}", o.loss) : "-",
                        flags.empty() ? "-" : join(flags, " "));
  }
  text += "\nbeta by estimator (95 % interval)\n";
  for (const ExponentEstimate* e : fit.estimates()) {
    text += fmt::format("  {:<38} {}\n", e->label, with_interval(*e));
  }
  text += fmt::format("  {:<38} {}\n", "slopes that the grid's argmins allow",
                      set_text(fit.argmin_set));
  if (!fit.hypotheses.empty()) {
    text += "\nhypotheses against the headline\n";
    for (const HypothesisTest& h : fit.hypotheses) {
      text += fmt::format("  {:<14} beta = {:.4f}  p = {:.3g} (Holm {:.3g}){}\n", h.name, h.beta,
                          h.p, h.p_holm, h.in_ci95 ? "  in the interval" : "");
    }
  }
  if (!fit.rivals.empty()) text += "\nlaws through the same optima (AICc; weight)\n";
  for (const Rival& r : fit.rivals) {
    text += fmt::format("  {:<14} {:<42} {}\n", r.fit.law, r.fit.formula, rival_text(r));
  }
  text += power_text(fit.design);
  text += "\nwhat the source asks of the study\n";
  for (const Criterion& c : assessment.criteria) {
    text += fmt::format("  {:<14} {} ({})\n", c.outcome, c.text, c.why);
  }
  text += "  " + assessment.scenario.sentence + "\n";
  if (fit.transfer.status == "ok") {
    text += fmt::format("\ntransfer from batch {} (mean error, nats per token)\n",
                        fit.transfer.anchor_batch);
    for (const TransferResult& r : fit.transfer.results) {
      text += fmt::format("  {:<14} from {:<8} lr {:<9.3g} {}\n", r.rule.hypothesis, r.rule.anchor,
                          r.rule.anchor_lr,
                          r.n > 0 ? fmt::format("{:+.4f} over {} batches", r.mean_error, r.n)
                                  : "no loss at its learning rates");
    }
    for (const TransferComparison& c : fit.transfer.comparisons) {
      text += fmt::format("  anchor {}: {}\n", c.anchor, c.conclusion);
    }
  }
  if (!assessment.warnings.empty()) text += "\nwarnings\n";
  for (const Warning& w : assessment.warnings) text += "  " + w.text + "\n";
  return text;
}

}  // namespace pg::post
