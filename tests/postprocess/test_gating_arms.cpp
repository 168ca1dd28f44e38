// Which arms are compared with which, and under which names.
#define BOOST_TEST_MODULE gating_arms
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "postprocess/report/gating_report.hpp"
#include "postprocess/synthetic_arms.hpp"
#include "postprocess/synthetic_arms_run.hpp"
#include "support/support.hpp"

using namespace pg::post;
using pg::test::synthetic_arms;
using pg::test::SyntheticArms;

BOOST_AUTO_TEST_CASE(arms_of_any_settings_are_compared_with_the_base) {
  SyntheticArms s;
  s.widths = {32, 64};
  s.alphas = {0.5};
  TrialTable table = synthetic_arms(s);
  const double expected = [&] {
    std::vector<double> vanilla;
    std::vector<double> wide;
    for (const TrialRow& row : table.rows) {
      if (row.settings.gate.unit != "vanilla") continue;
      (row.settings.model.d_model == 32 ? vanilla : wide).push_back(row.loss);
    }
    double sum = 0;
    for (std::size_t i = 0; i < wide.size(); ++i) sum += wide[i] / vanilla[i] - 1;
    return sum / static_cast<double>(wide.size());
  }();
  for (const Arm& arm : make_arms(table)) {
    const bool base = value_at(arm.settings, "model.d_model") == "32" &&
                      value_at(arm.settings, "gate.unit") == "vanilla";
    if (base) table.base = arm.settings;
  }
  table.analysis.kind = "arms";
  const GatingAnalysis a = analyse_gating(table);
  BOOST_TEST(a.blocks.size() == 1U);
  BOOST_REQUIRE(a.comparisons.size() == 3U);  // all but the base, of both widths
  bool found = false;
  for (const ArmComparison& c : a.comparisons) {
    BOOST_TEST(value_at(a.arms[c.anchor].settings, "model.d_model") == "32");
    if (c.label != "d_model=64") continue;
    found = true;
    BOOST_TEST(std::abs(c.test.estimate - expected) < 1e-12);
  }
  BOOST_TEST(found);
  BOOST_TEST(a.alpha_zero.verdict == "not_tested");
  BOOST_TEST(a.optima.empty());
  const Document document = gating_document(a, conclude(a));
  for (const Section& section : document.sections) {
    BOOST_TEST(section.title.find("hypotheses") == std::string::npos);
  }
  // Without its base there is nothing to compare with.
  table.base.front().second = "another";
  BOOST_CHECK_EXCEPTION(analyse_gating(table), pg::InvalidInput, [](const pg::InvalidInput& e) {
    return std::string(e.what()).find("base settings") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(axes_around_arms_are_configurations) {
  SyntheticArms s;
  s.widths = {64, 128};
  s.alphas = {0.5};
  const TrialTable trials = synthetic_arms(s);
  // As a run directory: the study of this grid names its arms, and widths and seeds are axes.
  const pg::testing::ScratchFolder folder;
  pg::test::write_arms(folder.path(), trials, "arms", "a program");
  pg::config::Study study;
  study.base = trials.rows.front().settings;
  study.base.gate.unit = "vanilla";
  study.arms = {{{"gate.unit", "vanilla"}}, {{"gate.unit", "paglu"}, {"gate.alpha", "0.5"}}};
  study.axes = {{"model.d_model", {"64", "128"}}, {"train.seed", {"1", "2", "3", "4", "5"}}};
  study.analysis.kind = "arms";
  study.refine.enabled = study.transfer.enabled = false;
  pg::write_file(folder.path() / "study.yaml", pg::config::print_study(study));

  const GatingAnalysis a = analyse_gating(load_trials({folder.path()}, {}, false));
  BOOST_REQUIRE(a.blocks.size() == 2U);
  BOOST_TEST(a.blocks[0].label == "d_model=64");  // by value, where text would have 128 first
  BOOST_TEST(a.blocks[1].label == "d_model=128");
  BOOST_REQUIRE(a.comparisons.size() == 2U);
  for (const ArmComparison& c : a.comparisons) {
    const SettingValues& arm = a.arms[c.arm].settings;
    const SettingValues& anchor = a.arms[c.anchor].settings;
    BOOST_TEST(c.label == a.comparisons[0].label);
    BOOST_TEST(c.label.find("d_model") == std::string::npos);
    BOOST_TEST(value_at(arm, "model.d_model") == value_at(anchor, "model.d_model"));
    BOOST_TEST(value_at(arm, "gate.unit") == "paglu");
    BOOST_TEST(value_at(anchor, "gate.unit") == "vanilla");
    BOOST_TEST(c.seeds.size() == 5U);
  }
  // And over all of them together.
  BOOST_REQUIRE(a.overall.size() == 1U);
  BOOST_TEST(a.overall[0].n_blocks == 2U);
}

BOOST_AUTO_TEST_CASE(policies_and_norms_are_gates_of_their_own) {
  SyntheticArms s;
  s.widths = {32};
  s.alphas = {0, 1};
  TrialTable table = synthetic_arms(s);
  const std::size_t n = table.rows.size();
  for (std::size_t i = 0; i < n; ++i) {
    TrialRow row = table.rows[i];
    if (row.settings.gate.alpha != 1 || row.settings.gate.unit == "vanilla") continue;
    row.id += "_more";
    row.settings.gate.policy = "learnable";
    row.settings.gate.alpha = 0.25;
    table.rows.push_back(row);
    row.id += "_cosine";
    row.settings.gate.policy = "cosine";
    row.settings.gate.pre_norm = true;
    table.rows.push_back(row);
  }
  table.analysis.anchor = "vanilla";
  std::vector<std::string> labels;
  for (const ArmComparison& c : analyse_gating(table).comparisons) labels.push_back(c.label);
  const auto has = [&](const std::string& label) {
    return std::find(labels.begin(), labels.end(), label) != labels.end();
  };
  BOOST_TEST(labels.size() == 4U);
  BOOST_TEST(has("paglu anchored alpha=1"));
  BOOST_TEST(has("paglu anchored learnable 0.25"));
  BOOST_TEST(has("paglu anchored +pre_norm cosine 1 to 0"));
  // An anchor at a fixed alpha serves every policy of its kind: of those norms there is none.
  table.analysis.anchor = "gate.alpha=1";
  labels.clear();
  for (const ArmComparison& c : analyse_gating(table).comparisons) labels.push_back(c.label);
  BOOST_TEST(labels.size() == 2U);
  BOOST_TEST(has("paglu anchored learnable 0.25"));
}
