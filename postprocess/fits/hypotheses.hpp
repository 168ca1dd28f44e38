#pragma once

#include <limits>
#include <string>
#include <vector>

#include "postprocess/fits/gating.hpp"
#include "postprocess/stats/heterogeneity.hpp"

// The four hypotheses of the scaling protocol ("Paper 2") and its scenarios, decided by rule.
//
// Conventions. A benefit is a relative reduction of the validation loss (0.01 = 1 %), a saving a
// relative reduction of the FLOP (6 N per token) to the same validation loss. Among k arms the one
// whose interval has the highest lower end speaks, and k pays for the choice: the smallest p is
// multiplied by k, intervals are two-sided at 1 - 0.05 / k (Bonferroni). p_holm is Holm's over the
// four hypotheses; one that was not tested counts with p = 1.
//
// H1, benefit at every size: in each configuration p = k min p (one-sided, benefit > 0), and the
//   largest p counts (intersection-union). Supported: p_holm < 0.05, with three or more sizes of
//   one architecture: different architectures of like size are no scale. Contradicted: in some
//   configuration each arm's benefit is shown to lie below 1 %, the smallest that the protocol
//   expects (largest one-sided p over arms, times the number of configurations, < 0.05).
// H2, efficiency at larger sizes: the same for the saving at the largest size of each architecture
//   that was run at two or more, smallest expected saving 5 %.
// H3, optimal alpha moves with size: slope of alpha* on ln N, weighted by the errors of alpha*, per
//   architecture, unit and form (k of them); two-sided. Where alpha* scatters about the line by
//   more than its errors explain (p < kMisfitLevel), the error is that of the scatter (Paule and
//   Mandel 1982), with n - 2 degrees of freedom; else the fewest of the alpha* count. Contradicted:
//   in each the whole move over the sizes studied is shown to be smaller than 0.1 (TOST).
// H4, benefit in every architecture: each arm that all architectures have, averaged over sizes per
//   architecture; largest one-sided p over architectures, times the number k of such arms.
//   Contradicted: in some architecture each of those arms is shown to bring less than 1 % (times
//   the number of architectures). Heterogeneity between architectures is that of the arm.
// Everything else is indeterminate; not_tested says which runs are missing.

namespace pg::post {

inline constexpr double kSmallestBenefit = 0.01;
inline constexpr double kSmallestSaving = 0.05;
inline constexpr double kSmallestAlphaMove = 0.1;
inline constexpr std::size_t kFewestSizes = 3;

struct HypothesisResult {
  std::string name;                                          ///< H1 ... H4
  std::string statement;                                     ///< of the protocol
  std::string measure;                                       ///< what `effect` is
  double effect = std::numeric_limits<double>::quiet_NaN();  ///< NaN: nothing to estimate
  Interval ci95 = {-std::numeric_limits<double>::infinity(),
                   std::numeric_limits<double>::infinity()};
  double p = 1;
  double p_holm = 1;
  std::string verdict = "not_tested";  ///< supported, contradicted, indeterminate, not_tested
  std::string reason = {};
  std::vector<std::string> details = {};  ///< one line per size, family or architecture
};

struct GatingConclusions {
  std::vector<HypothesisResult> hypotheses;  ///< the four, in order
  std::string common_arm;       ///< whose benefits `heterogeneity` compares; empty: there is none
  Heterogeneity heterogeneity;  ///< between architectures
  /// best: benefit >= 2 % and saving >= 10 % (lower ends of the intervals of H1 and H2);
  /// expected: >= 1 % and >= 5 %; worst: H1 or H2 contradicted (at some size no arm reaches 1 %, or
  /// at the largest none saves 5 %); else indeterminate. More than the protocol's upper bounds (5 %
  /// and 20 %) still counts as best.
  std::string scenario = "indeterminate";
  std::string scenario_reason;
};

GatingConclusions conclude(const GatingAnalysis& analysis);

}  // namespace pg::post
