#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "base/version.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {
namespace {

/// A cell of a Markdown table: one line, no bars.
std::string cell(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
    if (c == '|') c = '/';
  }
  return text;
}

std::string optima_section(const ScalingFit& fit) {
  std::string text =
      "## Best learning rate of each batch size\n\n"
      "| batch | LR\\* | 95 % range | loss at LR\\* | lowest cell | cells used / diverged / "
      "missing "
      "| flags |\n| ---: | ---: | --- | ---: | ---: | --- | --- |\n";
  for (const Optimum& o : fit.optima) {
    if (o.state == OptimumState::no_data) {
      text += fmt::format("| {} | no data | | | | {} / {} / {} | |\n", o.batch, o.n_usable,
                          o.n_diverged, o.n_missing);
      continue;
    }
    std::string lr = fmt::format("{:.3g}", o.lr());
    if (o.state == OptimumState::edge_low) lr = "<= " + lr;
    if (o.state == OptimumState::edge_high) lr = ">= " + lr;
    if (o.state == OptimumState::not_determined) lr = "not determined";
    const auto ci = o.lr_ci95(fit.noise);
    text += fmt::format("| {} | {} | {} | {:.4f} | {:.3g} | {} / {} / {} | {} |\n", o.batch, lr,
                        ci ? fmt::format("{:.3g} to {:.3g}", ci->low, ci->high) : "", o.loss,
                        o.argmin_lr, o.n_usable, o.n_diverged, o.n_missing, join(o.flags(), ", "));
  }
  text += "\n";
  if (fit.noise.sd > 0) {
    text += fmt::format(
        "Ranges are 95 % intervals from a loss noise of {:.2g} nats per token, taken from {}.\n\n",
        fit.noise.sd, fit.noise.source);
  }
  return text;
}

std::string estimates_section(const ScalingFit& fit) {
  std::string text =
      "## The exponent, by estimator\n\n"
      "| estimator | beta | 95 % interval | df | R2 | batches |\n"
      "| --- | ---: | --- | ---: | ---: | ---: |\n";
  for (const ExponentEstimate* e : fit.estimates()) {
    const bool is_headline = e == &fit.headline();
    const std::string label = is_headline ? "**" + e->label + " (headline)**" : e->label;
    if (!e->ok()) {
      text += fmt::format("| {} | | {} | | | {} |\n", label, cell(e->status), e->batches.size());
      continue;
    }
    text += fmt::format("| {} | {:.3f} | [{:.3f}, {:.3f}] | {} | {} | {} |\n", label, e->beta,
                        e->beta_ci95.low, e->beta_ci95.high, e->df,
                        e->r2 ? fmt::format("{:.3f}", *e->r2) : "", e->batches.size());
  }
  text += fmt::format(
      "| slopes that the grid's argmins allow (a set, no confidence) | | {} | | | {} |\n",
      set_text(fit.argmin_set), fit.argmin_set.n);
  text += "\n";
  const SurfaceFit& s = fit.surface;
  if (s.estimate.ok()) {
    text += fmt::format(
        "Joint surface: {} cells within a factor {:.3g} of the optima, curvature {:.3g} +- {:.2g} "
        "nats per token per (ln LR)^2, residual {:.2g}. ",
        s.estimate.n_cells, std::exp(s.window), s.curvature, s.curvature_se, s.residual_sd);
    if (s.free_df > 0) {
      text += fmt::format("Lack of fit of the power law: F({}, {}) = {:.2f}, p = {:.2g}. ",
                          s.misfit_df, s.free_df, s.misfit_f, s.misfit_p);
    } else {
      text += "There are too few cells to test the power law against one optimum per batch. ";
    }
    text += s.between_batches
                ? fmt::format(
                      "The batches scatter about the line by more than the cells about "
                      "their curves, so the interval is taken from the scatter between "
                      "batches; from the cells alone it would be [{:.3f}, {:.3f}].\n\n",
                      s.pooled_ci95.low, s.pooled_ci95.high)
                : "The batches scatter about the line by no more than the cells explain, so the "
                  "interval is taken from the cells.\n\n";
  }
  return text;
}

std::string hypotheses_section(const ScalingFit& fit) {
  if (fit.hypotheses.empty()) return "";
  std::string text =
      "## Hypotheses\n\n"
      "| hypothesis | beta | in the interval | t | p | p (Holm) | equivalence p | AICc |\n"
      "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n";
  for (const HypothesisTest& h : fit.hypotheses) {
    text += fmt::format("| {} | {:.4f} | {} | {:.2f} | {:.3g} | {:.3g} | {:.3g} | {} |\n",
                        cell(h.name), h.beta, h.in_ci95 ? "yes" : "no", h.t, h.p, h.p_holm,
                        h.equivalence_p, h.aicc ? fmt::format("{:.2f}", *h.aicc) : "");
  }
  if (fit.free_slope_aicc) {
    text += fmt::format("| free slope | | | | | | | {:.2f} |\n", *fit.free_slope_aicc);
  }
  text += fmt::format(
      "\nA small p speaks against a hypothesis. A small equivalence p says that beta differs from "
      "it by less than {:.2f}; several hypotheses in the interval mean that the run cannot tell "
      "them apart.\n\n",
      kEquivalenceMargin);
  return text;
}

