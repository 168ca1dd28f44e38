#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "postprocess/fits/table_fit.hpp"

namespace pg::post {

/// What the numbers of a fitted table mean where tools differ.
inline std::vector<std::string> law_conventions(const TableFit& fit) {
  const Law& law = find_law(fit.options.law);
  std::vector<std::string> list = {
      "residuals, s, R2 and the criteria are of " + law.fitted_response,
      "intervals are 95 %; t quantiles with n - p degrees of freedom; profile: where F(1, df) of "
      "the refitted others crosses its quantile",
      "AIC = 2 k - 2 ln L, k counts sigma (as R does); AICc is not defined for n <= k + 1",
      "rivals compare by AICc of the density of y (for ln y the Jacobian's term is added)",
      "standard errors of exp and derived parameters are by the delta method",
      "curvature and lack of fit are warned of at p < 0.05; R2 is not evidence",
      "hold-out: each point, and the points with the largest x (product of the variables), "
      "predicted by a fit without them"};
  if (!fit.options.hypotheses.empty()) {
    list.emplace_back(
        "hypotheses: t of the standard error, on the logarithm where the interval is "
        "an exp; Holm over the hypotheses of a group; equivalence by two one-sided "
        "tests on the parameter itself");
  }
  if (law.name == kBrokenPower) {
    list.emplace_back(
        "break: one line against two joined ones with at least 3 points each; p is the share of "
        "replicates of one line with Gaussian errors in which the best break removes as much");
  }
  if (!fit.request.weights.empty()) {
    list.emplace_back(
        "weights are relative, 1 / variance of the response: s^2 scales the "
        "covariance; R2 is weighted");
  }
  if (fit.request.merge > 0) list.emplace_back("merged points are plain means");
  const bool bootstrapped = std::any_of(fit.groups.begin(), fit.groups.end(),
                                        [](const GroupFit& g) { return g.bootstrap.has_value(); });
  if (bootstrapped) {
    list.emplace_back(fit.request.cluster.empty()
                          ? "bootstrap: points resampled with replacement, percentile intervals"
                          : "bootstrap: whole clusters (" + fit.request.cluster +
                                ") resampled with replacement, percentile intervals");
  }
  return list;
}

}  // namespace pg::post
