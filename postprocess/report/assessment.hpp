// report: what the numbers say, by rule, and its written forms. May know fits and what fits knows.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "postprocess/fits/scaling_fit.hpp"

namespace pg::post {

/// The source's bands for beta, verbatim; between 0.55 and 0.60 it names nothing.
inline constexpr double kLaplaceLow = 0.60;
inline constexpr double kLaplaceHigh = 0.74;
inline constexpr double kGaussianLow = 0.45;
inline constexpr double kGaussianHigh = 0.55;

/// laplace, gaussian, heavier_tailed, lighter_tailed: only if the whole interval lies in the band;
/// else indeterminate.
std::string band_of(const Interval& beta_ci95);

struct Verdict {
  std::string word;      ///< of band_of, or indeterminate
  std::string sentence;  ///< one sentence that stands alone
  std::vector<std::string> hypotheses_in_ci95;
  bool extend_grid = false;  ///< optima on an edge could change the word
};

/// The verdict on the headline. With optima on an edge, the headline's interval is moved by as much
/// as the line's slope moves when those optima are put at the edge and two grid steps beyond it; if
/// the band changes, the verdict is indeterminate and the grid must be extended.
Verdict judge(const ScalingFit& fit);

struct Warning {
  std::string code;  ///< snake_case, stable
  std::string text;
};

/// How much of the run is there.
struct Coverage {
  std::int64_t grid_planned = 0;
  std::int64_t grid_finished = 0;
  std::int64_t grid_diverged = 0;
  std::int64_t grid_failed = 0;
  std::int64_t refine_trials = 0;
  std::int64_t transfer_trials = 0;
  std::vector<LeftOut> excluded;  ///< cells ("batch 512, learning rate 0.03") and trials
};

// What the source document promised itself of this study, judged one by one: its criteria in its
// own words, and its four scenarios. Intervals decide, not point estimates.

struct Criterion {
  std::string name;     ///< snake_case, stable
  std::string text;     ///< what the source asks
  std::string outcome;  ///< met, not_met, indeterminate
  std::string why;      ///< the numbers behind it
};

/// The source's success metrics: "minimal" (three) and "full" (three).
std::vector<Criterion> judge_criteria(const ScalingFit& fit, const Verdict& verdict,
                                      const Coverage& coverage);

/// Scenario 1 to 4 of the source (Laplace confirmed, Gaussian, intermediate, unexpected), or why
/// there is none: the interval spans several, optima on an edge could move it, or the line through
/// the optima names another one.
struct Scenario {
  std::string word;  ///< laplace_confirmed, gaussian, intermediate, unexpected, indeterminate
  std::string sentence;
};
Scenario judge_scenario(const ScalingFit& fit, const Verdict& verdict);

struct Assessment {
  Verdict verdict;
  Scenario scenario;
  std::vector<Criterion> criteria;
  std::vector<Warning> warnings;
  Coverage coverage;
  std::vector<std::pair<std::string, std::string>> conventions;  ///< name, text
  std::vector<std::pair<std::string, std::string>> provenance;   ///< what, value
};

/// Throws nothing for odd data; an unreadable provenance.json becomes a warning.
Assessment assess(const RunResults& results, const ScalingFit& fit);

/// What --strict asks: a headline, nothing left out, and no warning but that of a table's nature.
bool nothing_in_doubt(const ScalingFit& fit, const Assessment& assessment);

}  // namespace pg::post
