// Arms with a known truth: does the analysis find what is there, and only that.
#define BOOST_TEST_MODULE gating
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "postprocess/coverage.hpp"
#include "postprocess/fits/hypotheses.hpp"
#include "postprocess/report/gating_report.hpp"
#include "postprocess/report/plain_text.hpp"
#include "postprocess/synthetic_arms.hpp"

namespace {

using namespace pg::post;
using pg::test::SyntheticArms;

/// Of simulated studies.
constexpr int kReplicates = static_cast<int>(pg::test::kRepetitions / 5);
/// 6 % of them and two binomial standard errors.
const double kAtMost = 0.06 * kReplicates + 2 * std::sqrt(0.06 * 0.94 * kReplicates);

struct Judged {
  GatingAnalysis analysis;
  GatingConclusions conclusions;
  [[nodiscard]] const HypothesisResult& h(int number) const {
    return conclusions.hypotheses[static_cast<std::size_t>(number - 1)];
  }
};

Judged judge(TrialTable table) {
  Judged j{analyse_gating(std::move(table)), {}};
  j.conclusions = conclude(j.analysis);
  return j;
}

/// Without effect sizes and power, which the simulations do not ask for.
Judged judge_quickly(TrialTable table) {
  Judged j{compare_arms(std::move(table)), {}};
  j.conclusions = conclude(j.analysis);
  return j;
}

std::string complaint(TrialTable table) {
  try {
    (void)analyse_gating(std::move(table));
  } catch (const pg::InvalidInput& error) {
    return error.what();
  }
  return {};
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::uint64_t> seeds(std::uint64_t n) {
  std::vector<std::uint64_t> list;
  for (std::uint64_t s = 1; s <= n; ++s) list.push_back(s);
  return list;
}

/// A parabola around `best(ln N)`, `depth` below the vanilla arm.
SyntheticArms parabola(double depth, const std::function<double(double)>& best) {
  SyntheticArms s;
  s.seeds = seeds(6);
  s.noise = 0.003;
  s.effect = [depth, best](double ln_n, double alpha) {
    const double u = alpha - best(ln_n);
    return -depth + 0.04 * u * u;
  };
  return s;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_paired_difference_is_the_textbook_one) {
  SyntheticArms s;
  s.widths = {64};
  s.alphas = {0.5};
  s.seeds = {1, 2, 3};
  TrialTable table = pg::test::synthetic_arms(s);
  // Anchor 2, 4, 5; arm 1.98, 3.92, 4.95: relative differences -1 %, -2 %, -1 %.
  const double losses[] = {2, 1.98, 4, 3.92, 5, 4.95};
  for (std::size_t i = 0; i < 6; ++i) table.rows[i].loss = losses[i];
  const Judged j = judge(std::move(table));
  BOOST_REQUIRE(j.analysis.comparisons.size() == 1U);
  const ArmComparison& c = j.analysis.comparisons[0];
  BOOST_TEST(c.test.estimate == -0.04 / 3, boost::test_tools::tolerance(1e-12));
  // se = sd / sqrt(3) with sd = 0.01 / sqrt(3); t = -4, df 2.
  BOOST_TEST(c.test.se == 0.01 / 3, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(c.test.t == -4, boost::test_tools::tolerance(1e-10));
  BOOST_TEST(c.test.p == 1 - 4 / std::sqrt(18.0), boost::test_tools::tolerance(1e-10));
  BOOST_TEST((c.seeds == std::vector<std::uint64_t>{1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(no_effect_with_enough_seeds_is_a_match_and_no_benefit) {
  SyntheticArms s;
  s.seeds = seeds(8);
  const Judged j = judge(pg::test::synthetic_arms(s));
  BOOST_TEST(j.analysis.alpha_zero.verdict == "supported");
  BOOST_TEST(j.analysis.alpha_zero.entries.size() == 3U);
  for (const ArmComparison& c : j.analysis.comparisons) BOOST_TEST(c.equivalence.equivalent());
  BOOST_TEST(j.h(1).verdict == "contradicted");  // 1 % is excluded with this noise
  BOOST_TEST(j.h(2).verdict != "supported");
  BOOST_TEST(j.h(3).verdict != "supported");
  BOOST_TEST(j.h(4).verdict == "not_tested");
  BOOST_TEST(mentions(j.h(4).reason, "model.arch=nano"));
}

BOOST_AUTO_TEST_CASE(too_few_seeds_leave_everything_open) {
  SyntheticArms s;
  s.seeds = seeds(2);
  s.noise = 0.15;
  const Judged j = judge(pg::test::synthetic_arms(s));
  BOOST_TEST(j.analysis.alpha_zero.verdict == "indeterminate");
  for (int i = 1; i <= 3; ++i) BOOST_TEST(j.h(i).verdict == "indeterminate");
  BOOST_TEST(j.conclusions.scenario == "indeterminate");
}

BOOST_AUTO_TEST_CASE(one_seed_decides_nothing_and_says_so) {
  SyntheticArms s;
  s.seeds = {42};
  s.effect = [](double, double alpha) { return -0.05 * alpha; };
  s.architectures = {"nano", "gpt"};
  const Judged j = judge(pg::test::synthetic_arms(s));
  for (int i = 1; i <= 4; ++i) {
    BOOST_TEST(j.h(i).verdict == "indeterminate", "H" << i << " " << j.h(i).verdict);
    BOOST_TEST(mentions(j.h(i).reason, "two seeds"), j.h(i).reason);
  }
  for (const ArmComparison& c : j.analysis.comparisons) {
    BOOST_TEST((c.status == ArmStatus::one_pair));
    BOOST_TEST(c.test.p == 1.0);
    BOOST_TEST(!c.equivalence.equivalent());
  }
  const auto json = nlohmann::json::parse(gating_json(j.analysis, j.conclusions));
  BOOST_TEST(json["comparisons"][0]["relative_difference"]["ci95"][0].is_null());
}

BOOST_AUTO_TEST_CASE(a_benefit_of_one_percent_is_found_in_pairs) {
  SyntheticArms s;
  s.seeds = seeds(6);
  s.effect = [](double, double alpha) { return -0.01 * alpha; };
  s.seed_sd = 0.1;  // hides the effect from an unpaired test
  const Judged j = judge(pg::test::synthetic_arms(s));
  for (const ArmComparison& c : j.analysis.comparisons) {
    if (*c.alpha != 1) continue;
    BOOST_TEST(c.p_holm < 0.05);
    BOOST_TEST(c.test.ci95.contains(-0.01));
    BOOST_TEST(c.detectable < 0.01);
    BOOST_TEST(c.needed[2].seeds <= c.needed[1].seeds);
  }
  BOOST_TEST(j.h(1).verdict == "supported", j.h(1).reason);
  BOOST_TEST(j.h(2).verdict == "supported", j.h(2).reason);
  for (const AlphaOptimum& o : j.analysis.optima) BOOST_TEST(o.status != "determined");
}

BOOST_AUTO_TEST_CASE(the_optimum_is_found_with_an_interval_that_covers_it) {
  const Judged j = judge(pg::test::synthetic_arms(parabola(0.01, [](double) { return 0.6; })));
  BOOST_TEST(j.analysis.optima.size() == 3U);
  for (const AlphaOptimum& o : j.analysis.optima) {
    BOOST_REQUIRE(o.status == "determined");
    BOOST_TEST(std::abs(o.alpha - 0.6) < 4 * o.se);
    BOOST_TEST(o.ci95.contains(o.alpha));
    BOOST_TEST(o.ci95.width() < 0.5);
  }
  BOOST_TEST(j.h(3).verdict != "supported");
}

BOOST_AUTO_TEST_CASE(
    an_optimum_that_moves_with_size_supports_h3_and_a_constant_one_contradicts_it) {
  const double middle = std::log(static_cast<double>(pg::test::synthetic_size(64)));
  SyntheticArms moving = parabola(0.02, [=](double x) { return 0.5 + 0.15 * (x - middle); });
  moving.noise = 0.001;
  const Judged moves = judge(pg::test::synthetic_arms(moving));
  BOOST_TEST(moves.h(3).verdict == "supported", moves.h(3).reason);
  BOOST_TEST(moves.h(3).ci95.contains(0.15));
  SyntheticArms constant = parabola(0.02, [](double) { return 0.5; });
  constant.noise = 0.001;
  const Judged stays = judge(pg::test::synthetic_arms(constant));
  BOOST_TEST(stays.h(3).verdict == "contradicted", stays.h(3).reason);
}

BOOST_AUTO_TEST_CASE(an_optimum_on_the_edge_is_a_bound) {
  const Judged j = judge(pg::test::synthetic_arms(parabola(0.02, [](double) { return 1.6; })));
  for (const AlphaOptimum& o : j.analysis.optima) {
    BOOST_TEST(o.status == "edge_high");
    BOOST_TEST(o.alpha >= 1);
  }
  const auto json = nlohmann::json::parse(gating_json(j.analysis, j.conclusions));
  BOOST_TEST(json["alpha_optima"][0]["alpha"].is_null());
  BOOST_TEST(json["alpha_optima"][0]["bound"] == 1.0);
  BOOST_TEST(j.h(3).verdict == "indeterminate");
}

BOOST_AUTO_TEST_CASE(architectures_that_agree_support_h4_and_those_that_do_not_are_heterogeneous) {
  SyntheticArms s;
  s.architectures = {"nano", "gpt"};
  s.seeds = seeds(6);
  s.alphas = {1};
  s.effect = [](double, double) { return -0.02; };
  const Judged agree = judge(pg::test::synthetic_arms(s));
  BOOST_TEST(agree.h(4).verdict == "supported", agree.h(4).reason);
  BOOST_TEST(agree.h(4).ci95.contains(0.02));
  TrialTable table = pg::test::synthetic_arms(s);
  for (TrialRow& row : table.rows) {
    // In the gpt the gates do harm.
    if (row.settings.model.arch == "gpt" && row.settings.gate.unit == "paglu") row.loss *= 1.05;
  }
  const Judged differ = judge(std::move(table));
  BOOST_TEST(differ.h(4).verdict == "contradicted", differ.h(4).reason);
  BOOST_TEST(differ.conclusions.heterogeneity.p < 0.001);
  BOOST_TEST(differ.conclusions.heterogeneity.i2 > 0.9);
}

BOOST_AUTO_TEST_CASE(an_arm_that_computes_the_same_is_a_match_without_a_test) {
  SyntheticArms s;
  s.effect = [](double, double alpha) { return 0.003 * alpha; };
  s.noise = 0.001;
  TrialTable table = pg::test::synthetic_arms(s);
  for (TrialRow& row : table.rows) {
    if (row.settings.gate.unit != "paglu" || row.settings.gate.alpha != 0) continue;
    for (const TrialRow& vanilla : table.rows) {
      if (vanilla.settings.gate.unit == "vanilla" && vanilla.seed == row.seed &&
          vanilla.settings.model.d_model == row.settings.model.d_model) {
        row.loss = vanilla.loss;
        row.val_loss = vanilla.val_loss;
      }
    }
  }
  const Judged j = judge(std::move(table));
  BOOST_TEST((j.analysis.comparisons[0].status == ArmStatus::identical));
  BOOST_TEST(j.analysis.alpha_zero.verdict == "supported");
  BOOST_TEST(j.analysis.alpha_zero.reason == "the losses are equal to the last bit");
  BOOST_TEST(j.analysis.left_out.empty());
  // It does not keep the others from showing that no gate brings 1 %.
  BOOST_TEST(j.h(1).verdict == "contradicted", j.h(1).reason);
}

BOOST_AUTO_TEST_CASE(architectures_of_like_size_are_no_scale) {
  SyntheticArms s;
  s.architectures = {"nano", "gpt"};
  s.widths = {64};
  s.alphas = {0.5};
  s.noise = 0.001;
  s.effect = [](double, double) { return -0.03; };
  TrialTable table = pg::test::synthetic_arms(s);
  for (TrialRow& row : table.rows) {
    if (row.settings.model.arch == "gpt") row.n_parameters += 1000;  // biases
  }
  const Judged j = judge(std::move(table));
  BOOST_TEST(j.h(1).verdict == "not_tested");
  BOOST_TEST(j.h(2).verdict == "not_tested");
  BOOST_TEST(j.h(3).verdict == "not_tested");
  BOOST_TEST(j.h(4).verdict == "supported", j.h(4).reason);
}

BOOST_AUTO_TEST_CASE(optima_that_scatter_more_than_their_errors_do_not_move_with_size) {
  // 0.3, 0.7, 0.3, 0.7: far apart by their own errors, without a trend that 4 sizes could show.
  SyntheticArms s = parabola(0.02, [](double ln_n) {
    const double doublings = (ln_n - std::log(12.0 * 4 * 32 * 32)) / std::log(4.0);
    return std::lround(doublings) % 2 == 0 ? 0.3 : 0.7;
  });
  s.widths = {32, 64, 128, 256};
  s.noise = 0.001;
  const Judged j = judge(pg::test::synthetic_arms(s));
  BOOST_TEST(j.h(3).verdict == "indeterminate", j.h(3).reason);
  BOOST_TEST(j.h(3).ci95.contains(0));
  BOOST_TEST(j.h(3).ci95.width() > 0.2);
}

BOOST_AUTO_TEST_CASE(choosing_the_best_of_equal_arms_is_seen_through) {
  SyntheticArms s;
  s.widths = {64};
  s.seeds = seeds(10);
  const Judged j = judge(pg::test::synthetic_arms(s));
  BOOST_REQUIRE(j.analysis.best.size() == 1U);
  const BestArm& b = j.analysis.best[0];
  BOOST_TEST(b.n_arms == 5U);
  BOOST_TEST(b.naive <= 0.001);
  // The lowest of five normal means lies 1.163 standard errors below theirs.
  const double se = j.analysis.comparisons[0].test.se;
  BOOST_TEST(b.selection_bias > 0.6 * 1.163 * se);
  BOOST_TEST(b.selection_bias < 1.7 * 1.163 * se);
  BOOST_REQUIRE(b.honest);
  BOOST_TEST(b.honest->estimate >= b.naive);
}

BOOST_AUTO_TEST_CASE(mixed_origins_are_refused_by_name) {
  SyntheticArms s;
  s.widths = {64};
  const auto changed = [&](const std::function<void(TrialRow&)>& change) {
    TrialTable table = pg::test::synthetic_arms(s);
    change(table.rows[3]);
    return table;
  };
  const std::vector<std::pair<std::string, std::function<void(TrialRow&)>>> changes = {
      {"program_sha256", [](TrialRow& r) { r.origin.program_sha256 = std::string(64, 'q'); }},
      {"version", [](TrialRow& r) { r.origin.version = "2"; }},
      {"processor", [](TrialRow& r) { r.origin.processor = "another"; }},
      {"corpus_sha256", [](TrialRow& r) { r.origin.corpus_sha256 = std::string(64, 'd'); }},
      {"reproducible", [](TrialRow& r) { r.origin.reproducible = "fast"; }}};
  for (const auto& [name, change] : changes) {
    TrialTable table = changed(change);
    const std::string example = table.rows[3].name();
    try {
      require_one_origin(table.origins(), false, table.warnings);
      BOOST_ERROR(name << " may differ");
    } catch (const pg::InvalidInput& error) {
      BOOST_TEST(static_cast<int>(error.exit_code()) == 65);
      BOOST_TEST(mentions(error.what(), name));
      BOOST_TEST(mentions(error.what(), example));
    }
    require_one_origin(table.origins(), true, table.warnings);
    BOOST_TEST(table.warnings.size() == 1U);
    const Judged j = judge(std::move(table));
    BOOST_TEST(mentions(gating_json(j.analysis, j.conclusions), "Mixed origin was allowed"));
  }
  TrialTable same = changed([](TrialRow&) {});
  require_one_origin(same.origins(), false, same.warnings);
  BOOST_TEST(same.warnings.empty());
}

BOOST_AUTO_TEST_CASE(
    neither_the_order_of_trials_nor_the_names_of_seeds_nor_the_unit_change_a_word) {
  SyntheticArms s = parabola(0.02, [](double) { return 0.5; });
  s.architectures = {"nano", "gpt"};
  const Judged plain = judge(pg::test::synthetic_arms(s));
  TrialTable turned = pg::test::synthetic_arms(s);
  std::reverse(turned.rows.begin(), turned.rows.end());
  const Judged other = judge(std::move(turned));
  auto a = nlohmann::json::parse(gating_json(plain.analysis, plain.conclusions));
  auto b = nlohmann::json::parse(gating_json(other.analysis, other.conclusions));
  a.erase("trials");
  b.erase("trials");
  BOOST_TEST(a == b);
  TrialTable bits = pg::test::synthetic_arms(s);
  for (TrialRow& row : bits.rows) {
    row.loss /= std::log(2.0);  // in bits
    for (double& v : row.val_loss) v /= std::log(2.0);
    row.seed += 100;
  }
  const Judged scaled = judge(std::move(bits));
  for (int i = 1; i <= 4; ++i) {
    BOOST_TEST(scaled.h(i).verdict == plain.h(i).verdict);
    BOOST_TEST(std::abs(scaled.h(i).p - plain.h(i).p) < 1e-9 + 1e-6 * plain.h(i).p);
    BOOST_TEST(std::abs(scaled.h(i).effect - plain.h(i).effect) < 1e-9);
  }
}

BOOST_AUTO_TEST_CASE(a_missing_anchor_is_named) {
  TrialTable table = pg::test::synthetic_arms({});
  std::erase_if(table.rows, [](const TrialRow& r) { return r.settings.gate.unit == "vanilla"; });
  const std::string text = complaint(table);
  BOOST_TEST(mentions(text, "anchor (vanilla)"));
  BOOST_TEST(mentions(text, "gate.unit=vanilla"));
  BOOST_TEST(mentions(text, "paglu anchored alpha=0.25"));
  table.analysis.anchor = "gate.alpha=0";
  const Judged j = judge(std::move(table));
  BOOST_TEST(j.analysis.comparisons.size() == 12U);
  BOOST_TEST(j.analysis.alpha_zero.verdict == "not_tested");
}

BOOST_AUTO_TEST_CASE(an_arm_that_diverged_is_listed_and_not_tested) {
  SyntheticArms s;
  s.widths = {64};
  TrialTable table = pg::test::synthetic_arms(s);
  TrialRow& row = table.rows[3];  // alpha = 0.5, seed 1
  row.status = pg::record::TrialStatus::diverged;
  row.reason = "the loss was not finite";
  const Judged j = judge(std::move(table));
  const ArmComparison& c = j.analysis.comparisons[2];
  BOOST_TEST((c.status == ArmStatus::diverged));
  BOOST_TEST((c.diverged == std::vector<std::uint64_t>{1}));
  BOOST_TEST(c.p_holm == 1.0);
  BOOST_TEST(j.analysis.optima[0].alphas.size() == 4U);
  const std::string json = gating_json(j.analysis, j.conclusions);
  BOOST_TEST(mentions(json, "the loss was not finite"));
  BOOST_TEST(mentions(to_plain_text(gating_document(j.analysis, j.conclusions)), "diverged"));
}

BOOST_AUTO_TEST_CASE(a_size_where_nothing_could_be_tested_leaves_the_scenario_open) {
  SyntheticArms s;
  s.alphas = {0.5};
  s.noise = 0.001;
  s.effect = [](double, double) { return -0.03; };
  TrialTable table = pg::test::synthetic_arms(s);
  BOOST_TEST(judge(table).conclusions.scenario != "indeterminate");
  for (TrialRow& row : table.rows) {
    if (row.settings.model.d_model == 32 && row.settings.gate.unit == "paglu" && row.seed == 1) {
      row.status = pg::record::TrialStatus::diverged;
    }
  }
  const Judged j = judge(table);
  BOOST_TEST(j.h(1).verdict == "indeterminate");
  BOOST_TEST(!std::isfinite(j.h(1).ci95.low));
  BOOST_TEST(j.conclusions.scenario == "indeterminate");
  // A size at which only the anchor was run asks nothing of the gates.
  std::erase_if(table.rows, [](const TrialRow& r) {
    return r.settings.model.d_model == 32 && r.settings.gate.unit == "paglu";
  });
  const Judged without = judge(std::move(table));
  BOOST_TEST(without.h(1).reason.find("2 sizes") != std::string::npos, without.h(1).reason);
  BOOST_TEST(without.analysis.left_out.back().reason == "only the anchor was run there");
}

BOOST_AUTO_TEST_CASE(a_gate_over_all_configurations_has_an_interval_of_configurations) {
  SyntheticArms s;
  s.widths = {32, 48, 64, 96, 128, 192};
  s.alphas = {0.5};
  s.noise = 0.003;
  s.effect = [](double, double) { return -0.01; };
  const Judged j = judge(pg::test::synthetic_arms(s));
  BOOST_REQUIRE(j.analysis.overall.size() == 1U);
  const OverallDifference& o = j.analysis.overall[0];
  BOOST_TEST(o.n_blocks == 6U);
  BOOST_REQUIRE(o.difference.interval.ok());
  BOOST_TEST(o.difference.interval.interval.contains(-0.01));
  BOOST_TEST(o.difference.interval.interval.width() < 0.004);
  double mean = 0;
  for (const ArmComparison& c : j.analysis.comparisons) mean += c.test.estimate / 6;
  BOOST_TEST(std::abs(o.difference.mean - mean) < 1e-14);
}

BOOST_AUTO_TEST_CASE(ragged_seeds_are_paired_and_the_rest_is_listed) {
  SyntheticArms s;
  s.widths = {64};
  s.alphas = {0.5};
  TrialTable table = pg::test::synthetic_arms(s);
  std::erase_if(table.rows, [](const TrialRow& r) {
    const bool anchor = r.settings.gate.unit == "vanilla";
    return (anchor && r.seed == 5) || (!anchor && r.seed == 1);
  });
  table.rows.push_back(table.rows.front());  // the same trial twice
  const Judged j = judge(std::move(table));
  const ArmComparison& c = j.analysis.comparisons[0];
  BOOST_TEST((c.seeds == std::vector<std::uint64_t>{2, 3, 4}));
  BOOST_TEST((c.unpaired == std::vector<std::uint64_t>{1, 5}));
  BOOST_TEST(c.test.df == 2.0);
  BOOST_TEST(mentions(j.analysis.left_out[0].reason, "repeats the settings"));
}

BOOST_AUTO_TEST_CASE(without_a_common_seed_the_samples_are_compared) {
  SyntheticArms s;
  s.widths = {64};
  s.alphas = {0.5};
  s.seeds = seeds(10);
  TrialTable table = pg::test::synthetic_arms(s);
  std::erase_if(table.rows, [](const TrialRow& r) {
    return (r.settings.gate.unit == "vanilla") == (r.seed > 5);
  });
  std::vector<double> anchor;
  std::vector<double> arm;
  for (const TrialRow& r : table.rows) {
    (r.settings.gate.unit == "vanilla" ? anchor : arm).push_back(r.loss);
  }
  const Judged j = judge(table);
  const ArmComparison& c = j.analysis.comparisons[0];
  BOOST_TEST((c.status == ArmStatus::unpaired));
  BOOST_TEST(c.test.method == "Welch t");
  BOOST_TEST(std::abs(c.test.p - welch_test(arm, anchor).p) < 1e-12);
  BOOST_TEST(c.p_holm == c.test.p);
  BOOST_TEST(!c.p_sign_flip);
  // One trial of each tells nothing.
  std::erase_if(table.rows, [](const TrialRow& r) { return r.seed != 1 && r.seed != 6; });
  BOOST_TEST((judge(table).analysis.comparisons[0].status == ArmStatus::no_pairs));
}

BOOST_AUTO_TEST_CASE(the_saving_changes_its_sign_when_arm_and_anchor_are_swapped) {
  SyntheticArms s;
  s.widths = {64};
  s.alphas = {0};
  s.seeds = seeds(4);
  s.seed_sd = 0;
  s.noise = 0;
  s.effect = [](double, double) { return -0.01; };
  TrialTable table = pg::test::synthetic_arms(s);
  const Judged forward = judge(table);
  for (TrialRow& row : table.rows) {
    row.settings.gate = row.settings.gate.unit == "vanilla"
                            ? pg::config::GateSettings{"paglu", "anchored", 0}
                            : pg::config::GateSettings{};
  }
  const Judged backward = judge(std::move(table));
  const auto& x = forward.analysis.comparisons[0].log_flops;
  const auto& y = backward.analysis.comparisons[0].log_flops;
  BOOST_REQUIRE((x.size() == 4U && y.size() == 4U));
  BOOST_TEST(x[0] < -0.05);
  for (std::size_t i = 0; i < 4; ++i) BOOST_TEST(x[i] == -y[i]);
}

/// The design of the source: 5 alphas, 3 sizes, here 2 architectures and 5 seeds. Under no effect
/// no hypothesis may be called supported in more than 6 % of the studies, nor the whole family.
BOOST_AUTO_TEST_CASE(no_effect_is_seldom_called_support) {
  int falsely[4] = {};
  int any = 0;
  for (int r = 0; r < kReplicates; ++r) {
    SyntheticArms s;
    s.architectures = {"nano", "gpt"};
    s.noise_seed = 1000 + static_cast<std::uint64_t>(r);
    const Judged j = judge_quickly(pg::test::synthetic_arms(s));
    bool one = false;
    for (int i = 0; i < 4; ++i) {
      const bool supported = j.h(i + 1).verdict == "supported";
      falsely[i] += supported ? 1 : 0;
      one = one || supported;
    }
    any += one ? 1 : 0;
  }
  BOOST_TEST_MESSAGE("false support in " << kReplicates << ": H1 " << falsely[0] << ", H2 "
                                         << falsely[1] << ", H3 " << falsely[2] << ", H4 "
                                         << falsely[3] << ", any " << any);
  for (const int count : falsely) BOOST_TEST(count <= kAtMost);
  BOOST_TEST(any <= kAtMost);
}

/// One hypothesis at a time at its unadjusted level: p < 0.05 in at most 6 % under no effect, also
/// where a true curvature determines the optimum that H3 asks about.
BOOST_AUTO_TEST_CASE(the_p_values_keep_their_level) {
  int h2 = 0;
  int h3 = 0;
  int determined = 0;
  for (int r = 0; r < kReplicates; ++r) {
    SyntheticArms s;
    s.noise_seed = 5000 + static_cast<std::uint64_t>(r);
    h2 += judge_quickly(pg::test::synthetic_arms(s)).h(2).p < 0.05 ? 1 : 0;
    SyntheticArms curved = parabola(0, [](double) { return 0.5; });
    curved.noise_seed = s.noise_seed;
    const Judged j = judge_quickly(pg::test::synthetic_arms(curved));
    h3 += j.h(3).p < 0.05 ? 1 : 0;
    determined += j.analysis.optima[0].status == "determined" ? 1 : 0;
  }
  BOOST_TEST_MESSAGE("p < 0.05 in " << kReplicates << ": H2 " << h2 << ", H3 " << h3
                                    << "; optimum determined " << determined);
  BOOST_TEST(determined > 0.9 * kReplicates);
  BOOST_TEST(h2 <= kAtMost);
  BOOST_TEST(h3 <= kAtMost);
}
