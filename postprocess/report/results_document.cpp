#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/report/doubt_sections.hpp"
#include "postprocess/report/shared_sections.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {
namespace {

Paragraph text(std::string words) {
  return {std::move(words)};
}

Section optima_section(const ScalingFit& fit) {
  DocumentTable table;
  table.columns = {"batch",       "LR*",         "95 % range",
                   "loss at LR*", "lowest cell", "used / diverged / missing",
                   "flags"};
  for (const Optimum& o : fit.optima) {
    const std::string cells = fmt::format("{} / {} / {}", o.n_usable, o.n_diverged, o.n_missing);
    if (o.state == OptimumState::no_data) {
      table.rows.push_back({std::to_string(o.batch), "no data", "", "", "", cells, ""});
      continue;
    }
    std::string lr = fmt::format("{:.3g}", o.lr());
    if (o.state == OptimumState::edge_low) lr = "<= " + lr;
    if (o.state == OptimumState::edge_high) lr = ">= " + lr;
    if (o.state == OptimumState::not_determined) lr = "not determined";
    const auto ci = o.lr_ci95(fit.noise);
    table.rows.push_back({std::to_string(o.batch), lr,
                          ci ? fmt::format("{:.3g} to {:.3g}", ci->low, ci->high) : "",
                          fmt::format("{:.4f}", o.loss), fmt::format("{:.3g}", o.argmin_lr), cells,
                          join(o.flags(), ", ")});
  }
  Section section{"Best learning rate of each batch size", {table}};
  if (fit.noise.sd > 0) {
    section.blocks.emplace_back(text(fmt::format(
        "Ranges are 95 % intervals from a loss noise of {:.2g} nats per token, taken from {}.",
        fit.noise.sd, fit.noise.source)));
  }
  return section;
}

Section estimates_section(const ScalingFit& fit) {
  DocumentTable table;
  table.columns = {"estimator", "beta", "95 % interval", "df", "R2", "batches"};
  for (const ExponentEstimate* e : fit.estimates()) {
    const std::string label = e == &fit.headline() ? e->label + " (headline)" : e->label;
    const std::string batches = std::to_string(e->batches.size());
    if (!e->ok()) {
      table.rows.push_back({label, "", e->status, "", "", batches});
      continue;
    }
    table.rows.push_back({label, fmt::format("{:.3f}", e->beta),
                          fmt::format("[{:.3f}, {:.3f}]", e->beta_ci95.low, e->beta_ci95.high),
                          std::to_string(e->df), e->r2 ? fmt::format("{:.3f}", *e->r2) : "",
                          batches});
  }
  table.rows.push_back({"slopes that the grid's argmins allow (a set, no confidence)", "",
                        set_text(fit.argmin_set), "", "", std::to_string(fit.argmin_set.n)});
  Section section{"The exponent, by estimator", {table}};
  const SurfaceFit& s = fit.surface;
  if (!s.estimate.ok()) return section;
  std::string words = fmt::format(
      "Joint surface: {} cells within a factor {:.3g} of the optima, curvature {:.3g} +- {:.2g} "
      "nats per token per (ln LR)^2, residual {:.2g}. ",
      s.estimate.n_cells, std::exp(s.window), s.curvature, s.curvature_se, s.residual_sd);
  words += s.free_df > 0
               ? fmt::format(
                     "Lack of fit of the power law: F({}, {}) = {:.2f}, p = {:.2g}; the cells are "
                     "chosen around the optima, which makes p too small on flat grids. ",
                     s.misfit_df, s.free_df, s.misfit_f, s.misfit_p)
               : "There are too few cells to test the power law against one optimum per batch. ";
  words +=
      s.between_batches
          ? fmt::format(
                "The batches scatter about the line by clearly more than the cells about "
                "their curves (p < {}), so the interval is taken from the scatter between batches; "
                "from the "
                "cells alone it would be [{:.3f}, {:.3f}].",
                kMisfitLevel, s.pooled_ci95.low, s.pooled_ci95.high)
          : "The batches do not clearly scatter about the line by more than the cells explain, "
            "so the interval is taken from the cells.";
  section.blocks.emplace_back(text(words));
  return section;
}

Section hypotheses_section(const ScalingFit& fit) {
  DocumentTable table;
  table.columns = {"hypothesis", "beta",     "in the interval", "t",
                   "p",          "p (Holm)", "equivalence p",   "AICc"};
  for (const HypothesisTest& h : fit.hypotheses) {
    table.rows.push_back({h.name, fmt::format("{:.4f}", h.beta), h.in_ci95 ? "yes" : "no",
                          fmt::format("{:.2f}", h.t), fmt::format("{:.3g}", h.p),
                          fmt::format("{:.3g}", h.p_holm), fmt::format("{:.3g}", h.equivalence_p),
                          h.aicc ? fmt::format("{:.2f}", *h.aicc) : ""});
  }
  if (fit.free_slope_aicc) {
    table.rows.push_back(
        {"free slope", "", "", "", "", "", "", fmt::format("{:.2f}", *fit.free_slope_aicc)});
  }
  return {"Hypotheses",
          {table,
           text(fmt::format("A small p speaks against a hypothesis. A small equivalence p says "
                            "that beta differs from it by less than {:.2f}; several hypotheses in "
                            "the interval mean that the run cannot tell them apart.",
                            kEquivalenceMargin))}};
}

/// Lines that a few wild optima do not move.
std::string robust_text(const ScalingFit& fit) {
  const RankSlope& ranks = *fit.line_ranks;
  std::string words = fmt::format(
      "The median of the slopes between any two batches (Theil and Sen) is {:.3f}", ranks.slope);
  words += ranks.ci95.finite()
               ? fmt::format(", distribution-free interval [{:.3f}, {:.3f}] ({:.1f} %).",
                             ranks.ci95.low, ranks.ci95.high, 100 * ranks.confidence)
               : "; too few batches for a distribution-free interval.";
  words += fit.line_huber.ok()
               ? fmt::format(" Huber's robust line has {:.3f}.", fit.line_huber.slope)
               : " Huber's robust line is refused: " + fit.line_huber.detail + ".";
  return words;
}

Section leave_one_out_section(const ScalingFit& fit) {
  const LineFit& line = *fit.line_details;
  DocumentTable table;
  table.columns = {"without batch", "beta", "leverage", "Cook's distance"};
  for (std::size_t i = 0; i < line.leave_one_out_slopes.size(); ++i) {
    table.rows.push_back(
        {std::to_string(fit.line.batches[i]), fmt::format("{:.3f}", line.leave_one_out_slopes[i]),
         fmt::format("{:.3f}", line.leverage[i]), fmt::format("{:.3f}", line.cooks_distance[i])});
  }
  Section section{"Leave one batch out",
                  {text(fmt::format("The line through the interpolated optima has beta = {:.3f}; "
                                    "without one batch:",
                                    line.slope)),
                   table}};
  if (fit.line_ranks) section.blocks.emplace_back(text(robust_text(fit)));
  return section;
}

std::string error_text(const TransferError& e) {
  switch (e.source) {
    case TransferSource::run: return fmt::format("{:+.4f}", e.error);
    case TransferSource::interpolated: return fmt::format("{:+.4f} (interpolated)", e.error);
    case TransferSource::diverged: return "diverged";
    case TransferSource::missing: return "no run";
  }
  return "";
}

DocumentTable transfer_table(const TransferTest& test) {
  DocumentTable table;
  table.columns = {"batch"};
  for (const TransferResult& r : test.results) {
    table.columns.push_back(
        fmt::format("{}, anchor {} ({:.3g})", r.rule.hypothesis, r.rule.anchor, r.rule.anchor_lr));
  }
  for (std::size_t i = 0; i < test.results.front().errors.size(); ++i) {
    std::vector<std::string> row = {std::to_string(test.results.front().errors[i].batch)};
    for (const TransferResult& r : test.results) row.push_back(error_text(r.errors[i]));
    table.rows.push_back(std::move(row));
  }
  return table;
}

DocumentTable transfer_summary(const TransferTest& test, const LossNoise& noise) {
  DocumentTable table;
  table.columns = {"rule", "anchor", "batches", "mean", "largest"};
  if (noise.sd > 0) table.columns.emplace_back("mean / noise");
  for (const TransferResult& r : test.results) {
    std::vector<std::string> row = {r.rule.hypothesis, r.rule.anchor, std::to_string(r.n)};
    if (r.n > 0) {
      row.push_back(fmt::format("{:+.4f}", r.mean_error));
      row.push_back(fmt::format("{:+.4f}", r.max_error));
      if (noise.sd > 0) row.push_back(fmt::format("{:+.1f}", r.mean_error / noise.sd));
    }
    table.rows.push_back(std::move(row));
  }
  table.caption = fmt::format(
      "Over the batches with a number; batch {}, where the rules coincide, is left out.",
      test.anchor_batch);
  return table;
}

Section transfer_section(const ScalingFit& fit) {
  const TransferTest& test = fit.transfer;
  if (test.status != "ok") {
    return {"Transfer test", {text("There is no transfer test: " + test.status + ".")}};
  }
  BulletList conclusions;
  for (const TransferComparison& c : test.comparisons) {
    std::string item = fmt::format(
        "Anchor {}: {}. Exact sign-flip test over {} batches; the smallest possible p is {:.3g}.",
        c.anchor, c.conclusion, c.test.n, c.test.smallest_p);
    if (c.ratio_defined) {
      item += fmt::format(" The first rule's summed error is {:.0f} % {} than the second's.",
                          100 * std::abs(c.ratio_saved), c.ratio_saved >= 0 ? "lower" : "higher");
    }
    if (c.diverged_pairs) item += " A diverged trial counts as the largest difference seen.";
    conclusions.items.push_back(item);
  }
  return {"Transfer test",
          {text(fmt::format("LR(B) = LR({0}) (B / {0})^beta. The error is the loss at that "
                            "learning rate less the batch's own minimum, in nats per token, with "
                            "its sign; minima are those of the first table.",
                            test.anchor_batch)),
           transfer_table(test), transfer_summary(test, fit.noise), conclusions}};
}

Section coverage_section(const Coverage& c) {
  Section section{
      "Coverage",
      {text(fmt::format("{} of {} planned grid trials finished, {} diverged, {} failed; {} refine "
                        "and {} transfer trials.",
                        c.grid_finished, c.grid_planned, c.grid_diverged, c.grid_failed,
                        c.refine_trials, c.transfer_trials))}};
  if (c.excluded.empty()) return section;
  section.blocks.emplace_back(left_out_table(c.excluded));
  return section;
}

Section criteria_section(const std::vector<Criterion>& criteria) {
  DocumentTable table;
  table.columns = {"criterion", "outcome", "why"};
  for (const Criterion& c : criteria) {
    std::string outcome = c.outcome;
    std::replace(outcome.begin(), outcome.end(), '_', ' ');
    table.rows.push_back({c.text, outcome, c.why});
  }
  return {"What the source asked of this study", {table}};
}

Section summary_section(const RunResults& results, const Assessment& assessment) {
  Section section;
  if (!results.study.question.empty()) section.blocks.emplace_back(text(results.study.question));
  if (!results.selection.empty()) {
    section.blocks.emplace_back(text("Only trials with " + results.selection + "."));
  }
  section.blocks.emplace_back(Paragraph{assessment.verdict.sentence, true});
  section.blocks.emplace_back(text(assessment.scenario.sentence));
  return section;
}

/// Sections with their figures: captions say what to read off.
class Assembler {
 public:
  void add(Section section) { document_.sections.push_back(std::move(section)); }
  /// Goes to the end of the section added last.
  void figure(const std::string& name, const std::string& caption) {
    document_.sections.back().blocks.emplace_back(Figure{name, caption});
  }
  Document document(const std::string& title) {
    document_.title = title;
    return std::move(document_);
  }

