#include "postprocess/fits/hypotheses.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "postprocess/fits/exponent.hpp"
#include "postprocess/stats/known_variances.hpp"

namespace pg::post {
namespace {

constexpr double kLevel = 0.05;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// An estimate that is better the larger it is, with its error.
struct Gain : Measured {
  std::string label;
  /// Of gain <= limit and of gain >= limit, one-sided.
  [[nodiscard]] double p_above(double limit) const {
    return has_error() ? student_upper_p((estimate - limit) / se, df) : 1;
  }
  [[nodiscard]] double p_below(double limit) const {
    return has_error() ? student_upper_p((limit - estimate) / se, df) : 1;
  }
};

Gain negative(const std::string& label, const MeanTest& test) {
  return {{-test.estimate, test.se, test.df}, label};
}

/// The arm that speaks for a set, and what choosing it costs.
struct Spokesman {
  const Gain* gain = nullptr;
  double p = 1;        ///< k min p
  double p_small = 1;  ///< that every arm's gain lies below the smallest expected one
  Interval ci95 = {-kInfinity, kInfinity};
};

Spokesman choose(const std::vector<Gain>& gains, double smallest) {
  Spokesman s;
  const auto k = static_cast<double>(gains.size());
  double least = kInfinity;
  double most = 0;
  for (const Gain& g : gains) {
    const Interval ci = student_interval(g.estimate, g.se, g.df, 1 - kLevel / k);
    // Where no error is known the larger gain speaks.
    if (s.gain == nullptr || ci.low > s.ci95.low ||
        (ci.low == s.ci95.low && g.estimate > s.gain->estimate)) {
      s.gain = &g;
      s.ci95 = ci;
    }
    least = std::min(least, g.p_above(0));
    most = std::max(most, g.p_below(smallest));
  }
  if (s.gain == nullptr) return s;
  s.p = std::min(1.0, k * least);
  s.p_small = most;
  return s;
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:+.2f} %", 100 * share) : "unbounded";
}

std::string round_percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

std::string range(const Interval& i) {
  return fmt::format("[{}, {}]", percent(i.low), percent(i.high));
}

/// What decides at one configuration: every tested arm's gain. An arm that diverged, or is
/// the anchor under another name, cannot carry a benefit and is not among them.
using GainOf = std::optional<Gain> (*)(const ArmComparison&);

std::vector<Gain> gains_in(const GatingAnalysis& a, std::size_t block, GainOf gain_of) {
  std::vector<Gain> gains;
  for (const ArmComparison& c : a.comparisons) {
    if (c.block != block || !c.tested()) continue;
    if (auto gain = gain_of(c)) gains.push_back(*std::move(gain));
  }
  return gains;
}

std::optional<Gain> benefit_of(const ArmComparison& c) {
  return negative(c.label, c.test);
}

/// On the log scale: -ln(FLOP ratio).
std::optional<Gain> saving_of(const ArmComparison& c) {
  if (c.log_flops.empty()) return std::nullopt;
  return negative(c.label, mean_test(c.log_flops));
}

/// The sizes of each architecture that has an anchor.
std::map<std::string, std::set<std::int64_t>> sizes_of(const GatingAnalysis& a) {
  std::map<std::string, std::set<std::int64_t>> sizes;
  for (const GatingBlock& b : a.blocks) {
    if (b.compared) sizes[b.architecture].insert(b.n_parameters);
  }
  return sizes;
}

/// The most sizes that one architecture was run at.
std::size_t count_sizes(const GatingAnalysis& a) {
  std::size_t most = 0;
  for (const auto& [architecture, sizes] : sizes_of(a)) most = std::max(most, sizes.size());
  return most;
}

bool only_one_seed(const GatingAnalysis& a) {
  return std::none_of(a.comparisons.begin(), a.comparisons.end(),
                      [](const ArmComparison& c) { return c.has_error(); });
}

std::string why_open(const GatingAnalysis& a) {
  return only_one_seed(a) ? "no arm has two seeds: no error is known; train "
                            "with more seeds"
                          : "the intervals allow both: more seeds (see the power table)";
}

/// A gain in every one of several configurations: an intersection-union test. The configuration
/// with the smallest gain gives effect and interval.
struct EveryBlock {
  double p = 0;
  double p_none = 1;  ///< that in some configuration no arm reaches the smallest expected gain
  double effect = kInfinity;
  Interval ci95 = {-kInfinity, kInfinity};
  std::string weakest;
  std::vector<std::string> details;
  [[nodiscard]] bool any() const { return !weakest.empty(); }
};

/// `shown` turns a gain into the share that is printed.
EveryBlock in_every_block(const GatingAnalysis& a, const std::vector<std::size_t>& blocks,
                          GainOf gain_of, double smallest, double (*shown)(double)) {
  EveryBlock all;
  bool untested = false;
  for (const std::size_t b : blocks) {
    const std::vector<Gain> gains = gains_in(a, b, gain_of);
    const Spokesman s = choose(gains, smallest);
    all.p = std::max(all.p, s.p);
    all.p_none = std::min(all.p_none, s.p_small);
    const std::string& label = a.blocks[b].label;
    if (s.gain == nullptr) {
      all.details.push_back(label + ": no arm could be tested");
      untested = true;
      continue;
    }
    const Interval ci = {shown(s.ci95.low), shown(s.ci95.high)};
    all.details.push_back(fmt::format("{}: {}, {} {}, p {:.3g}", label, s.gain->label,
                                      percent(shown(s.gain->estimate)), range(ci), s.p));
    if (shown(s.gain->estimate) < all.effect) {
      all.effect = shown(s.gain->estimate);
      all.ci95 = ci;
      all.weakest = label;
    }
  }
  if (untested) all.ci95.low = -kInfinity;  // where nothing was tested the gain may be anything
  all.p_none = std::min(1.0, all.p_none * static_cast<double>(blocks.size()));
  return all;
}

void take(const EveryBlock& all, const GatingAnalysis& a, HypothesisResult& h) {
  h.effect = all.effect;
  h.ci95 = all.ci95;
  h.p = all.p;
  h.details = all.details;
  h.verdict = "indeterminate";
  h.reason = why_open(a);
}

HypothesisResult benefit_at_every_size(const GatingAnalysis& a) {
  HypothesisResult h{.name = "H1",
                     .statement = "paGating benefits are maintained across scales",
                     .measure = "smallest over sizes of the relative reduction of the loss"};
  std::vector<std::size_t> blocks;
  for (std::size_t b = 0; b < a.blocks.size(); ++b) {
    if (a.blocks[b].compared) blocks.push_back(b);
  }
  const EveryBlock all =
      in_every_block(a, blocks, benefit_of, kSmallestBenefit, [](double gain) { return gain; });
  const std::size_t n_sizes = count_sizes(a);
  if (n_sizes < 2 || !all.any()) {
    h.details = all.details;
    h.reason = n_sizes < 2 ? "no architecture was run at two model sizes: runs of other sizes "
                             "(model.d_model, model.n_layers), three in all, are missing"
                           : "no arm could be tested";
    return h;
  }
  take(all, a, h);
  if (all.p < kLevel && n_sizes < kFewestSizes) {
    h.reason = fmt::format("a benefit at each of {} sizes, but the protocol asks for {} or more",
                           n_sizes, kFewestSizes);
  } else if (all.p < kLevel) {
    h.verdict = "supported";
    h.reason = fmt::format("a benefit at each of {} sizes", n_sizes);
  } else if (all.p_none < kLevel) {
    h.verdict = "contradicted";
    h.reason = fmt::format("at some size no arm lowers the loss by {} (smallest benefit at {})",
                           round_percent(kSmallestBenefit), all.weakest);
  }
  return h;
}

HypothesisResult efficiency_at_the_largest(const GatingAnalysis& a) {
  HypothesisResult h{.name = "H2",
                     .statement = "efficiency gains at larger scales",
                     .measure =
                         "relative saving of FLOP (6 N per token) to the same validation "
                         "loss at the largest size"};
  const auto sizes = sizes_of(a);
  std::vector<std::size_t> largest;
  for (std::size_t b = 0; b < a.blocks.size(); ++b) {
    const GatingBlock& block = a.blocks[b];
    if (!block.compared) continue;
    const auto& of_architecture = sizes.at(block.architecture);
    if (of_architecture.size() > 1 && block.n_parameters == *of_architecture.rbegin()) {
      largest.push_back(b);
    }
  }
  if (largest.empty()) {
    h.reason = "no architecture was run at two model sizes: runs of a larger one are missing";
    return h;
  }
  const EveryBlock all = in_every_block(a, largest, saving_of, -std::log(1 - kSmallestSaving),
                                        [](double gain) { return 1 - std::exp(-gain); });
  if (!all.any()) {
    h.reason = "at the largest size no arm has validation curves that reach its anchor's loss";
    return h;
  }
  take(all, a, h);
  if (all.p < kLevel) {
    h.verdict = "supported";
    h.reason = "a saving at the largest size";
  } else if (all.p_none < kLevel) {
    h.verdict = "contradicted";
    h.reason = fmt::format("at the largest size no arm saves {} (smallest saving at {})",
                           round_percent(kSmallestSaving), all.weakest);
  }
  return h;
}

/// The optima are independent and their errors estimated: where these explain the scatter about the
/// line, df is the smallest of theirs, which is on the safe side.
struct AlphaSlope : Measured {
  std::string label;
  std::size_t n = 0;
  double span = 0;  ///< ln(largest N / smallest N)
};

std::vector<AlphaSlope> alpha_slopes(const GatingAnalysis& a) {
  std::map<std::string, std::vector<const AlphaOptimum*>> families;
  for (const AlphaOptimum& o : a.optima) {
    if (o.status == "determined") {
      families[a.blocks[o.block].architecture + " " + o.gate].push_back(&o);
    }
  }
  std::vector<AlphaSlope> slopes;
  for (const auto& [label, optima] : families) {
    std::vector<double> ln_n;
    std::vector<double> alpha;
    std::vector<double> variances;
    double df = kInfinity;
    for (const AlphaOptimum* o : optima) {
      ln_n.push_back(std::log(static_cast<double>(a.blocks[o->block].n_parameters)));
      alpha.push_back(o->alpha);
      variances.push_back(o->se * o->se);
      df = std::min(df, o->df);
    }
    const auto fit = fit_known_variances(ln_n, alpha, variances);
    if (!fit) continue;  // one size only
    const bool scattered = fit->p < kMisfitLevel;
    AlphaSlope s;
    s.label = label;
    s.n = optima.size();
    s.estimate = scattered ? fit->between_slope : fit->line.slope;
    s.se = scattered ? fit->between_slope_se : fit->slope_se_absolute;
    s.df = scattered ? static_cast<double>(s.n) - 2 : df;
    const auto [low, high] = std::minmax_element(ln_n.begin(), ln_n.end());
    s.span = *high - *low;
    slopes.push_back(std::move(s));
  }
  return slopes;
}

HypothesisResult alpha_moves(const GatingAnalysis& a) {
  HypothesisResult h{.name = "H3",
                     .statement = "the optimal alpha varies with model size",
                     .measure = "slope of the optimal alpha on ln N"};
  const std::size_t n_sizes = count_sizes(a);
  const std::vector<AlphaSlope> slopes = alpha_slopes(a);
  if (n_sizes < 2 || a.optima.empty()) {
    h.reason = n_sizes < 2
                   ? "no architecture was run at two model sizes: runs of others are missing"
                   : "no gate was run at more than one alpha: three or more are missing";
    return h;
  }
  h.verdict = "indeterminate";
  if (slopes.empty()) {
    h.reason = only_one_seed(a) ? why_open(a)
                                : "the optimal alpha is not determined at two sizes of one gate "
                                  "(flat, on the edge, or fewer than three alphas)";
    return h;
  }
  const auto k = static_cast<double>(slopes.size());
  const AlphaSlope* best = nullptr;
  double least = kInfinity;
  double p_still = 0;
  for (const AlphaSlope& s : slopes) {
    const double p = student_two_sided_p(s.estimate / s.se, s.df);
    const Equivalence still =
        equivalence_test(s.estimate, s.se, s.df, 0, kSmallestAlphaMove / s.span);
    p_still = std::max(p_still, still.p);
    h.details.push_back(
        fmt::format("{}: {:+.3g} per e-fold of N from {} sizes (se {:.2g}, p {:.3g})", s.label,
                    s.estimate, s.n, s.se, p));
    if (p < least) {
      least = p;
      best = &s;
    }
  }
  h.effect = best->estimate;
  h.ci95 = student_interval(best->estimate, best->se, best->df, 1 - kLevel / k);
  h.p = std::min(1.0, k * least);
  h.reason = "the interval of the slope allows both: more seeds, alphas or sizes";
  if (h.p < kLevel) {
    h.verdict = "supported";
    h.reason = "the optimum moves with size in " + best->label;
  } else if (p_still < kLevel) {
    h.verdict = "contradicted";
    h.reason =
        fmt::format("over the sizes studied the optimum moves by less than {}", kSmallestAlphaMove);
  }
  return h;
}

/// label -> architecture -> gains at its sizes.
using ArmsByArchitecture = std::map<std::string, std::map<std::string, std::vector<Gain>>>;

HypothesisResult benefit_in_every_architecture(const GatingAnalysis& a, GatingConclusions& out) {
  HypothesisResult h{.name = "H4",
                     .statement = "the benefit generalises across architectures",
                     .measure =
                         "smallest over architectures of the mean relative reduction of the "
                         "loss"};
  std::set<std::string> architectures;
  ArmsByArchitecture all;
  for (const ArmComparison& c : a.comparisons) {
    const std::string& architecture = a.blocks[c.block].architecture;
    architectures.insert(architecture);
    if (c.tested()) all[c.label][architecture].push_back(*benefit_of(c));
  }
  if (architectures.size() < 2) {
    h.reason = "all compared trials have model.arch=" +
               (architectures.empty() ? "?" : *architectures.begin()) +
               ": runs of another architecture are missing";
    return h;
  }
  std::erase_if(all, [&](const auto& arm) { return arm.second.size() < architectures.size(); });
  if (all.empty()) {
    h.reason = "no gate (unit, form, alpha) was run in every architecture";
    return h;
  }
  const auto k = static_cast<double>(all.size());
  double least = kInfinity;
  std::map<std::string, double>
      p_none;  // by architecture: that no arm reaches the smallest benefit
  for (const auto& [label, by_architecture] : all) {
    std::vector<Gain> parts;
    double p = 0;
    for (const auto& [architecture, gains] : by_architecture) {
      const std::vector<Measured> measured(gains.begin(), gains.end());
      parts.push_back({mean_of_independent(measured), architecture});
      p = std::max(p, parts.back().p_above(0));
      double& none = p_none[architecture];
      none = std::max(none, parts.back().p_below(kSmallestBenefit));
    }
    if (p >= least) continue;
    least = p;
    const std::vector<Measured> measured(parts.begin(), parts.end());
    out.heterogeneity = heterogeneity(measured);
    out.common_arm = label;
    const auto weakest =
        std::min_element(parts.begin(), parts.end(),
                         [](const Gain& x, const Gain& y) { return x.estimate < y.estimate; });
    h.effect = weakest->estimate;
    h.ci95 = student_interval(weakest->estimate, weakest->se, weakest->df, 1 - kLevel / k);
    h.details.clear();
    for (const Gain& g : parts) {
      h.details.push_back(
          fmt::format("{}: {}, {} {}", g.label, label, percent(g.estimate),
                      range(student_interval(g.estimate, g.se, g.df, 1 - kLevel / k))));
    }
  }
  h.p = std::min(1.0, k * least);
  double none = 1;
  for (const auto& [architecture, p] : p_none) none = std::min(none, p);
  none = std::min(1.0, none * static_cast<double>(architectures.size()));
  h.verdict = "indeterminate";
  h.reason = why_open(a);
  if (h.p < kLevel) {
    h.verdict = "supported";
    h.reason = "one gate lowers the loss in every architecture";
  } else if (none < kLevel) {
    h.verdict = "contradicted";
    h.reason =
        "in some architecture no common gate lowers the loss by " + round_percent(kSmallestBenefit);
  }
  return h;
}

/// Holm over the four; a support that does not survive is taken back.
void adjust(std::vector<HypothesisResult>& hypotheses) {
  std::vector<double> p;
  for (const HypothesisResult& h : hypotheses) p.push_back(h.verdict == "not_tested" ? 1 : h.p);
  const std::vector<double> adjusted = holm(p);
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    HypothesisResult& h = hypotheses[i];
    h.p_holm = adjusted[i];
    if (h.verdict == "supported" && !(h.p_holm < kLevel)) {
      h.verdict = "indeterminate";
      h.reason += fmt::format(
          ", but not after Holm's adjustment over the four hypotheses (p {:.3g})", h.p_holm);
    }
  }
}

