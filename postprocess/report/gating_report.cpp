#include "postprocess/report/gating_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "base/version.hpp"
#include "postprocess/report/json_values.hpp"
#include "postprocess/report/shared_sections.hpp"

namespace pg::post {
namespace {

Json test_json(const MeanTest& t) {
  return {{"method", t.method},
          {"n", t.n},
          {"estimate", number(t.estimate)},
          {"se", number(t.se)},
          {"df", t.df},
          {"t", number(t.t)},
          {"p", t.p},
          {"ci95", interval(t.ci95)}};
}

Json equivalence_json(const Equivalence& e) {
  return {
      {"margin", e.margin}, {"p", e.p}, {"ci90", interval(e.ci90)}, {"equivalent", e.equivalent()}};
}

Json comparison_json(const GatingAnalysis& a, const ArmComparison& c) {
  Json out = {{"configuration", a.blocks[c.block].label},
              {"n_parameters", a.blocks[c.block].n_parameters},
              {"arm", c.label},
              {"alpha", c.alpha ? Json(*c.alpha) : Json(nullptr)},
              {"status", to_string(c.status)},
              {"seeds", c.seeds},
              {"unpaired_seeds", c.unpaired},
              {"diverged_seeds", c.diverged}};
  if (!c.measured()) return out;
  out["anchor_loss"] = c.anchor_loss;
  out["loss"] = c.loss;
  out["relative_difference"] = test_json(c.test);
  out["p_holm"] = c.p_holm;
  out["p_bh_exploratory"] = c.p_bh;
  out["p_sign_flip"] = optional_number(c.p_sign_flip);
  out["p_signed_rank"] = optional_number(c.p_signed_rank);
  out["hedges_g"] = c.effect.g;
  out["hedges_g_ci95"] = c.test.df >= 1 ? interval(c.effect.ci95) : Json::array({nullptr, nullptr});
  out["equivalence"] = equivalence_json(c.equivalence);
  out["detectable_relative_effect"] = number(c.detectable);
  Json needed = Json::array();
  for (const SeedsNeeded& s : c.needed) {
    needed.push_back(
        {{"relative_effect", s.effect}, {"seeds", s.seeds > 0 ? Json(s.seeds) : Json(nullptr)}});
  }
  out["seeds_needed"] = needed;
  out["log_flops_ratio"] = c.log_flops.empty() ? Json(nullptr) : test_json(mean_test(c.log_flops));
  out["log_seconds_ratio"] =
      c.log_seconds.empty() ? Json(nullptr) : test_json(mean_test(c.log_seconds));
  return out;
}

Json optimum_json(const GatingAnalysis& a, const AlphaOptimum& o) {
  const bool determined = o.status == "determined";
  const bool bound = o.status == "edge_low" || o.status == "edge_high";
  return {{"configuration", a.blocks[o.block].label},
          {"n_parameters", a.blocks[o.block].n_parameters},
          {"gate", o.gate},
          {"alphas", o.alphas},
          {"n", o.n},
          {"status", o.status},
          {"detail", o.detail},
          {"alpha", determined ? Json(o.alpha) : Json(nullptr)},
          {"se", determined ? number(o.se) : Json(nullptr)},
          {"ci95", determined ? interval(o.ci95) : Json(nullptr)},
          {"bound", bound ? Json(o.status == "edge_low" ? o.alphas.front() : o.alphas.back())
                          : Json(nullptr)},
          {"df", o.df},
          {"curvature", o.parabola ? number(o.parabola->curvature) : Json(nullptr)},
          {"curvature_p", o.curvature_p},
          {"misfit_p", o.misfit_p ? Json(*o.misfit_p) : Json(nullptr)}};
}

Json hypothesis_json(const HypothesisResult& h) {
  const bool tested = h.verdict != "not_tested";
  return {{"name", h.name},           {"statement", h.statement},
          {"measure", h.measure},     {"verdict", h.verdict},
          {"reason", h.reason},       {"effect", tested ? number(h.effect) : Json(nullptr)},
          {"ci95", interval(h.ci95)}, {"p", tested ? Json(h.p) : Json(nullptr)},
          {"p_holm", h.p_holm},       {"details", h.details}};
}

Json best_json(const GatingAnalysis& a, const BestArm& b) {
  return {{"configuration", a.blocks[b.block].label},
          {"arm", a.comparisons[b.comparison].label},
          {"n_arms", b.n_arms},
          {"naive_relative_difference", b.naive},
          {"selection_bias", b.selection_bias},
          {"honest_relative_difference", b.honest ? test_json(*b.honest) : Json(nullptr)}};
}

std::vector<std::pair<std::string, std::string>> conventions(const GatingAnalysis& a) {
  return {{"differences", "arm over anchor of the same seed, minus 1; below zero is better"},
          {"intervals", "Student t, two-sided, 95 %, unless a line says otherwise"},
          {"family",
           "Holm over all comparisons with two or more pairs, or of two samples without a seed in "
           "common (Welch); p_bh is Benjamini and Hochberg's, for exploration only"},
          {"exact_tests",
           "sign flip and signed ranks of the pairs check the t test; n pairs give no p below "
           "2 / 2^n"},
          {"equivalence", fmt::format("two one-sided t tests at 5 % against -+ {} %",
                                      shortest(100 * a.table.analysis.equivalence_margin))},
          {"power", "two-sided paired t test at 5 %, power 80 %, from the observed scatter"},
          {"cost",
           "6 N FLOP per token, N all parameters; steps to the same validation loss by "
           "linear interpolation of the curves, the better trial followed to the other's "
           "final loss"},
          {"over_all_configurations",
           fmt::format("hierarchical bootstrap, studentised, {} replicates, seed {}",
                       kOverallReplicates, kOverallSeed)},
          {"choosing", "the best of k arms pays k: p times k, interval at 1 - 0.05 / k"},
          {"smallest_effects",
           "benefit 1 %, saving 5 %, move of alpha 0.1: below them a hypothesis "
           "counts as contradicted"}};
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:+.2f} %", 100 * share) : "-";
}

/// "[-0.12, +0.42] %", "<= +0.42 %" where one end is not bounded, "-" where none is.
std::string between(const Interval& i, const char* format, const std::string& unit) {
  const auto end = [&](double v) { return fmt::format(fmt::runtime(format), v); };
  if (i.finite()) return "[" + end(i.low) + ", " + end(i.high) + "]" + unit;
  if (std::isfinite(i.high)) return "<= " + end(i.high) + unit;
  if (std::isfinite(i.low)) return ">= " + end(i.low) + unit;
  return "-";
}

std::string percents(const Interval& i) {
  return between({100 * i.low, 100 * i.high}, "{:+.2f}", " %");
}

std::string numbers(const Interval& i) {
  return between(i, "{:.3g}", "");
}

constexpr const char* kBlank = "-: not bounded, or not tested.";

std::string seeds_text(const SeedsNeeded& s) {
  return s.seeds > 0 ? std::to_string(s.seeds) : "-";
}

/// "not tested".
std::string word(std::string verdict) {
  std::replace(verdict.begin(), verdict.end(), '_', ' ');
  return verdict;
}

std::string match_sentence(const GatingAnalysis& a) {
  const AlphaZeroMatch& m = a.alpha_zero;
  const bool tested =
      std::any_of(m.entries.begin(), m.entries.end(), [](const auto& e) { return !e.identical; });
  const std::string p = !tested ? "" : fmt::format("; p {:.3g}", m.p);
  return fmt::format("alpha = 0 matches vanilla within {:.3g} %: {} ({}{}).", 100 * m.margin,
                     word(m.verdict), m.reason, p);
}

Section hypotheses_section(const GatingConclusions& c) {
  Section s{"The protocol's hypotheses", {}};
  DocumentTable table{
      {"", "statement", "verdict", "effect", "interval", "p", "p (Holm)"}, {}, kBlank};
  BulletList reasons;
  for (const HypothesisResult& h : c.hypotheses) {
    const bool tested = h.verdict != "not_tested";
    const bool share = h.name != "H3";
    table.rows.push_back(
        {h.name, h.statement, word(h.verdict),
         !tested                             ? "-"
         : share || !std::isfinite(h.effect) ? percent(h.effect)
                                             : fmt::format("{:+.3g} per e-fold of N", h.effect),
         share ? percents(h.ci95) : numbers(h.ci95), tested ? fmt::format("{:.3g}", h.p) : "-",
         fmt::format("{:.3g}", h.p_holm)});
    reasons.items.push_back(h.name + ": " + h.reason + " (effect: " + h.measure + ")");
    for (const std::string& detail : h.details) reasons.items.push_back(h.name + ", " + detail);
  }
  s.blocks.emplace_back(std::move(table));
  s.blocks.emplace_back(std::move(reasons));
  if (c.heterogeneity.n > 0) {
    const Heterogeneity& h = c.heterogeneity;
    s.blocks.emplace_back(Paragraph{
        fmt::format("Between {} architectures, {}: Q = {:.3g} (p {:.3g}), I2 = {:.0f} %, mean "
                    "benefit {}.",
                    h.n, c.common_arm, h.q, h.p, 100 * h.i2, percent(h.mean))});
  }
  return s;
}

Section comparisons_section(const GatingAnalysis& a) {
  Section s{"Every arm against its anchor (" + a.anchor + ")", {}};
  DocumentTable table{
      {"configuration", "arm", "pairs", "difference", "95 % interval", "p (Holm)", "p (sign flip)",
       "Hedges g", "matches", "detectable", "seeds for 0.5 %", "1 %", "2 %"},
      {},
      kBlank};
  for (const ArmComparison& c : a.comparisons) {
    if (!c.measured()) {
      table.rows.push_back({a.blocks[c.block].label, c.label, std::to_string(c.seeds.size()),
                            word(to_string(c.status)), "-", "-", "-", "-", "-", "-", "-", "-",
                            "-"});
      continue;
    }
    const bool unpaired = c.status == ArmStatus::unpaired;
    table.rows.push_back(
        {a.blocks[c.block].label, c.label, unpaired ? "unpaired" : std::to_string(c.seeds.size()),
         percent(c.test.estimate), percents(c.test.ci95), fmt::format("{:.3g}", c.p_holm),
         c.p_sign_flip ? fmt::format("{:.3g}", *c.p_sign_flip) : "-",
         fmt::format("{:.2f}", c.effect.g),
         c.status == ArmStatus::identical ? "identical"
         : c.equivalence.equivalent()     ? "yes"
                                          : "not shown",
         percent(c.detectable), seeds_text(c.needed[0]), seeds_text(c.needed[1]),
         seeds_text(c.needed[2])});
  }
  s.blocks.emplace_back(std::move(table));
  s.blocks.emplace_back(
      Figure{"seeds_needed",
             "The smallest difference that paired seeds find, from the scatter seen here. Where a "
             "curve lies above an effect's line, that many seeds cannot see the effect."});
  s.blocks.emplace_back(
      Figure{"training_curves",
             "Validation loss by step in the largest configuration, mean over seeds with its "
             "standard error: the anchor and the arms with the lowest final loss."});
  return s;
}

Section choice_section(const GatingAnalysis& a) {
  Section s{a.compares_settings() ? "What choosing the best arm flatters"
                                  : "The optimal alpha, and what choosing the best arm flatters",
            {}};
  DocumentTable optima{
      {"configuration", "gate", "alphas", "optimum", "95 % interval", "remark"}, {}, ""};
  for (const AlphaOptimum& o : a.optima) {
    const bool determined = o.status == "determined";
    std::string remark = o.detail;
    if (o.misfit_p && *o.misfit_p < 0.05) {
      remark += fmt::format("{}not a parabola (p {:.2g})", remark.empty() ? "" : "; ", *o.misfit_p);
    }
    optima.rows.push_back({a.blocks[o.block].label, o.gate, std::to_string(o.alphas.size()),
                           determined ? fmt::format("{:.3f}", o.alpha) : word(o.status),
                           determined ? numbers(o.ci95) : "-", remark});
  }
  if (!optima.rows.empty()) s.blocks.emplace_back(std::move(optima));
  if (!a.compares_settings()) {
    s.blocks.emplace_back(
        Figure{"alpha_vs_loss",
               "Loss against alpha for each configuration and gate (at most twelve): means over "
               "seeds with the 95 % intervals of their pairs, the quadratic, its lowest point, and "
               "the ungated model "
               "with the margin of equivalence in grey."});
  }
  DocumentTable best{{"configuration", "best arm", "of", "difference", "flattered by",
                      "leave-one-seed-out", "95 % interval"},
                     {},
                     ""};
  for (const BestArm& b : a.best) {
    best.rows.push_back({a.blocks[b.block].label, a.comparisons[b.comparison].label,
                         std::to_string(b.n_arms), percent(b.naive), percent(b.selection_bias),
                         b.honest ? percent(b.honest->estimate) : "-",
                         b.honest ? percents(b.honest->ci95) : "-"});
  }
  if (!best.rows.empty()) s.blocks.emplace_back(std::move(best));
  DocumentTable overall{{"arm over all configurations", "configurations", "difference",
                         "95 % interval (configurations and seeds resampled)"},
                        {},
                        ""};
  for (const OverallDifference& o : a.overall) {
    overall.rows.push_back({o.label, std::to_string(o.n_blocks), percent(o.difference.mean),
                            o.difference.interval.ok() ? percents(o.difference.interval.interval)
                                                       : o.difference.interval.status});
  }
  if (!overall.rows.empty()) s.blocks.emplace_back(std::move(overall));
  return s;
}

}  // namespace

