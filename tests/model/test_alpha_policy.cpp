#define BOOST_TEST_MODULE alpha_policy
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numbers>
#include <string>

#include "model/alpha_policy.hpp"

using pg::config::GateSettings;
using pg::model::AlphaPolicy;

namespace {

namespace tt = boost::test_tools;

GateSettings gate(const std::string& policy, double start = 1, double end = 0) {
  GateSettings g;
  g.unit = "paglu";
  g.policy = policy;
  g.alpha = 0.4;
  g.attention_alpha = 0.9;
  g.alpha_start = start;
  g.alpha_end = end;
  return g;
}

double alpha_at(const GateSettings& g, std::int64_t t, std::int64_t steps = 101) {
  return AlphaPolicy(g, 3, steps, 10).at(t).mlp.at(1);
}

}  // namespace

BOOST_AUTO_TEST_CASE(fixed_and_learnable_take_the_settings) {
  for (const char* policy : {"fixed", "learnable"}) BOOST_TEST(alpha_at(gate(policy), 50) == 0.4);
  const auto alphas = AlphaPolicy(gate("fixed"), 3, 100, 0).at(7);
  BOOST_TEST(alphas.mlp.size() == 3U);
  BOOST_TEST(alphas.attention == std::vector<double>(3, 0.9), tt::per_element());
}

BOOST_AUTO_TEST_CASE(schedules_go_from_start_to_end) {
  for (const char* policy : {"cosine", "linear", "exponential", "curriculum"}) {
    for (const auto& [start, end] : {std::pair(1.0, 0.0), {0.0, 1.0}, {0.2, 0.7}}) {
      BOOST_TEST_CONTEXT(policy << " " << start << " " << end) {
        BOOST_TEST(alpha_at(gate(policy, start, end), 0) == start);
        BOOST_TEST(alpha_at(gate(policy, start, end), 100) == end, tt::tolerance(1e-14));
        double before = start;
        for (std::int64_t t = 1; t <= 100; ++t) {
          const double now = alpha_at(gate(policy, start, end), t);
          BOOST_TEST((end > start ? now >= before : now <= before));
          before = now;
        }
      }
    }
    BOOST_TEST(alpha_at(gate(policy), 0, 1) == 1.0);  // a trial of one step
  }
}

BOOST_AUTO_TEST_CASE(schedules_have_their_shapes) {
  BOOST_TEST(alpha_at(gate("cosine"), 25) == 0.5 * (1 + std::cos(std::numbers::pi / 4)),
             tt::tolerance(1e-14));
  BOOST_TEST(alpha_at(gate("cosine"), 50) == 0.5, tt::tolerance(1e-14));
  BOOST_TEST(alpha_at(gate("linear"), 25) == 0.75);
  GateSettings ramp = gate("linear", 0, 1);
  ramp.alpha_ramp = 0.5;
  BOOST_TEST(alpha_at(ramp, 25) == 0.5);
  BOOST_TEST(alpha_at(ramp, 50) == 1.0);
  BOOST_TEST(alpha_at(ramp, 80) == 1.0);
  BOOST_TEST(alpha_at(gate("exponential", 0, 1), 20) == (1 - std::exp(-1)) / (1 - std::exp(-5)),
             tt::tolerance(1e-14));
  // Warm-up: from nothing to alpha over a tenth of the steps.
  BOOST_TEST(alpha_at(gate("warmup"), 0, 100) == 0.0);
  BOOST_TEST(alpha_at(gate("warmup"), 5, 100) == 0.2, tt::tolerance(1e-14));
  BOOST_TEST(alpha_at(gate("warmup"), 10, 100) == 0.4);
  BOOST_TEST(alpha_at(gate("warmup"), 99, 100) == 0.4);
  // Curriculum: five equal stages.
  for (int stage = 0; stage < 5; ++stage) {
    BOOST_TEST(alpha_at(gate("curriculum", 0, 1), 20 * stage, 100) == 0.25 * stage);
    BOOST_TEST(alpha_at(gate("curriculum", 0, 1), 20 * stage + 19, 100) == 0.25 * stage);
  }
}

BOOST_AUTO_TEST_CASE(layers_differ_and_stay) {
  const AlphaPolicy policy(gate("layers", 0, 1), 5, 100, 0);
  for (const std::int64_t t : {0, 99}) {
    const auto alphas = policy.at(t).mlp;
    for (std::size_t l = 0; l < 5; ++l) BOOST_TEST(alphas[l] == 0.25 * static_cast<double>(l));
  }
  BOOST_TEST(AlphaPolicy(gate("layers", 0.3, 1), 1, 100, 0).at(0).mlp.at(0) == 0.3);
}

BOOST_AUTO_TEST_CASE(adaptive_loss_compares_with_the_level_after_the_warm_up) {
  AlphaPolicy policy(gate("adaptive_loss"), 2, 1000, 10);
  double average = 0;
  double reference = 0;
  for (std::int64_t t = 0; t < 300; ++t) {
    BOOST_TEST(
        policy.at(t).mlp[0] == (reference == 0 ? 0.4 : std::max(0.0, 1 - average / reference)),
        tt::tolerance(1e-12));
    const double loss = 4 * std::exp(-static_cast<double>(t) / 150);
    policy.observe(t, loss, 1);
    average = t == 0 ? loss : 0.99 * average + 0.01 * loss;
    if (t == 9 || t == 109 || t == 209) reference = average;
  }
  BOOST_TEST(policy.at(300).mlp[0] > 0.3);  // the loss fell, so the gate opened
}

BOOST_AUTO_TEST_CASE(adaptive_gradient_follows_the_ratio_of_two_averages) {
  AlphaPolicy policy(gate("adaptive_gradient"), 2, 1000, 10);
  double fast = 0;
  double slow = 0;
  double alpha = 0.4;
  for (std::int64_t t = 0; t < 200; ++t) {
    BOOST_TEST(policy.at(t).mlp[0] == alpha, tt::tolerance(1e-12));
    const double norm = t < 100 ? 1 + 0.01 * static_cast<double>(t) : 0.1;
    policy.observe(t, 1, norm);
    fast = t == 0 ? norm : 0.9 * fast + 0.1 * norm;
    slow = t == 0 ? norm : 0.99 * slow + 0.01 * norm;
    alpha = std::min(1.0, std::max(0.0, alpha + 0.01 * (1 - fast / slow)));
  }
}

BOOST_AUTO_TEST_CASE(a_policy_goes_on_from_its_state) {
  for (const char* name : {"adaptive_loss", "adaptive_gradient", "cosine"}) {
    AlphaPolicy straight(gate(name), 2, 500, 10);
    AlphaPolicy first(gate(name), 2, 500, 10);
    const auto show = [](AlphaPolicy& policy, std::int64_t from, std::int64_t to) {
      for (std::int64_t t = from; t < to; ++t) {
        policy.observe(t, 3 + std::sin(static_cast<double>(t)),
                       1 + std::cos(0.7 * static_cast<double>(t)));
      }
    };
    show(straight, 0, 300);
    show(first, 0, 137);
    AlphaPolicy second(gate(name), 2, 500, 10);
    second.set_state(first.state());
    show(second, 137, 300);
    BOOST_TEST(second.at(300).mlp == straight.at(300).mlp, tt::per_element());
    BOOST_TEST(second.state() == straight.state(), tt::per_element());
  }
}