void choose_scenario(GatingConclusions& c) {
  const HypothesisResult& benefit = c.hypotheses[0];
  const HypothesisResult& saving = c.hypotheses[1];
  if (benefit.verdict == "not_tested" || saving.verdict == "not_tested") {
    c.scenario_reason = "H1 or H2 was not tested";
    return;
  }
  const auto at_least = [&](double least_benefit, double least_saving) {
    return benefit.ci95.low >= least_benefit && saving.ci95.low >= least_saving;
  };
  if (benefit.verdict == "contradicted" || saving.verdict == "contradicted") {
    c.scenario = "worst";
    c.scenario_reason = benefit.verdict == "contradicted" ? benefit.reason : saving.reason;
  } else if (at_least(0.02, 0.10)) {
    c.scenario = "best";
    c.scenario_reason = "the intervals lie above 2 % benefit and 10 % saving";
  } else if (at_least(0.01, 0.05)) {
    c.scenario = "expected";
    c.scenario_reason = "the intervals lie above 1 % benefit and 5 % saving";
  } else {
    c.scenario_reason = fmt::format("benefit {}, saving {}: no scenario's bounds are met",
                                    range(benefit.ci95), range(saving.ci95));
  }
}

}  // namespace

GatingConclusions conclude(const GatingAnalysis& a) {
  GatingConclusions c;
  c.hypotheses.push_back(benefit_at_every_size(a));
  c.hypotheses.push_back(efficiency_at_the_largest(a));
  c.hypotheses.push_back(alpha_moves(a));
  c.hypotheses.push_back(benefit_in_every_architecture(a, c));
  adjust(c.hypotheses);
  choose_scenario(c);
  return c;
}

}  // namespace pg::post