std::string gating_json(const GatingAnalysis& a, const GatingConclusions& c) {
  Json out = {{"format_version", 1},
              {"kind", a.table.analysis.kind},
              {"tool", std::string("pgpost ") + kVersion},
              {"study", a.table.name},
              {"question", a.table.question},
              {"selection", a.table.selection},
              {"anchor", a.anchor}};
  out["hypotheses"] = Json::array();
  for (const HypothesisResult& h : c.hypotheses) out["hypotheses"].push_back(hypothesis_json(h));
  out["scenario"] = {{"name", c.scenario}, {"reason", c.scenario_reason}};
  const Heterogeneity& h = c.heterogeneity;
  out["heterogeneity"] = h.n == 0 ? Json(nullptr) : Json{{"arm", c.common_arm},
                                                         {"n_architectures", h.n},
                                                         {"q", h.q},
                                                         {"p", h.p},
                                                         {"i2", h.i2},
                                                         {"tau2", h.tau2},
                                                         {"mean_benefit", h.mean}};
  Json entries = Json::array();
  for (const auto& e : a.alpha_zero.entries) {
    entries.push_back({{"configuration", a.blocks[e.block].label},
                       {"gate", e.gate},
                       {"relative_difference", test_json(e.test)},
                       {"equivalence", equivalence_json(e.equivalence)},
                       {"identical", e.identical}});
  }
  out["alpha_zero_matches_vanilla"] = {{"verdict", a.alpha_zero.verdict},
                                       {"reason", a.alpha_zero.reason},
                                       {"margin", a.alpha_zero.margin},
                                       {"p", a.alpha_zero.p},
                                       {"entries", entries}};
  out["comparisons"] = Json::array();
  for (const ArmComparison& x : a.comparisons) out["comparisons"].push_back(comparison_json(a, x));
  out["alpha_optima"] = Json::array();
  for (const AlphaOptimum& o : a.optima) out["alpha_optima"].push_back(optimum_json(a, o));
  out["best_arms"] = Json::array();
  for (const BestArm& b : a.best) out["best_arms"].push_back(best_json(a, b));
  out["overall_differences"] = Json::array();
  for (const OverallDifference& o : a.overall) {
    const BootstrapInterval& b = o.difference.interval;
    out["overall_differences"].push_back({{"arm", o.label},
                                          {"n_configurations", o.n_blocks},
                                          {"relative_difference", number(o.difference.mean)},
                                          {"ci95", b.ok() ? interval(b.interval) : Json(nullptr)},
                                          {"status", b.status}});
  }
  out["excluded"] = left_out_json(a.left_out);
  out["warnings"] = a.warnings;
  out["conventions"] = pairs_json(conventions(a));
  out["trials"] = origins_json(a.table.origins());
  return out.dump(2) + "\n";
}

