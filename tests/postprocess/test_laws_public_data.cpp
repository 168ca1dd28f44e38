// The laws on runs that others published: Cerebras-GPT and Step Law.
#define BOOST_TEST_MODULE laws_public_data
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "base/parabola.hpp"
#include "postprocess/law_data.hpp"
#include "postprocess/law_examples.hpp"

namespace {

using namespace pg::post;
using namespace pg::test;

/// One (N, D) cell of the Step Law runs: learning rates and smoothed losses of each batch size,
/// rates within 1 % (3.45e-4 and 3.453e-4) merged into their mean.
using Sweep = std::map<double, std::vector<std::pair<double, double>>>;

std::map<std::pair<double, double>, Sweep> step_law_cells(const std::string& text) {
  const pg::CsvTable table = pg::parse_csv(text, "dense_lr_bs_loss.csv");
  std::map<std::pair<double, double>, Sweep> cells;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto at = [&](const char* column) { return number_at(table, i, column); };
    cells[{at("N"), at("D")}][at("bs")].emplace_back(at("lr"), at("smooth loss"));
  }
  for (auto& [key, sweep] : cells) {
    for (auto& [batch, runs] : sweep) {
      std::sort(runs.begin(), runs.end());
      std::vector<std::pair<double, double>> merged;
      for (std::size_t i = 0; i < runs.size();) {
        std::size_t j = i;
        double lr = 0;
        double loss = 0;
        for (; j < runs.size() && runs[j].first < 1.01 * runs[i].first; ++j) {
          lr += runs[j].first;
          loss += runs[j].second;
        }
        const double n = static_cast<double>(j - i);
        merged.emplace_back(lr / n, loss / n);
        i = j;
      }
      runs = merged;
    }
  }
  return cells;
}

struct StepLawOptima {
  LawData argmin, parabola;
};

StepLawOptima optima_of(const Sweep& sweep) {
  StepLawOptima optima;
  optima.argmin.x.resize(1);
  optima.parabola.x.resize(1);
  for (const auto& [batch, runs] : sweep) {
    const auto lowest = std::min_element(runs.begin(), runs.end(),
                                         [](auto& a, auto& b) { return a.second < b.second; });
    const auto i = static_cast<std::size_t>(lowest - runs.begin());
    optima.argmin.x[0].push_back(batch);
    optima.argmin.y.push_back(lowest->first);
    if (i == 0 || i + 1 == runs.size()) continue;
    const double x[3] = {std::log(runs[i - 1].first), std::log(runs[i].first),
                         std::log(runs[i + 1].first)};
    const double y[3] = {runs[i - 1].second, runs[i].second, runs[i + 1].second};
    optima.parabola.x[0].push_back(batch);
    optima.parabola.y.push_back(std::exp(pg::fit_parabola(x, y).value().x));
  }
  return optima;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_cerebras_law_with_its_covariance) {
  const auto text = read_data("cerebras_gpt/cerebras_gpt_pile_loss.csv");
  if (!text) return;
  const pg::CsvTable table = pg::parse_csv(*text, "cerebras");
  LawData data;
  data.x.resize(1);
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    data.x[0].push_back(number_at(table, i, "train_flops"));
    data.y.push_back(number_at(table, i, "pile_test_xent_paper"));
  }
  const LawFit fit = fit_law("offset_nls", data);
  BOOST_REQUIRE_MESSAGE(fit.ok(), fit.detail);
  // scipy curve_fit: alpha .07329 +- .014549, E .50134 +- .30354, ln F_c se 3.9205
  BOOST_TEST(std::abs(fit.parameter("alpha").estimate - 0.07329) < 1e-5);
  BOOST_TEST(std::abs(fit.parameter("alpha").se - 0.014549) < 1e-5);
  BOOST_TEST(std::abs(fit.parameter("E").estimate - 0.50134) < 1e-4);
  BOOST_TEST(std::abs(fit.parameter("E").se - 0.30354) < 1e-4);
  BOOST_TEST(std::abs(fit.parameter("ln_x_c").estimate - std::log(6.471e22)) < 1e-3);
  BOOST_TEST(std::abs(fit.parameter("ln_x_c").se - 3.9205) < 1e-2);
  BOOST_TEST(warned(fit, "do not show that there is a floor"));
}