std::string leave_one_out_section(const ScalingFit& fit) {
  if (!fit.line_details) return "";
  const LineFit& line = *fit.line_details;
  std::string text = fmt::format(
      "## Leave one batch out\n\nThe line through the interpolated optima has beta = {:.3f}; "
      "without one batch:\n\n| without batch | beta | leverage | Cook's distance |\n"
      "| ---: | ---: | ---: | ---: |\n",
      line.slope);
  for (std::size_t i = 0; i < line.n; ++i) {
    text += fmt::format("| {} | {:.3f} | {:.3f} | {:.3f} |\n", fit.line.batches[i],
                        line.leave_one_out_slopes[i], line.leverage[i], line.cooks_distance[i]);
  }
  return text + "\n";
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

std::string transfer_section(const ScalingFit& fit) {
  const TransferTest& test = fit.transfer;
  std::string text = "## Transfer test\n\n";
  if (test.status != "ok") return text + "Transfer test " + test.status + ".\n\n";
  text += fmt::format(
      "LR(B) = LR({0}) (B / {0})^beta. The error is the loss at that learning rate less the "
      "batch's "
      "own minimum, in nats per token, with its sign; minima are those of the table above.\n\n",
      test.anchor_batch);
  text += "| batch |";
  std::string rule = "\n| ---: |";
  for (const TransferResult& r : test.results) {
    text += fmt::format(" {}, anchor {} ({:.3g}) |", cell(r.rule.hypothesis), r.rule.anchor,
                        r.rule.anchor_lr);
    rule += " ---: |";
  }
  text += rule + "\n";
  for (std::size_t i = 0; i < test.results.front().errors.size(); ++i) {
    text += fmt::format("| {} |", test.results.front().errors[i].batch);
    for (const TransferResult& r : test.results) text += " " + error_text(r.errors[i]) + " |";
    text += "\n";
  }
  const auto summary_row = [&](const std::string& name, auto value) {
    text += "| " + name + " |";
    for (const TransferResult& r : test.results) text += (r.n > 0 ? " " + value(r) : " ") + " |";
    text += "\n";
  };
  summary_row("mean", [](const TransferResult& r) { return fmt::format("{:+.4f}", r.mean_error); });
  summary_row("largest",
              [](const TransferResult& r) { return fmt::format("{:+.4f}", r.max_error); });
  if (fit.noise.sd > 0) {
    summary_row("mean / noise", [&](const TransferResult& r) {
      return fmt::format("{:+.1f}", r.mean_error / fit.noise.sd);
    });
  }
  text += fmt::format("\nMean and largest leave out batch {}, where the rules coincide.\n",
                      test.anchor_batch);
  for (const TransferComparison& c : test.comparisons) {
    text += fmt::format(
        "\n- Anchor {}: {}. Exact sign-flip test over {} batches; the smallest "
        "possible p is {:.3g}.",
        c.anchor, c.conclusion, c.test.n, c.test.smallest_p);
    if (c.ratio_defined) {
      text += fmt::format(" The first rule's summed error is {:.0f} % {} than the second's.",
                          100 * std::abs(c.ratio_saved), c.ratio_saved >= 0 ? "lower" : "higher");
    }
    if (c.diverged_pairs) {
      text += " A diverged trial counts as the largest difference seen.";
    }
  }
  return text + "\n\n";
}

std::string coverage_section(const Coverage& c) {
  std::string text = fmt::format(
      "## Coverage\n\n{} of {} planned grid trials finished, {} diverged, {} failed; {} refine and "
      "{} "
      "transfer trials.\n\n",
      c.grid_finished, c.grid_planned, c.grid_diverged, c.grid_failed, c.refine_trials,
      c.transfer_trials);
  if (c.excluded.empty()) return text;
  text += "| left out | why |\n| --- | --- |\n";
  for (const ExcludedCell& e : c.excluded) {
    text += "| " + cell(e.what) + " | " + cell(e.reason) + " |\n";
  }
  return text + "\n";
}

std::string list_section(const std::string& title,
                         const std::vector<std::pair<std::string, std::string>>& items) {
  if (items.empty()) return "";
  std::string text = "## " + title + "\n\n| | |\n| --- | --- |\n";
  for (const auto& [name, value] : items) text += "| " + cell(name) + " | " + cell(value) + " |\n";
  return text + "\n";
}

std::string plots_section(const std::string& plot_problem) {
  if (!plot_problem.empty()) return "## Plots\n\nNot drawn: " + plot_problem + "\n\n";
  return "## Plots\n\n"
         "![Best learning rate by batch size](plots/lr_vs_batch.png)\n\n"
         "![Loss by batch size and learning rate](plots/loss_heatmap.png)\n\n"
         "![Transfer error by batch size](plots/transfer_comparison.png)\n\n"
         "![Validation loss by step](plots/convergence_curves.png)\n\n"
         "Each is there as .svg too; the .csv beside it holds the plotted numbers.\n\n";
}

}  // namespace

std::string results_markdown(const RunResults& results, const ScalingFit& fit,
                             const Assessment& assessment, const std::string& plot_problem) {
  std::string text = "# Results: " + results.study.name + "\n\n";
  if (!results.study.question.empty()) text += "> " + results.study.question + "\n\n";
  if (!results.selection.empty()) text += "Only trials with " + results.selection + ".\n\n";
  text += "**" + assessment.verdict.sentence + "**\n\n";
  if (!assessment.warnings.empty()) {
    text += "## Warnings\n\n";
    for (const Warning& w : assessment.warnings) text += "- " + w.text + "\n";
    text += "\n";
  }
  text += optima_section(fit);
  text += estimates_section(fit);
  text += hypotheses_section(fit);
  text += leave_one_out_section(fit);
  text += transfer_section(fit);
  text += plots_section(plot_problem);
  text += coverage_section(assessment.coverage);
  text += list_section("Conventions", assessment.conventions);
  text += list_section("Provenance", assessment.provenance);
  text += std::string("Written by pgpost ") + kVersion + " from the trials' metrics.h5.\n";
  return text;
}

}  // namespace pg::post
