#define BOOST_TEST_MODULE stages
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/text.hpp"
#include "config/study.hpp"
#include "study/plan.hpp"
#include "study/stages.hpp"
#include "study/trial.hpp"

namespace {

using pg::record::TrialStatus;
using pg::record::TrialSummary;
using pg::study::Trial;

pg::config::Study batch_study() {
  pg::config::Study study;
  study.axes = {{"train.batch", {"8", "64", "512"}},
                {"optimizer.lr", {"3e-05", "0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03"}}};
  return study;
}

using Landscape = std::function<double(double batch, double lr)>;

TrialSummary result(const Trial& trial, double loss) {
  TrialSummary s;
  s.id = trial.id;
  s.stage = trial.stage;
  s.varied = trial.varied;
  s.batch = trial.settings.train.batch;
  s.lr = trial.settings.optimizer.lr;
  s.seed = trial.settings.train.seed;
  s.status = std::isfinite(loss) ? TrialStatus::finished : TrialStatus::diverged;
  s.final_val_loss = std::isfinite(loss) ? loss : 0;
  return s;
}

std::vector<TrialSummary> train(const std::vector<Trial>& trials, const Landscape& landscape) {
  std::vector<TrialSummary> results;
  for (const Trial& t : trials) {
    results.push_back(
        result(t, landscape(static_cast<double>(t.settings.train.batch), t.settings.optimizer.lr)));
  }
  return results;
}

/// Runs grid and refine on a known landscape; returns all results and the number of rounds.
std::pair<std::vector<TrialSummary>, int> refine(const pg::config::Study& study,
                                                 const Landscape& landscape) {
  auto results = train(pg::study::grid_trials(study), landscape);
  int rounds = 0;
  for (; rounds < 20; ++rounds) {
    const auto more = pg::study::refine_trials(study, results);
    if (more.empty()) break;
    for (const TrialSummary& s : train(more, landscape)) results.push_back(s);
  }
  return {results, rounds};
}

Landscape valley(double c, double beta, double diverges_above = 1e9) {
  return [=](double batch, double lr) {
    if (lr > diverges_above) return std::nan("");
    const double u = std::log(lr / (c * std::pow(batch, beta)));
    return 2 + 0.05 * u * u;
  };
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_grid_is_the_product_of_the_axes_with_readable_ids) {
  const auto trials = pg::study::grid_trials(batch_study());
  BOOST_TEST(trials.size() == 21U);
  BOOST_TEST(trials.front().id == "b0008_lr3e-05_s42");
  BOOST_TEST(trials.back().id == "b0512_lr0.03_s42");
  BOOST_TEST(trials.back().settings.train.batch == 512);
  std::set<std::string> ids;
  for (const Trial& t : trials) ids.insert(t.id);
  BOOST_TEST(ids.size() == trials.size());

  pg::config::Study alphas;
  alphas.axes = {
      {"gate.unit", {"paglu", "pasilu"}}, {"gate.alpha", {"0", "0.5"}}, {"train.seed", {"1", "2"}}};
  const auto gated = pg::study::grid_trials(alphas);
  BOOST_TEST(gated.size() == 8U);
  BOOST_TEST(gated[3].id == "paglu_a0.5_s2");
  BOOST_TEST(gated[3].settings.gate.alpha == 0.5);
  BOOST_TEST(pg::study::grid_trials({}).size() == 1U);

  // Vanilla has neither form nor alpha: it is trained once for each seed.
  alphas.axes[0].values = {"vanilla", "paglu"};
  const auto anchored = pg::study::grid_trials(alphas);
  BOOST_TEST(anchored.size() == 6U);
  BOOST_TEST(anchored[1].id == "vanilla_a0_s2");
  BOOST_TEST(anchored[2].id == "paglu_a0_s1");
}

BOOST_AUTO_TEST_CASE(arms_run_at_every_point_of_the_axes) {
  pg::config::Study study;
  study.base.gate.unit = "paglu";
  study.axes = {{"train.seed", {"1", "2"}}};
  study.arms = {{{"gate.unit", "vanilla"}},
                {{"gate.policy", "fixed"}, {"gate.alpha", "0.25"}},
                {{"gate.policy", "learnable"}, {"gate.alpha", "0.75"}},
                {{"gate.unit", "vanilla"}, {"gate.alpha", "1"}}};  // the first one again
  const auto trials = pg::study::grid_trials(study);
  BOOST_REQUIRE(trials.size() == 6U);
  BOOST_TEST(trials[0].id == "vanilla_s1");
  BOOST_TEST(trials[3].id == "fixed_a0.25_s2");
  BOOST_TEST(trials[4].id == "learnable_a0.75_s1");
  BOOST_TEST(trials[4].settings.gate.policy == "learnable");
  // Every trial says its value of whatever an arm sets, in one order.
  for (const auto& trial : trials) {
    BOOST_REQUIRE(trial.varied.size() == 4U);
    BOOST_TEST(trial.varied[0].first == "gate.unit");
    BOOST_TEST(trial.varied[1].first == "gate.policy");
    BOOST_TEST(trial.varied[2].first == "gate.alpha");
    BOOST_TEST(trial.varied[3].first == "train.seed");
  }
  BOOST_TEST(trials[4].varied[0].second == "paglu");
  BOOST_TEST(trials[0].varied[1].second == "fixed");
}

BOOST_AUTO_TEST_CASE(refinement_brackets_and_resolves_every_optimum) {
  const auto study = batch_study();
  const auto [results, rounds] = refine(study, valley(5e-4, 0.4));
  std::map<std::int64_t, std::map<double, double>> by_batch;
  for (const TrialSummary& s : results) by_batch[s.batch][s.lr] = s.final_val_loss;
  for (const auto& [batch, curve] : by_batch) {
    auto best = curve.begin();
    for (auto it = curve.begin(); it != curve.end(); ++it) {
      if (it->second < best->second) best = it;
    }
    BOOST_REQUIRE(best != curve.begin());
    BOOST_REQUIRE(std::next(best) != curve.end());
    BOOST_TEST(best->first / std::prev(best)->first < study.refine.resolution * 1.01);
    BOOST_TEST(std::next(best)->first / best->first < study.refine.resolution * 1.01);
    const double truth = 5e-4 * std::pow(static_cast<double>(batch), 0.4);
    BOOST_TEST(std::abs(std::log(best->first / truth)) <
               std::log(study.refine.resolution) / 2 + 0.02);
  }
  BOOST_TEST(rounds >= 1);
  BOOST_TEST(rounds <= 4);
}

BOOST_AUTO_TEST_CASE(an_optimum_on_the_edge_extends_the_grid_both_ways) {
  for (const double c : {2e-6, 0.3}) {
    const auto [results, rounds] = refine(batch_study(), valley(c, 0));
    double low = 1;
    double high = 0;
    for (const TrialSummary& s : results) {
      low = std::min(low, s.lr);
      high = std::max(high, s.lr);
    }
    BOOST_TEST(low < c);
    BOOST_TEST(high > c);
    BOOST_TEST(rounds < 10);
  }
}

BOOST_AUTO_TEST_CASE(a_diverged_neighbour_is_a_bracket) {
  const auto [results, rounds] = refine(batch_study(), valley(0.3, 0, 0.02));
  double highest = 0;
  for (const TrialSummary& s : results) highest = std::max(highest, s.lr);
  BOOST_TEST(highest == 0.03);  // never beyond what diverged
  BOOST_TEST(rounds >= 1);
}

BOOST_AUTO_TEST_CASE(the_order_of_results_does_not_change_the_plan) {
  const auto study = batch_study();
  auto results = train(pg::study::grid_trials(study), valley(5e-4, 0.5));
  const auto ids = [](const std::vector<Trial>& trials) {
    std::vector<std::string> list;
    for (const Trial& t : trials) list.push_back(t.id);
    return list;
  };
  const auto first = ids(pg::study::refine_trials(study, results));
  std::reverse(results.begin(), results.end());
  const auto second = ids(pg::study::refine_trials(study, results));
  BOOST_TEST(!first.empty());
  BOOST_TEST(first == second, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(every_seed_gets_the_refined_rates) {
  auto study = batch_study();
  study.axes.push_back({"train.seed", {"1", "2", "3"}});
  const auto results = train(pg::study::grid_trials(study), valley(5e-4, 0.5));
  std::map<double, std::set<std::uint64_t>> seeds;
  for (const Trial& t : pg::study::refine_trials(study, results)) {
    if (t.settings.train.batch == 64) seeds[t.settings.optimizer.lr].insert(t.settings.train.seed);
  }
  BOOST_TEST(!seeds.empty());
  for (const auto& [lr, set] : seeds) BOOST_TEST(set.size() == 3U);
}

BOOST_AUTO_TEST_CASE(transfer_trains_at_the_rates_that_both_rules_give) {
  auto study = batch_study();
  study.axes[0].values = {"8", "256", "512"};
  auto [results, rounds] = refine(study, valley(5e-4, 0.5));
  const auto trials = pg::study::transfer_trials(study, results);
  BOOST_TEST(trials.size() == 3U * 2U * 2U);
  std::map<std::string, double> optimum_anchor;
  for (const auto& t : trials) {
    const double beta = t.rule == "Laplace" ? 2.0 / 3 : 0.5;
    const auto batch = static_cast<double>(t.trial.settings.train.batch);
    BOOST_TEST(t.trial.settings.optimizer.lr == t.anchor_lr * std::pow(batch / 256, beta),
               boost::test_tools::tolerance(1e-12));
    if (t.anchor == "given") {
      BOOST_TEST(t.anchor_lr == 1e-3);
    } else {
      BOOST_TEST(t.anchor_lr == 5e-4 * 16,
                 boost::test_tools::tolerance(1e-9));  // an exact parabola
    }
  }
  study.transfer.anchor_at_optimum = false;
  BOOST_TEST(pg::study::transfer_trials(study, results).size() == 3U * 2U);
}

BOOST_AUTO_TEST_CASE(studies_without_the_axes_have_no_such_stages) {
  pg::config::Study study;
  study.axes = {{"gate.alpha", {"0", "0.5"}}};
  study.base.gate.unit = "paglu";
  const auto results = train(pg::study::grid_trials(study), valley(1, 0));
  BOOST_TEST(pg::study::refine_trials(study, results).empty());
  BOOST_TEST(pg::study::transfer_trials(study, results).empty());
}

BOOST_AUTO_TEST_CASE(the_plan_of_the_default_study_counts_what_the_source_asks_for) {
  const auto study = pg::config::load_study(
      std::string(PG_SOURCE_DIR) + "/configs/studies/batch_scaling.yaml", {});
  const auto plan = pg::study::make_plan(study);
  BOOST_TEST(plan.rows.size() == 49U);
  BOOST_TEST(plan.tokens == 1016LL * 7 * 5000 * 256);
}