BOOST_AUTO_TEST_CASE(step_law_exponents_per_cell) {
  const auto text = read_data("steplaw/dense_lr_bs_loss.csv");
  const auto golden_text = read_data("golden/steplaw_lr_vs_B_fits.csv");
  if (!text || !golden_text) return;
  const auto cells = step_law_cells(*text);
  const pg::CsvTable golden = pg::parse_csv(*golden_text, "steplaw_lr_vs_B_fits.csv");
  std::size_t compared = 0;
  for (std::size_t i = 0; i < golden.rows.size(); ++i) {
    const auto want = [&](const char* column) { return number_at(golden, i, column); };
    const StepLawOptima optima = optima_of(cells.at({want("N"), want("D")}));
    const bool argmin = golden.rows[i][golden.column("method")] == "argmin";
    const LawData& data = argmin ? optima.argmin : optima.parabola;
    // The golden argmin of the last cell leaves out batches with few runs.
    if (static_cast<double>(data.size()) != want("n")) {
      BOOST_TEST(want("N") > 1e9);
      continue;
    }
    const LawFit fit = fit_law("power", data);
    BOOST_REQUIRE(fit.ok());
    const LawParameter& beta = fit.parameter("beta");
    BOOST_TEST(close(beta.estimate, want("beta"), 1e-9));
    BOOST_TEST(close(beta.se, want("se"), 1e-9));
    BOOST_TEST(close(beta.ci95.low, want("lo"), 1e-9));
    BOOST_TEST(close(beta.ci95.high, want("hi"), 1e-9));
    BOOST_TEST(close(fit.r2, want("R2"), 1e-9));
    BOOST_TEST(close(fit.parameter("C").estimate, want("C"), 1e-9));
    ++compared;
  }
  BOOST_TEST(compared >= 33U);
}

BOOST_AUTO_TEST_CASE(step_law_prefers_a_law_that_saturates) {
  const auto text = read_data("steplaw/dense_lr_bs_loss.csv");
  const auto golden = read_data("golden/steplaw_lr_vs_B_model_aicc.txt");
  if (!text || !golden) return;
  const auto cells = step_law_cells(*text);
  // "N 2.15e+08 D 4.00e+09 ... AICc const -20.25 power -25.76 surge -23.59 (...) sgd-sat ... quad"
  const std::map<std::string, std::string> names = {{"const", "constant"},
                                                    {"power", "power"},
                                                    {"surge", "surge"},
                                                    {"sgd-sat", "saturating"},
                                                    {"quad", "log_quadratic"}};
  std::size_t n_cells = 0;
  std::size_t saturating_beats_power = 0;
  std::size_t power_best = 0;
  std::size_t compared = 0;
  for (const std::string& line : pg::split(*golden, '\n')) {
    const auto words = pg::split(line, ' ');
    if (words.size() < 10) continue;
    const double n = pg::parse_real(words[1]).value();
    const double d = pg::parse_real(words[3]).value();
    for (const auto& [key, sweep] : cells) {
      if (std::abs(key.first / n - 1) > 0.01 || std::abs(key.second / d - 1) > 0.01) continue;
      const LawData data = optima_of(sweep).parabola;
      const auto rivals = compare_laws(find_law("power").rivals, data);
      std::map<std::string, Rival> by_name;
      for (const Rival& r : rivals) by_name.emplace(r.fit.law, r);
      for (std::size_t w = 0; w + 1 < words.size(); ++w) {
        const auto name = names.find(words[w]);
        if (name == names.end()) continue;
        const LawFit& fit = by_name.at(name->second).fit;
        if (!fit.ok()) continue;  // where B_n runs off: a status instead
        // The golden criterion leaves out the constant n (ln 2 pi + 1).
        const double constant = static_cast<double>(fit.n) * (std::log(2 * std::acos(-1.0)) + 1);
        BOOST_TEST(std::abs(*fit.aicc - constant - pg::parse_real(words[w + 1]).value()) < 0.0051,
                   line << ": " << name->second);
        ++compared;
      }
      ++n_cells;
      if (by_name.at("saturating").delta_aicc < by_name.at("power").delta_aicc) {
        ++saturating_beats_power;
      }
      if (rivals[0].fit.law == "power") ++power_best;
    }
  }
  BOOST_TEST(n_cells == 16U);
  BOOST_TEST(compared >= 78U);
  BOOST_TEST(saturating_beats_power == 15U);
  BOOST_TEST(power_best == 1U);
}