 private:
  Document document_;
};

}  // namespace

Document results_document(const RunResults& results, const ScalingFit& fit,
                          const Assessment& assessment) {
  Assembler out;
  out.add(summary_section(results, assessment));
  out.figure("lr_vs_batch",
             "Best learning rate by batch size, on logarithmic axes. A power law is a straight "
             "line: compare the slope of the blue band with the dashed slopes of the hypotheses, "
             "all drawn through the middle of the points. A slope that leaves the band is not "
             "supported by this run.");
  if (!assessment.warnings.empty()) {
    BulletList list;
    for (const Warning& w : assessment.warnings) list.items.push_back(w.text);
    out.add({"Warnings", {list}});
  }
  if (!assessment.criteria.empty()) out.add(criteria_section(assessment.criteria));
  out.add(optima_section(fit));
  out.figure("loss_vs_lr",
             "Final loss by learning rate, one curve per batch size, cut off above the part near "
             "the minimum. Stars are interpolated minima. A star between points with clearly "
             "higher neighbours is a measured optimum; a curve that still falls at its end is not "
             "bracketed.");
  out.figure("loss_heatmap",
             "Loss of every cell. Contours are lines of equal loss above each batch's lowest; a "
             "power law moves the stars along a straight line.");
  out.figure("convergence_curves",
             "Loss by step at the best learning rate of each batch size, mean over seeds with its "
             "standard error. A curve that still falls steeply at the end was stopped early, and "
             "its optimum may move with more steps.");
  out.add(estimates_section(fit));
  out.figure("exponent_estimates",
             "The exponent by every estimator, with 95 % intervals, and the hypotheses as "
             "vertical lines. Estimators that disagree by more than their intervals say that the "
             "answer depends on the method.");
  if (!fit.hypotheses.empty()) out.add(hypotheses_section(fit));
  if (!fit.rivals.empty()) out.add(rivals_section(fit));
  if (fit.design.status == "ok") out.add(design_section(fit));
  if (fit.surface_bootstrap.ok() || fit.line_bootstrap.ok()) out.add(bootstrap_section(fit));
  if (fit.line_details) {
    out.add(leave_one_out_section(fit));
    out.figure("line_diagnostics",
               "Diagnostics of the line through the interpolated optima. A bend in the residuals "
               "speaks against a power law; a point beyond the dashed contours, or with a large "
               "Cook's distance, carries the slope alone.");
  }
  out.add(transfer_section(fit));
  out.figure("transfer_comparison",
             "Loss given up by each rule, by batch size. Errors inside the grey band cannot be "
             "told from the noise of one loss.");
  out.add(coverage_section(assessment.coverage));
  if (!assessment.conventions.empty()) {
    out.add(list_section("Conventions", assessment.conventions));
  }
  if (!assessment.provenance.empty()) out.add(list_section("Provenance", assessment.provenance));
  return out.document("Results: " + results.study.name);
}

}  // namespace pg::post
