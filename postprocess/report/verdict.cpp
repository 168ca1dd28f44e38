#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "postprocess/report/assessment.hpp"

namespace pg::post {
namespace {

std::string band_sentence(const std::string& word) {
  if (word == "laplace") {
    return fmt::format("the whole interval lies in the Laplace band ({:.2f} < beta < {:.2f})",
                       kLaplaceLow, kLaplaceHigh);
  }
  if (word == "gaussian") {
    return fmt::format("the whole interval lies in the Gaussian band ({:.2f} < beta < {:.2f})",
                       kGaussianLow, kGaussianHigh);
  }
  if (word == "heavier_tailed") {
    return fmt::format(
        "the whole interval lies below {:.2f}: the band \"heavier tails than "
        "expected\"",
        kGaussianLow);
  }
  return fmt::format(
      "the whole interval lies above {:.2f}: the band \"lighter tails than "
      "expected\"",
      kLaplaceHigh);
}

std::string named(const HypothesisTest& h) {
  return fmt::format("{} ({:.3g})", h.name, h.beta);
}

std::string contents(const ScalingFit& fit) {
  std::vector<std::string> names;
  for (const HypothesisTest& h : fit.hypotheses) {
    if (h.in_ci95) names.push_back(named(h));
  }
  if (names.empty())
    return "the interval contains none of the hypotheses, but lies in no single band";
  return "the interval contains " + join(names, ", ") +
         (names.size() == 1 ? ", but lies in no single band" : "");
}

Interval moved(const Interval& interval, double by) {
  return {interval.low + by, interval.high + by};
}

bool edges_matter(const ScalingFit& fit, const std::string& word) {
  if (!fit.edges_at_edge) return false;
  if (!fit.headline().ok() || !fit.line.ok()) return true;
  for (const auto* moved_line : {&*fit.edges_at_edge, &*fit.edges_beyond}) {
    const double shift = moved_line->beta - fit.line.beta;
    if (band_of(moved(fit.headline().beta_ci95, shift)) != word) return true;
  }
  return false;
}

/// The surface assumes one curvature for all batches and symmetric valleys, the line through the
/// optima does not: where the two put beta into different bands, neither can be believed.
bool line_objects(const ScalingFit& fit, const std::string& word) {
  return fit.surface.estimate.ok() && fit.line.ok() && word != "indeterminate" &&
         band_of(fit.line.beta_ci95) != word;
}

std::string edge_batches(const ScalingFit& fit) {
  std::vector<std::string> batches;
  for (const Optimum& o : fit.optima) {
    if (o.state == OptimumState::edge_low || o.state == OptimumState::edge_high) {
      batches.push_back(fmt::format("{} ({} edge)", o.batch,
                                    o.state == OptimumState::edge_low ? "lower" : "upper"));
    }
  }
  return join(batches, ", ");
}

/// A row that ends early may only wait for its remaining trials.
std::string what_to_do(const ScalingFit& fit) {
  const bool incomplete = std::any_of(fit.optima.begin(), fit.optima.end(), [](const Optimum& o) {
    const bool edge = o.state == OptimumState::edge_low || o.state == OptimumState::edge_high;
    return edge && o.n_missing > 0;
  });
  return incomplete ? "the grid must be completed or extended" : "the grid must be extended";
}

}  // namespace

std::string band_of(const Interval& ci) {
  if (ci.within(kLaplaceLow, kLaplaceHigh)) return "laplace";
  if (ci.within(kGaussianLow, kGaussianHigh)) return "gaussian";
  if (ci.finite() && ci.high < kGaussianLow) return "heavier_tailed";
  if (ci.finite() && ci.low > kLaplaceHigh) return "lighter_tailed";
  return "indeterminate";
}

Verdict judge(const ScalingFit& fit) {
  Verdict verdict;
  const ExponentEstimate& headline = fit.headline();
  if (!headline.ok()) {
    verdict.word = "indeterminate";
    verdict.extend_grid = fit.edges_at_edge.has_value();
    verdict.sentence = "Indeterminate: no exponent can be estimated (" + headline.status + ")";
    if (verdict.extend_grid) {
      verdict.sentence += "; the optimum lies on the edge of the grid at batch " +
                          edge_batches(fit) + ": " + what_to_do(fit);
    }
    verdict.sentence += ".";
    return verdict;
  }
  for (const HypothesisTest& h : fit.hypotheses) {
    if (h.in_ci95) verdict.hypotheses_in_ci95.push_back(h.name);
  }
  const std::string numbers = fmt::format(
      "the best learning rate follows batch^beta with beta = {:.3f}, 95 % interval "
      "[{:.3f}, {:.3f}]",
      headline.beta, headline.beta_ci95.low, headline.beta_ci95.high);
  verdict.word = band_of(headline.beta_ci95);
  verdict.extend_grid = edges_matter(fit, verdict.word);
  if (line_objects(fit, verdict.word)) {
    verdict.word = "indeterminate";
    verdict.sentence = fmt::format(
        "Indeterminate: {} from the loss surface, but the line through the interpolated optima has "
        "beta = {:.3f} [{:.3f}, {:.3f}]: they share no band",
        numbers, fit.line.beta, fit.line.beta_ci95.low, fit.line.beta_ci95.high);
  } else if (verdict.word == "indeterminate") {
    verdict.sentence = fmt::format("Indeterminate: {}; {}", numbers, contents(fit));
    if (headline.beta >= kGaussianHigh && headline.beta <= kLaplaceLow) {
      verdict.sentence += ", and its centre falls between the bands";
    }
  } else {
    verdict.sentence = fmt::format("{}: {}", numbers, band_sentence(verdict.word));
    verdict.sentence[0] = 'T';
  }
  if (verdict.extend_grid) {
    const bool was_clear = verdict.word != "indeterminate";
    verdict.word = "indeterminate";
    if (was_clear) {
      verdict.sentence = fmt::format("Indeterminate: {} from the bracketed optima alone", numbers);
    }
    verdict.sentence += fmt::format(
        "; the optimum lies on the edge of the grid at batch {}, which "
        "could change the verdict: {}",
        edge_batches(fit), what_to_do(fit));
  }
  if (fit.edges_unknown) {
    if (verdict.word != "indeterminate") {
      verdict.sentence = fmt::format("Indeterminate: {} at face value", numbers);
    }
    verdict.word = "indeterminate";
    verdict.sentence +=
        "; whether optima lie on the edge of the grid that they were chosen from is not known: "
        "give its learning rates (--grid)";
  }
  verdict.sentence += ".";
  return verdict;
}

}  // namespace pg::post
