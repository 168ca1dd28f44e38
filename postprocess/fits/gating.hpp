#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "postprocess/results/arms.hpp"
#include "postprocess/stats/bootstrap.hpp"
#include "postprocess/stats/comparisons.hpp"

// What gates are worth: within each configuration that is equal but for gate.*, every arm against
// the anchor arm, by pairs of equal seeds. Differences are relative to the anchor's loss of the
// same seed: -0.01 is a loss 1 % lower.

namespace pg::post {

/// Effects that the power table asks about.
inline constexpr double kAskedEffects[] = {0.005, 0.01, 0.02};

struct SeedsNeeded {
  double effect = 0;
  std::size_t seeds = 0;  ///< per arm, power 80 %, level 5 %; 0: more than 100,000 or no sd known
};

enum class ArmStatus {
  ok,
  unpaired,   ///< no seed in common: Welch's test of both samples
  one_pair,   ///< no error is known
  identical,  ///< every pair has the same loss to the last bit: the same computation, no test
              ///< needed
  no_pairs,
  diverged,  ///< arm or anchor, at some seed: the seeds that survive do not speak for it
};
std::string to_string(ArmStatus status);

/// One arm against the anchor of its block.
struct ArmComparison {
  std::size_t block = 0;
  std::size_t arm = 0;          ///< into GatingAnalysis::arms
  std::size_t anchor = 0;       ///< the same
  std::string label;            ///< the gate: "paglu self_gate alpha=0.5"
  std::string gate;             ///< unit and form: "paglu self_gate"
  std::optional<double> alpha;  ///< nothing for vanilla
  ArmStatus status = ArmStatus::ok;
  [[nodiscard]] bool has_error() const {
    return status == ArmStatus::ok || status == ArmStatus::unpaired;
  }
  /// Whether it can show a difference from the anchor.
  [[nodiscard]] bool tested() const { return has_error() || status == ArmStatus::one_pair; }
  /// Whether it has a difference from the anchor at all.
  [[nodiscard]] bool measured() const { return tested() || status == ArmStatus::identical; }
  std::vector<std::uint64_t> seeds;     ///< of the pairs
  std::vector<std::uint64_t> unpaired;  ///< seeds that only one of the two finished
  std::vector<std::uint64_t> diverged;  ///< seeds of the arm
  double anchor_loss = 0;               ///< means over the pairs, nats per token
  double loss = 0;
  std::vector<double> differences;      ///< relative, by pair
  MeanTest test;                        ///< of the relative differences
  double p_holm = 1;                    ///< over all comparisons with an error
  double p_bh = 1;                      ///< the same, false discovery rate: exploration
  EffectSize effect;                    ///< Hedges g, of the pairs where there are some
  std::optional<double> p_sign_flip;    ///< exact, of the pairs; a check of the t test
  std::optional<double> p_signed_rank;  ///< Wilcoxon's
  Equivalence equivalence;              ///< with 0, margin analysis.equivalence_margin
  double detectable = 0;                ///< smallest relative effect found with power 80 %
  std::vector<SeedsNeeded> needed;
  /// ln of FLOP and of seconds to the same validation loss, arm over anchor, by pair; empty where
  /// the curves do not give it for every pair.
  std::vector<double> log_flops;
  std::vector<double> log_seconds;
};

/// loss = level + slope u + curvature u^2 with u = alpha - centre; level is the mean over seeds.
struct AlphaParabola {
  double centre = 0;
  double level = 0;
  double slope = 0;
  double curvature = 0;
  [[nodiscard]] double at(double alpha) const;
};

/// Where the loss is lowest along alpha, for one unit and form of one block: the vertex of
/// loss = seed + b1 alpha + b2 alpha^2 through all fixed-alpha arms, with Fieller's interval.
struct AlphaOptimum {
  std::size_t block = 0;
  std::string gate;
  std::vector<double> alphas;
  std::size_t n = 0;  ///< losses in the fit
  /// "determined"; "edge_low", "edge_high" (the vertex or the better end lies at or beyond the
  /// tested range: a bound only); "not_determined" with the reason in `detail`.
  std::string status = "not_determined";
  std::string detail;
  double alpha = 0;
  double se = 0;  ///< delta method
  double df = 0;
  Interval ci95 = {};
  std::optional<AlphaParabola> parabola;  ///< nothing: fewer than three alphas, or no error
  double curvature_p = 1;                 ///< one-sided, against a curvature <= 0
  std::optional<double> misfit_p;  ///< of the quadratic against a free value per alpha; 4+ alphas
};

/// How much choosing the best of a block's arms flatters it.
struct BestArm {
  std::size_t block = 0;
  std::size_t comparison = 0;  ///< the arm with the lowest mean difference
  std::size_t n_arms = 0;
  double naive = 0;           ///< its mean relative difference
  double selection_bias = 0;  ///< expected flattery if all arms were equal
  /// Leave one seed out: the arm that is best on the other seeds, measured on the seed left out.
  /// Its values share seeds, so the interval is approximate; no verdict uses it.
  std::optional<MeanTest> honest;
};

/// One arm over all configurations that ran it: configurations and the seeds within them are both
/// resampled, so that the interval speaks of configurations like these.
struct OverallDifference {
  std::string label;
  std::size_t n_blocks = 0;
  HierarchicalMean difference;  ///< relative, mean of the configurations' means
};
inline constexpr std::size_t kOverallReplicates = 9999;
inline constexpr std::uint64_t kOverallSeed = 1;

/// A configuration: the arms that are compared with one another (make_blocks).
struct GatingBlock {
  std::string label;  ///< what sets it apart from the other blocks, or "all trials"
  std::string architecture;
  std::int64_t n_parameters = 0;  ///< of the anchor, else of the first arm
  std::vector<std::size_t> arms;
  bool compared = false;  ///< it has the anchor and an arm beside it
};

/// Whether alpha = 0 matches the vanilla network within the margin (validation plan, question 1),
/// in every block and gate that has both arms.
struct AlphaZeroMatch {
  std::string verdict = "not_tested";  ///< supported, contradicted, indeterminate, not_tested
  std::string reason;
  double margin = 0.02;
  double p = 1;  ///< largest of the equivalence tests: all must match
  struct Entry {
    std::size_t block = 0;
    std::string gate;
    MeanTest test;
    Equivalence equivalence;
    bool identical = false;  ///< the same losses to the last bit: a match without a test
  };
  std::vector<Entry> entries;
};

struct GatingAnalysis {
  TrialTable table;
  std::string anchor;
  std::vector<Arm> arms;
  std::vector<GatingBlock> blocks;  ///< by architecture, then size
  std::vector<ArmComparison> comparisons;
  std::vector<AlphaOptimum> optima;
  std::vector<BestArm> best;
  std::vector<OverallDifference> overall;  ///< of gates that two configurations or more ran
  AlphaZeroMatch alpha_zero;
  std::vector<LeftOut> left_out;
  std::vector<std::string> warnings;

  /// With analysis.kind: arms the arms may differ from the study's base settings in anything, not
  /// in gates alone, and the base settings are the anchor.
  [[nodiscard]] bool compares_settings() const { return table.analysis.kind == "arms"; }
};

/// Everything that the conclusions need: all but effect sizes and power of the comparisons. Throws
/// InvalidInput (data) where no block holds the anchor, naming the gates there are.
GatingAnalysis compare_arms(TrialTable table);

/// compare_arms, and Hedges g, exact tests, the detectable effect, the seeds needed, and the gates
/// over all configurations.
GatingAnalysis analyse_gating(TrialTable table);

}  // namespace pg::post
