#include "postprocess/fits/gating.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "base/error.hpp"
#include "base/text.hpp"
#include "postprocess/fits/alpha_optimum.hpp"
#include "postprocess/fits/gating_arms.hpp"
#include "postprocess/stats/power.hpp"

namespace pg::post {
namespace {

/// Rows of two arms with the same seed, both usable.
struct Pairs {
  std::vector<std::pair<const TrialRow*, const TrialRow*>> rows;  ///< (anchor, arm)
  std::vector<std::uint64_t> unpaired;
  std::vector<std::uint64_t> arm_diverged;
  bool anchor_diverged = false;
};

Pairs find_pairs(const TrialTable& table, const Arm& anchor, const Arm& arm) {
  Pairs pairs;
  std::map<std::uint64_t, std::pair<const TrialRow*, const TrialRow*>> by_seed;
  for (const std::size_t r : anchor.rows) {
    const TrialRow& row = table.rows[r];
    if (row.usable()) by_seed[row.seed].first = &row;
    pairs.anchor_diverged = pairs.anchor_diverged || row.diverged();
  }
  for (const std::size_t r : arm.rows) {
    const TrialRow& row = table.rows[r];
    if (row.usable()) by_seed[row.seed].second = &row;
    if (row.diverged()) pairs.arm_diverged.push_back(row.seed);
  }
  for (const auto& [seed, both] : by_seed) {
    if (both.first != nullptr && both.second != nullptr) {
      pairs.rows.push_back(both);
    } else {
      pairs.unpaired.push_back(seed);
    }
  }
  return pairs;
}

/// The share of a trial's steps after which its validation loss first falls to `loss`, linear
/// between evaluations; nothing where the curve never does.
std::optional<double> share_to_reach(const TrialRow& row, double loss) {
  if (row.steps < 1) return std::nullopt;
  const auto steps = static_cast<double>(row.steps);
  for (std::size_t i = 0; i < row.val_loss.size(); ++i) {
    if (!(row.val_loss[i] <= loss)) continue;
    double step = static_cast<double>(row.val_step[i]);
    if (i > 0 && row.val_loss[i - 1] > row.val_loss[i]) {
      const double before = static_cast<double>(row.val_step[i - 1]);
      step = before + (step - before) * (row.val_loss[i - 1] - loss) /
                          (row.val_loss[i - 1] - row.val_loss[i]);
    }
    return step / steps;
  }
  return std::nullopt;
}

/// ln of the steps to the same loss, arm over anchor. The better trial is followed until it reaches
/// the final loss of the other: swapping the two only changes the sign, so that where the arms are
/// equal the noise of the curves does not favour either.
std::optional<double> log_steps_to_same_loss(const TrialRow& anchor, const TrialRow& arm) {
  if (arm.loss == anchor.loss) return 0.0;
  const bool arm_is_better = arm.loss < anchor.loss;
  const auto share =
      arm_is_better ? share_to_reach(arm, anchor.loss) : share_to_reach(anchor, arm.loss);
  if (!share || !(*share > 0)) return std::nullopt;
  const double steps = std::log(std::min(*share, 1.0));
  return arm_is_better ? steps : -steps;
}

/// FLOP of a step are taken as 6 N per token.
void compare_costs(const Pairs& pairs, ArmComparison& c) {
  for (const auto& [anchor, arm] : pairs.rows) {
    const auto steps = log_steps_to_same_loss(*anchor, *arm);
    if (!steps || anchor->n_parameters < 1 || arm->n_parameters < 1 || anchor->tokens < 1 ||
        arm->tokens < 1) {
      c.log_flops.clear();
      c.log_seconds.clear();
      return;
    }
    const auto cost = [](const TrialRow& row) {
      return static_cast<double>(row.n_parameters) * static_cast<double>(row.tokens);
    };
    c.log_flops.push_back(*steps + std::log(cost(*arm) / cost(*anchor)));
    if (anchor->seconds > 0 && arm->seconds > 0) {
      c.log_seconds.push_back(*steps + std::log(arm->seconds / anchor->seconds));
    }
  }
  if (c.log_seconds.size() != c.log_flops.size()) c.log_seconds.clear();
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

std::vector<double> usable_losses(const TrialTable& table, const Arm& arm) {
  std::vector<double> losses;
  for (const std::size_t r : arm.rows) {
    if (table.rows[r].usable()) losses.push_back(table.rows[r].loss);
  }
  return losses;
}

/// Without a seed in common: both samples relative to the anchor's mean.
void compare_unpaired(const GatingAnalysis& a, ArmComparison& c) {
  std::vector<double> anchor = usable_losses(a.table, a.arms[c.anchor]);
  std::vector<double> arm = usable_losses(a.table, a.arms[c.arm]);
  c.status = ArmStatus::no_pairs;
  if (anchor.size() < 2 || arm.size() < 2) return;
  c.status = ArmStatus::unpaired;
  c.anchor_loss = mean_of(anchor);
  c.loss = mean_of(arm);
  for (double& loss : anchor) loss /= c.anchor_loss;
  for (double& loss : arm) loss /= c.anchor_loss;
  c.test = welch_test(arm, anchor);
  c.effect = hedges_g(arm, anchor);
  c.equivalence = equivalence_test(c.test, a.table.analysis.equivalence_margin);
}

ArmComparison compare(const GatingAnalysis& a, std::size_t block, std::size_t anchor,
                      std::size_t arm) {
  ArmComparison c;
  c.block = block;
  c.arm = arm;
  c.anchor = anchor;
  c.label = label_in(a, a.arms[arm]);
  c.gate = a.compares_settings() ? c.label : gate_of(a.arms[arm]);
  if (!a.compares_settings()) c.alpha = alpha_of(a.arms[arm]);
  const Pairs pairs = find_pairs(a.table, a.arms[anchor], a.arms[arm]);
  c.unpaired = pairs.unpaired;
  c.diverged = pairs.arm_diverged;
  const auto n = static_cast<double>(pairs.rows.size());
  std::vector<double> x;
  std::vector<double> y;
  for (const auto& [anchor_row, arm_row] : pairs.rows) {
    c.seeds.push_back(anchor_row->seed);
    c.anchor_loss += anchor_row->loss / n;
    c.loss += arm_row->loss / n;
    x.push_back(arm_row->loss / anchor_row->loss);
    y.push_back(1);
    c.differences.push_back(arm_row->loss / anchor_row->loss - 1);
  }
  c.detectable = std::numeric_limits<double>::infinity();
  for (const double effect : kAskedEffects) c.needed.push_back({effect, 0});
  if (!c.diverged.empty() || pairs.anchor_diverged) {
    c.status = ArmStatus::diverged;
  } else if (pairs.rows.empty()) {
    compare_unpaired(a, c);
  } else {
    const bool identical = std::all_of(pairs.rows.begin(), pairs.rows.end(), [](const auto& pair) {
      return pair.first->loss == pair.second->loss;
    });
    c.status = identical               ? ArmStatus::identical
               : pairs.rows.size() < 2 ? ArmStatus::one_pair
                                       : ArmStatus::ok;
    c.test = paired_test(x, y);
    c.equivalence = equivalence_test(c.test, a.table.analysis.equivalence_margin);
    compare_costs(pairs, c);
  }
  return c;
}

void adjust_for_family(std::vector<ArmComparison>& comparisons) {
  std::vector<double> p;
  for (const ArmComparison& c : comparisons) {
    if (c.has_error()) p.push_back(c.test.p);
  }
  const std::vector<double> by_holm = holm(p);
  const std::vector<double> by_bh = benjamini_hochberg(p);
  std::size_t next = 0;
  for (ArmComparison& c : comparisons) {
    if (!c.has_error()) continue;
    c.p_holm = by_holm[next];
    c.p_bh = by_bh[next++];
  }
}

/// Over the seeds that every arm of the block has.
std::optional<MeanTest> leave_one_seed_out(const std::vector<const ArmComparison*>& arms) {
  std::set<std::uint64_t> seeds(arms.front()->seeds.begin(), arms.front()->seeds.end());
  for (const ArmComparison* c : arms) {
    std::erase_if(seeds, [&](std::uint64_t s) {
      return std::find(c->seeds.begin(), c->seeds.end(), s) == c->seeds.end();
    });
  }
  if (seeds.size() < 2) return std::nullopt;
  const auto at = [](const ArmComparison& c, std::uint64_t seed) {
    const auto place = std::find(c.seeds.begin(), c.seeds.end(), seed);
    return c.differences[static_cast<std::size_t>(place - c.seeds.begin())];
  };
  std::vector<double> held_out;
  for (const std::uint64_t left : seeds) {
    double lowest = std::numeric_limits<double>::infinity();
    const ArmComparison* chosen = arms.front();
    for (const ArmComparison* c : arms) {
      double sum = 0;
      for (const std::uint64_t seed : seeds) sum += seed == left ? 0 : at(*c, seed);
      if (sum < lowest) {
        lowest = sum;
        chosen = c;
      }
    }
    held_out.push_back(at(*chosen, left));
  }
  return mean_test(held_out);
}

std::vector<BestArm> find_best(const GatingAnalysis& a) {
  std::vector<BestArm> best;
  for (std::size_t block = 0; block < a.blocks.size(); ++block) {
    std::vector<const ArmComparison*> arms;
    double variance = 0;
    double df = 0;
    for (const ArmComparison& c : a.comparisons) {
      if (c.block != block || !c.tested()) continue;
      arms.push_back(&c);
      if (c.test.df < 1) continue;
      variance += c.test.df * c.test.se * c.test.se;
      df += c.test.df;
    }
    if (arms.empty()) continue;
    const auto lowest = std::min_element(
        arms.begin(), arms.end(),
        [](const auto* x, const auto* y) { return x->test.estimate < y->test.estimate; });
    BestArm b;
    b.block = block;
    b.comparison = static_cast<std::size_t>(*lowest - a.comparisons.data());
    b.n_arms = arms.size();
    b.naive = (*lowest)->test.estimate;
    if (df > 0) b.selection_bias = expected_minimum_bias(arms.size(), std::sqrt(variance / df));
    b.honest = leave_one_seed_out(arms);
    best.push_back(std::move(b));
  }
  return best;
}

/// Supported: every equivalence test rejects (an intersection-union test, which needs no
/// adjustment). Contradicted: one interval, simultaneous by Bonferroni, lies beyond the margin.
AlphaZeroMatch match_alpha_zero(const GatingAnalysis& a) {
  AlphaZeroMatch match;
  match.margin = a.table.analysis.equivalence_margin;
  for (std::size_t block = 0; block < a.blocks.size(); ++block) {
    const auto& arms = a.blocks[block].arms;
    const auto vanilla = std::find_if(arms.begin(), arms.end(),
                                      [&](std::size_t i) { return is_vanilla(a.arms[i]); });
    if (vanilla == arms.end()) continue;
    for (const std::size_t i : arms) {
      if (alpha_of(a.arms[i]) != std::optional<double>(0)) continue;
      const ArmComparison c = compare(a, block, *vanilla, i);
      match.entries.push_back(
          {block, c.gate, c.test, c.equivalence, c.status == ArmStatus::identical});
    }
  }
  if (match.entries.empty()) {
    match.reason =
        "no configuration has both an arm with gate.alpha=0 and a vanilla arm "
        "(gate.unit=vanilla)";
    return match;
  }
  const double level = 1 - 0.05 / static_cast<double>(match.entries.size());
  bool beyond = false;
  match.p = 0;
  for (const auto& e : match.entries) {
    if (e.identical) continue;
    match.p = std::max(match.p, e.equivalence.p);
    const Interval wide = student_interval(e.test.estimate, e.test.se, e.test.df, level);
    beyond = beyond || wide.low > match.margin || wide.high < -match.margin;
  }
  match.verdict = beyond ? "contradicted" : match.p < 0.05 ? "supported" : "indeterminate";
  match.reason = beyond ? "the difference is larger than the margin"
                 : match.p < 0.05
                     ? std::all_of(match.entries.begin(), match.entries.end(),
                                   [](const auto& e) { return e.identical; })
                           ? "the losses are equal to the last bit"
                           : "every difference lies within the margin"
                     : "some difference is not shown to lie within the margin: more seeds";
  return match;
}

std::vector<OverallDifference> overall_differences(const GatingAnalysis& a) {
  std::map<std::string, std::vector<std::vector<double>>> by_gate;
  for (const ArmComparison& c : a.comparisons) {
    if (c.tested() && !c.differences.empty()) by_gate[c.label].push_back(c.differences);
  }
  std::vector<OverallDifference> list;
  for (const auto& [label, differences] : by_gate) {
    if (differences.size() < 2) continue;
    list.push_back({label, differences.size(),
                    hierarchical_mean(differences, kOverallReplicates, kOverallSeed, 0)});
  }
  return list;
}

void require_an_anchor(const GatingAnalysis& a) {
  if (!a.comparisons.empty()) return;
  std::set<std::string> arms;
  for (const Arm& arm : a.arms) arms.insert(label_in(a, arm));
  const std::vector<std::string> list(arms.begin(), arms.end());
  throw_data(fmt::format("no configuration has the anchor ({}) and an arm to compare with it; the "
                         "arms are: {}",
                         a.anchor, join(list, ", ")),
             a.compares_settings()   ? "trials with the base settings of study.yaml beside others"
             : a.anchor == "vanilla" ? "trials with gate.unit=vanilla beside the gated ones"
                                     : "trials with " + a.anchor + " beside those of other alpha",
             "train the anchor, or name another one: analysis.anchor in study.yaml");
}

}  // namespace

std::string to_string(ArmStatus status) {
  switch (status) {
    case ArmStatus::ok: return "ok";
    case ArmStatus::unpaired: return "unpaired";
    case ArmStatus::one_pair: return "one_pair";
    case ArmStatus::identical: return "identical";
    case ArmStatus::no_pairs: return "no_pairs";
    case ArmStatus::diverged: return "diverged";
  }
  return "";
}

GatingAnalysis compare_arms(TrialTable table) {
  GatingAnalysis a;
  a.table = std::move(table);
  a.anchor = a.compares_settings() ? "the base settings" : a.table.analysis.anchor;
  a.arms = make_arms(a.table);
  a.left_out = a.table.left_out;
  a.warnings = a.table.warnings;
  for (const TrialRow& row : a.table.rows) {
    if (!row.usable()) {
      a.left_out.push_back({row.name(), record::to_string(row.status) + ": " + row.reason});
    }
  }
  a.blocks = make_blocks(a);
  for (std::size_t b = 0; b < a.blocks.size(); ++b) {
    GatingBlock& block = a.blocks[b];
    for (const std::size_t i : block.arms) {
      const auto anchor = anchor_for(a, block, a.arms[i]);
      if (!anchor) {
        a.left_out.push_back({block.label + ": " + label_in(a, a.arms[i]),
                              "its configuration has no anchor (" + a.anchor + ")"});
        continue;
      }
      block.n_parameters = a.arms[*anchor].n_parameters;
      if (*anchor == i) continue;
      block.compared = true;
      a.comparisons.push_back(compare(a, b, *anchor, i));
    }
    if (!block.compared && block.arms.size() == 1 && anchor_for(a, block, a.arms[block.arms[0]])) {
      a.left_out.push_back({block.label, "only the anchor was run there"});
    }
  }
  require_an_anchor(a);
  adjust_for_family(a.comparisons);
  for (const ArmComparison& c : a.comparisons) {
    if (c.has_error() || c.status == ArmStatus::identical) continue;
    a.left_out.push_back({a.blocks[c.block].label + ": " + c.label,
                          c.status == ArmStatus::diverged ? "it or its anchor diverged: not tested"
                          : c.status == ArmStatus::no_pairs
                              ? "no seed that both it and its anchor finished, and not two of each"
                              : "one pair of seeds: no error is known"});
  }
  a.best = find_best(a);
  if (a.compares_settings()) {
    a.alpha_zero.reason = "the arms differ in other settings than gates";
    return a;
  }
  a.optima = find_alpha_optima(a);
  a.alpha_zero = match_alpha_zero(a);
  return a;
}

GatingAnalysis analyse_gating(TrialTable table) {
  GatingAnalysis a = compare_arms(std::move(table));
  for (ArmComparison& c : a.comparisons) {
    if (c.status != ArmStatus::ok || c.test.df < 1) continue;
    const std::vector<double> zero(c.differences.size(), 0.0);
    c.effect = hedges_g_paired(c.differences, zero);
    c.p_signed_rank = signed_rank_test(c.differences).p;
    if (c.differences.size() <= kMostPairs) c.p_sign_flip = sign_flip_test(c.differences).p;
    const double sd = c.test.se * std::sqrt(static_cast<double>(c.differences.size()));
    c.detectable = minimum_detectable_effect(sd, c.differences.size());
    for (SeedsNeeded& s : c.needed) s.seeds = values_needed(s.effect, sd);
  }
  a.overall = overall_differences(a);
  return a;
}

}  // namespace pg::post
