// Pictures: the numbers behind them, what their scripts leave in and out, and that gnuplot draws
// them.
#define BOOST_TEST_MODULE plots
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/files.hpp"
#include "base/text.hpp"
#include "postprocess/plots/alpha_vs_loss.hpp"
#include "postprocess/plots/contours.hpp"
#include "postprocess/plots/diagnostics.hpp"
#include "postprocess/plots/forest.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/law_plots.hpp"
#include "postprocess/plots/plots.hpp"
#include "postprocess/plots/power.hpp"
#include "postprocess/plots/training_curves.hpp"
#include "postprocess/synthetic_results.hpp"
#include "support/support.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

using Folder = pg::testing::ScratchFolder;

/// Draws it; returns the SVG.
std::string drawn(const Picture& picture) {
  const Folder folder;
  draw(folder.path(), picture);
  const std::string png = pg::read_file(folder.path() / (picture.name + ".png"));
  BOOST_TEST(png.starts_with("\x89PNG"));
  BOOST_TEST(png.size() > 10000U, picture.name << " has " << png.size() << " bytes: blank?");
  const pg::CsvTable table =
      pg::parse_csv(pg::read_file(folder.path() / (picture.name + ".csv")), picture.name);
  BOOST_TEST(table.rows.size() == picture.data.rows.size());
  return pg::read_file(folder.path() / (picture.name + ".svg"));
}

double number(const Picture& picture, std::size_t row, const std::string& column) {
  const auto value = pg::parse_real(picture.data.rows.at(row).at(picture.data.column(column)));
  BOOST_REQUIRE(value.has_value());
  return *value;
}

std::string cell(const Picture& picture, std::size_t row, const std::string& column) {
  return picture.data.rows.at(row).at(picture.data.column(column));
}

std::size_t n_tics(const std::string& tics) {
  return static_cast<std::size_t>(std::count(tics.begin(), tics.end(), '"')) / 2;
}

}  // namespace

BOOST_AUTO_TEST_CASE(tics_are_few_and_round_on_every_range) {
  for (double low = 1e-9; low < 1e22; low *= 7.3) {
    for (const double factor : {1.02, 1.5, 3.0, 12.0, 90.0, 1e4, 1e9}) {
      for (const bool logarithmic : {true, false}) {
        const std::string tics = round_tics(low, low * factor, logarithmic);
        BOOST_TEST(n_tics(tics) >= 2U, tics << " for " << low << " to " << low * factor);
        BOOST_TEST(n_tics(tics) <= 11U, tics);
      }
    }
  }
  BOOST_TEST(round_tics(0, 1, false) ==
             "(\"0\" 0, \"0.2\" 0.2, \"0.4\" 0.4, \"0.6\" 0.6, \"0.8\" 0.8, \"1\" 1)");
  BOOST_TEST(round_tics(1e5, 1e7, true) ==
             "(\"100 k\" 100000, \"300 k\" 300000, \"1 M\" 1000000, \"3 M\" 3000000, \"10 M\" "
             "10000000)");
  BOOST_TEST(round_tics(3e-5, 4e-3, true) ==
             "(\"3e-5\" 3e-05, \"0.0001\" 0.0001, \"0.0003\" 0.0003, \"0.001\" 0.001, \"0.003\" "
             "0.003)");
}