Document gating_document(const GatingAnalysis& a, const GatingConclusions& c) {
  Document d{"Results: " + (a.table.name.empty() ? "gates" : a.table.name), {}};
  Section summary;
  if (!a.table.question.empty()) summary.blocks.emplace_back(Paragraph{a.table.question});
  if (!a.table.selection.empty()) {
    summary.blocks.emplace_back(Paragraph{"Only trials with " + a.table.selection + "."});
  }
  // Where arms differ in other settings than gates, there is nothing to say of gates.
  const bool of_gates = !a.compares_settings();
  if (of_gates) {
    std::vector<std::string> words;
    for (const HypothesisResult& h : c.hypotheses) words.push_back(h.name + " " + word(h.verdict));
    summary.blocks.emplace_back(Paragraph{join(words, ", ") + "; the protocol's scenario: " +
                                              c.scenario + " (" + c.scenario_reason + ").",
                                          true});
    summary.blocks.emplace_back(Paragraph{match_sentence(a)});
  }
  summary.blocks.emplace_back(
      Figure{"relative_differences",
             "Loss of each arm relative to its anchor, with 95 % intervals over pairs of seeds. An "
             "interval that lies wholly between the dashed lines matches the anchor; one that "
             "crosses 0 shows no difference. Bold: p < 0.05 after Holm's adjustment."});
  d.sections.push_back(std::move(summary));
  if (!a.warnings.empty()) d.sections.push_back({"Warnings", {BulletList{a.warnings}}});
  if (of_gates) d.sections.push_back(hypotheses_section(c));
  d.sections.push_back(comparisons_section(a));
  d.sections.push_back(choice_section(a));
  if (!a.left_out.empty()) d.sections.push_back({"Left out", {left_out_table(a.left_out)}});
  d.sections.push_back(list_section("Conventions", conventions(a)));
  d.sections.push_back(list_section("Provenance", origin_values(a.table.origins())));
  return d;
}

}  // namespace pg::post
