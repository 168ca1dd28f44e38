#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {

std::string with_interval(const ExponentEstimate& e) {
  if (!e.ok()) return e.status;
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", e.beta, e.beta_ci95.low, e.beta_ci95.high);
}

std::string set_text(const IdentifiedSet& set) {
  if (set.feasible) return fmt::format("[{:.3f}, {:.3f}]", set.beta.low, set.beta.high);
  return set.n < 2 ? "not possible: fewer than two batches"
                   : "none: no line passes through all argmin cells";
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
    text += fmt::format("{:>6}  {:>10.3g}  {:>8}  {:>9.4f}  {}\n", o.batch, o.lr(),
                        o.ln_lr_se > 0 ? fmt::format("{:.3f}", o.ln_lr_se) : "-", o.loss,
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