BOOST_AUTO_TEST_CASE(a_contour_of_a_bowl_is_a_circle) {
  std::vector<double> axis;
  for (int i = -40; i <= 40; ++i) axis.push_back(i / 20.0);
  std::vector<std::vector<double>> z(axis.size(), std::vector<double>(axis.size()));
  for (std::size_t j = 0; j < axis.size(); ++j) {
    for (std::size_t i = 0; i < axis.size(); ++i) {
      z[j][i] = axis[i] * axis[i] + axis[j] * axis[j];
    }
  }
  double length = 0;
  for (const Segment& s : contour(axis, axis, z, 1)) {
    BOOST_TEST(std::abs(std::hypot(s.x0, s.y0) - 1) < 1e-3);
    BOOST_TEST(std::abs(std::hypot(s.x1, s.y1) - 1) < 1e-3);
    length += std::hypot(s.x1 - s.x0, s.y1 - s.y0);
  }
  BOOST_TEST(std::abs(length - 2 * 3.14159265) < 0.01);
  // Without the half where x > 0, half the circle.
  for (auto& row : z) std::fill(row.begin() + 41, row.end(), NAN);
  length = 0;
  for (const Segment& s : contour(axis, axis, z, 1)) {
    length += std::hypot(s.x1 - s.x0, s.y1 - s.y0);
  }
  BOOST_TEST(std::abs(length - 3.14159265) < 0.01);
  // A saddle's two lines pass the low corners when the middle is high.
  const auto saddle = contour({0, 1}, {0, 1}, {{0, 3}, {3, 0}}, 1);
  BOOST_REQUIRE(saddle.size() == 2U);
  for (const Segment& s : saddle) {
    BOOST_TEST(std::abs(s.x0 - s.y1) < 1e-12);  // each cuts one corner off at 45 degrees
    BOOST_TEST(std::abs(std::hypot(s.x1 - s.x0, s.y1 - s.y0) - std::sqrt(2.0) / 3) < 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(diagnostics_hold_what_r_shows) {
  DiagnosticsData data;
  data.title = "A line";
  data.response = "ln LR*";
  data.s = 0.5;
  data.fitted = {1, 2, 3, 4, 5, 6, 7};
  data.residuals = {0.3, -0.2, 0.1, 0.0, -0.4, 0.5, -0.1};
  data.leverage = {0.36, 0.2, 0.15, 0.14, 0.15, 0.2, 0.36};
  data.cooks_distance = {0.16, 0.02, 0.01, 0, 0.07, 0.2, 0.02};
  for (int i = 0; i < 7; ++i) data.labels.push_back(std::to_string(8 << i));
  const Picture picture = diagnostics("line_diagnostics", data);
  BOOST_TEST(std::abs(number(picture, 0, "standardised") - 0.75) < 1e-12);  // .3 / (.5 * .8)
  // R: qnorm(ppoints(7)), and the same in Python: NormalDist().inv_cdf((i - .375) / 7.25).
  const double quantiles[] = {-1.3644887, -0.7582926, -0.3529340, 0,
                              0.3529340,  0.7582926,  1.3644887};
  const int rank[] = {5, 1, 4, 3, 0, 6, 2};
  for (std::size_t i = 0; i < 7; ++i) {
    BOOST_TEST(std::abs(number(picture, i, "quantile") - quantiles[rank[i]]) < 1e-6);
  }
  const std::string svg = drawn(picture);
  BOOST_TEST(contains(svg, ">512<"));  // points are named
  BOOST_TEST(contains(svg, "Cook's distance 0.5"));

  data.s = 0;
  const Picture nothing = diagnostics("line_diagnostics", data);
  BOOST_TEST(nothing.data.rows.empty());
  BOOST_TEST(contains(nothing.script, "No residuals to look at"));
}

BOOST_AUTO_TEST_CASE(a_forest_shows_what_is_unbounded_or_not_there) {
  ForestData data;
  data.title = "Estimates";
  data.x_label = "beta";
  data.references = {{"Laplace", 2.0 / 3}, {"Gaussian", 0.5}};
  data.rows = {{"surface", 0.66, {0.64, 0.68}, "", true},
               {"line", 0.6, {-9, 12}, "", false},
               {"two points", 0.7, {-kInfinity, kInfinity}, "", false},
               {"set", {}, {0.41, 0.83}, "", false},
               {"censored", {}, {0, 0}, "not converged", false}};
  const Picture picture = forest("exponent_estimates", data);
  BOOST_TEST(cell(picture, 2, "low95").empty());
  BOOST_TEST(cell(picture, 3, "estimate").empty());
  BOOST_TEST(cell(picture, 4, "note") == "not converged");
  const std::string svg = drawn(picture);
  for (const char* part :
       {"0.660 [0.640, 0.680]", "0.700 [-∞, ∞]", "not converged", "▶", "◀", "[0.410, 0.830]"}) {
    BOOST_TEST(contains(svg, part), part);
  }
  // The wide interval does not press the others together: 0.4 of the range is theirs at least.
  const std::size_t at = picture.script.find("set xrange [") + 12;
  const auto ends = pg::split(picture.script.substr(at, picture.script.find(']', at) - at), ':');
  const double low = *pg::parse_real(ends.at(0));
  const double high = *pg::parse_real(ends.at(1));
  BOOST_TEST((0.83 - 0.41) / (high - low) > 0.2);
  BOOST_TEST(low < 0.41);
  BOOST_TEST(high > 0.83);
}

BOOST_AUTO_TEST_CASE(names_are_text_and_nothing_else) {
  const Folder folder;
  const std::string canary = (folder.path() / "made").string();
  const std::string name = "a\"b\\c `touch " + canary + "` x_1 {/Bold y} 5 %d 'q' ^@&~";
  ForestData data;
  data.title = name;
  data.x_label = name;
  data.references = {{name, 0.5}};
  data.rows = {{name.substr(0, 5), 0.66, {0.64, 0.68}, name, true},
               {name, {}, {0, 0}, name, false}};
  const std::string svg = drawn(forest("forest", data));
  BOOST_TEST(!fs::exists(canary));
  BOOST_TEST(contains(svg, "a\"b\\c `touch"));
  BOOST_TEST(contains(svg, "x_1 {/Bold y} 5 %d 'q' ^@"));
  DiagnosticsData points{
      name, name, {name, "b", "c"}, {1, 2, 3}, {.1, -.2, .1}, {.8, .3, .8}, {.1, .1, .1}, 0.2, 2};
  drawn(diagnostics("diagnostics", points));
  BOOST_TEST(!fs::exists(canary));
}

BOOST_AUTO_TEST_CASE(training_curves_are_means_over_seeds) {
  CurveArm arm{"alpha 0.5", {}, {}};
  LossSeries a;
  LossSeries b;
  for (int i = 1; i <= 1000; ++i) {
    a.step.push_back(i);
    a.loss.push_back(2 + 3.0 / i);
    b.step.push_back(i);
    b.loss.push_back(2.2 + 3.0 / i);
  }
  arm.train = {a, b};
  arm.validation = {{{100, 200, 300}, {2.5, 2.3, 2.2}},
                    {{100, 200, 300, 400}, {2.7, NAN, 2.6, 2.5}}};
  const Picture picture = training_curves("training_curves", {"Two seeds", {arm}});
  // Steps that one seed lacks, or where it has no number, are left out.
  BOOST_TEST(cell(picture, 0, "series") == "validation");
  BOOST_TEST(number(picture, 0, "step") == 100);
  BOOST_TEST(std::abs(number(picture, 0, "mean_loss") - 2.6) < 1e-12);
  BOOST_TEST(std::abs(number(picture, 0, "standard_error") - 0.1) < 1e-12);
  BOOST_TEST(number(picture, 1, "step") == 300);
  BOOST_TEST(std::abs(number(picture, 1, "standard_error") - 0.2) < 1e-12);
  BOOST_TEST(cell(picture, 2, "series") == "training");
  BOOST_TEST(picture.data.rows.size() == 2U + 200U);
  // The first of 200 means of five steps: 2.1 + 3 (1 + 1/2 + 1/3 + 1/4 + 1/5) / 5.
  BOOST_TEST(std::abs(number(picture, 2, "mean_loss") - (2.1 + 3 * (137.0 / 60) / 5)) < 1e-12);
  drawn(picture);
  const Picture nothing = training_curves("training_curves", {"None", {{"arm", {}, {}}}});
  BOOST_TEST(nothing.data.rows.empty());
  BOOST_CHECK_NO_THROW(draw(Folder().path(), nothing));
}

BOOST_AUTO_TEST_CASE(the_pictures_of_a_run) {
  pg::test::SyntheticSurface surface;
  surface.noise = 0.003;
  surface.seeds = {1, 2, 3};
  surface.diverges_above = 2.9;
  const RunResults results = pg::test::synthetic_results(surface);
  const ScalingFit fit = fit_scaling(results);
  const Picture losses = loss_vs_lr(fit);
  BOOST_TEST(cell(losses, 0, "n_seeds") == "3");
  BOOST_TEST(number(losses, 0, "standard_error") > 0);
  // Cut off near the minima: the losses far from them are not in the frame.
  const std::size_t at = losses.script.find("set yrange [") + 12;
  const double top = *pg::parse_real(
      pg::split(losses.script.substr(at, losses.script.find(']', at) - at), ':').at(1));
  double highest = 0;
  double highest_minimum = 0;
  for (std::size_t i = 0; i < losses.data.rows.size(); ++i) {
    highest = std::max(highest, number(losses, i, "loss"));
  }
  for (const Optimum& o : fit.optima) highest_minimum = std::max(highest_minimum, o.argmin_loss);
  BOOST_TEST(top < highest);
  BOOST_TEST(top > highest_minimum);
  drawn(losses);

  const Picture heat = loss_heatmap(fit);
  for (const char* level : {"+0.25 %", "+0.5 %", "+1 %", "+2 %"}) {
    BOOST_TEST(contains(heat.script, level), level);
  }
  drawn(heat);

  const Picture estimates = exponent_estimates(results, fit);
  BOOST_TEST(estimates.data.rows.size() == fit.estimates().size() + 1);
  BOOST_TEST(std::abs(number(estimates, 0, "estimate") - fit.surface.estimate.beta) < 1e-12);
  drawn(estimates);

  BOOST_REQUIRE(fit.line_details.has_value());
  const Picture line = line_diagnostics(fit);
  for (std::size_t i = 0; i < 7; ++i) {  // fitted + residual is the optimum
    BOOST_TEST(std::abs(number(line, i, "fitted") + number(line, i, "residual") -
                        fit.optima[i].ln_lr) < 1e-9);
  }
  drawn(line);

  const Picture curves = convergence_curves(results, fit);
  BOOST_TEST(cell(curves, 0, "n_seeds") == "3");
  drawn(curves);
  const std::string main_plot = drawn(lr_vs_batch(results, fit));
  BOOST_TEST(contains(main_plot, fmt::format("β = {:.3f} [", fit.headline().beta)));
}

BOOST_AUTO_TEST_CASE(pictures_of_gates_sizes_and_laws) {
  AlphaVsLossData gates{"Loss by alpha",
                        "alpha",
                        "loss (nats per token)",
                        "mean over seeds",
                        "ungated model",
                        0.02,
                        {}};
  for (int g = 0; g < 3; ++g) {
    AlphaGroup group;
    group.label = fmt::format("d_model {}", 64 << g);
    for (const double alpha : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      const double loss = 2.5 - 0.2 * g + 0.1 * (alpha - 0.4) * (alpha - 0.4);
      group.points.push_back({alpha, loss, {loss - 0.004, loss + 0.004}, 3});
    }
    group.quadratic.x = spread(0, 1, 50, false);
    for (const double alpha : group.quadratic.x) {
      group.quadratic.y.push_back(2.5 - 0.2 * g + 0.1 * (alpha - 0.4) * (alpha - 0.4));
      group.quadratic.mean95.push_back(
          {group.quadratic.y.back() - 0.003, group.quadratic.y.back() + 0.003});
    }
    group.quadratic.label = "quadratic";
    group.best_alpha = 0.4;
    group.best_loss = 2.5 - 0.2 * g;
    group.best_ci95 = Interval{g == 2 ? -kInfinity : 0.33, 0.47};
    group.anchor_loss = 2.516 - 0.2 * g;
    gates.groups.push_back(group);
  }
  const Picture gate_picture = alpha_vs_loss("alpha_vs_loss", gates);
  BOOST_TEST(gate_picture.data.rows.size() == 3U * 7U);
  BOOST_TEST(contains(drawn(gate_picture), "best α 0.400 [0.330, 0.470]"));

  ScalingLawsData sizes;
  for (const int width : {64, 128, 256, 512}) {
    for (const int depth : {4, 8, 12, 16}) {
      const double n = 12.0 * depth * width * width;
      const double perplexity = 40 * std::pow(n, -0.12) * (1 + 0.01 * ((width + depth) % 3));
      sizes.points.push_back(
          {width, depth, n, perplexity, {0.98 * perplexity, 1.02 * perplexity}, 1e-5 * n + 20});
    }
  }
  sizes.perplexity_fit.label = "a N^b, b = -0.120";
  sizes.perplexity_fit.x = spread(1.5e5, 6e7, 40, true);
  for (const double n : sizes.perplexity_fit.x) {
    sizes.perplexity_fit.y.push_back(40 * std::pow(n, -0.12));
    sizes.perplexity_fit.mean95.push_back({39 * std::pow(n, -0.12), 41 * std::pow(n, -0.12)});
  }
  const Picture size_picture = scaling_laws(sizes);
  BOOST_TEST(size_picture.name == "scaling_laws");
  BOOST_TEST(number(size_picture, 15, "d_model") == 512);
  drawn(size_picture);

  LawPlotData law{"Law", "batch size", "learning rate", true, true, {}, {}, {}};
  for (const double b : {8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0}) {
    const double lr = 1e-3 * std::pow(b / 64, 0.6);
    law.points.push_back({b, lr, {0.9 * lr, 1.1 * lr}, fmt::format("B{}", b), b == 8});
  }
  law.fit.label = "y = C x^β";
  law.fit.x = spread(6, 700, 40, true);
  Curve rival{"surge", {}, {}, {}, {}};
  for (const double b : law.fit.x) {
    const double lr = 1e-3 * std::pow(b / 64, 0.6);
    law.fit.y.push_back(lr);
    law.fit.mean95.push_back({0.93 * lr, 1.07 * lr});
    law.fit.prediction95.push_back({0.8 * lr, 1.25 * lr});
    rival.x.push_back(b);
    rival.y.push_back(4e-3 / (1 + 200 / b));
  }
  law.rivals = {rival};
  const Picture law_picture = law_fit("law_fit", law);
  BOOST_TEST(law_picture.data.rows.size() == 7U + 40U + 40U);
  BOOST_TEST(cell(law_picture, 0, "in_fit") == "no");
  BOOST_TEST(contains(drawn(law_picture), "95 % band of a new point"));

  IsoflopData flops;
  flops.title = "Equal compute";
  for (const double c : {1e17, 1e18, 1e19}) {
    IsoflopBudget budget;
    budget.flops = c;
    budget.best_n = 0.1 * std::sqrt(c);
    budget.best_loss = 20 * std::pow(c, -0.045);
    budget.best_n_ci95 = Interval{0.08 * std::sqrt(c), 0.12 * std::sqrt(c)};
    budget.parabola.x = spread(*budget.best_n / 5, *budget.best_n * 5, 30, true);
    for (const double n : budget.parabola.x) {
      const double u = std::log(n / *budget.best_n);
      budget.parabola.y.push_back(*budget.best_loss + 0.03 * u * u);
      if (budget.parabola.y.size() % 5 == 1) {
        budget.points.push_back({n, budget.parabola.y.back() + 0.004 * std::sin(n), {}, "", false});
      }
    }
    flops.budgets.push_back(budget);
  }
  flops.best_n_law = {
      "N* = 0.1 C^0.5", {1e17, 1e19}, {0.1 * std::sqrt(1e17), 0.1 * std::sqrt(1e19)}, {}, {}};
  const Picture flop_picture = isoflop("isoflop", flops);
  BOOST_TEST(flop_picture.data.rows.size() == 3U * 7U);
  drawn(flop_picture);

  PowerData power{"Power", "smallest detectable difference", {}, {{"2 % of the loss", 0.03}}, 3};
  PowerCurve curve{"paired, sd 0.01", {}, {}};
  for (std::size_t n = 1; n <= 20; ++n) {
    curve.n_seeds.push_back(n);
    curve.detectable.push_back(n < 2 ? kInfinity : 0.028 / std::sqrt(static_cast<double>(n) - 1));
  }
  power.curves = {curve};
  const Picture power_picture = power_curve("power", power);
  BOOST_TEST(power_picture.data.rows.size() == 19U);
  drawn(power_picture);
  power.curves.clear();
  BOOST_TEST(contains(power_curve("power", power).script, "No standard deviation"));
}
