// Straight lines in logarithms, and a power law with a break.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "postprocess/fits/breakpoint.hpp"
#include "postprocess/fits/law_shape.hpp"

namespace pg::post {
namespace {

using Kind = Reported::Kind;
using Values = std::span<const double>;

const std::vector<std::string> kExponentRivals = {"constant", "power", "saturating", "surge",
                                                  "log_quadratic"};
const std::vector<std::string> kLossRivals = {"kaplan", "offset", "log_linear"};

/// A law that is linear in its parameters: `row` is its design.
Shape linear_shape(std::function<void(double x, std::span<double> row)> row) {
  Shape shape;
  shape.linear = true;
  shape.constant = true;
  shape.model = [row = std::move(row)](Values b, Values x, std::span<double> gradient) {
    std::vector<double> design(b.size());
    row(x[0], design);
    double sum = 0;
    for (std::size_t j = 0; j < b.size(); ++j) sum += design[j] * b[j];
    std::copy_n(design.begin(), gradient.size(), gradient.begin());
    return sum;
  };
  return shape;
}

void log_line(double x, std::span<double> row) {
  row[0] = 1;
  row[1] = std::log(x);
}

Shape constant() {
  Shape s = linear_shape([](double, std::span<double> row) { row[0] = 1; });
  s.name = "constant";
  s.formula = "y = C";
  s.about = "no dependence on x: what every other law must beat";
  s.internal_names = {"ln_C"};
  s.reported = {{"C", Kind::exponential, 0}};
  s.rivals = kExponentRivals;
  s.fewest_points = 2;
  s.fewest_distinct = 1;
  return s;
}

Shape power() {
  Shape s = linear_shape(log_line);
  s.name = "power";
  s.formula = "y = C x^beta";
  s.about = "ordinary least squares of ln y on ln x; C is a median multiplier, not a mean";
  s.internal_names = {"ln_C", "beta"};
  s.reported = {{"C", Kind::exponential, 0}, {"beta", Kind::same, 1}, {"ln_C", Kind::same, 0}};
  s.rivals = kExponentRivals;
  s.fewest_points = 3;
  return s;
}

Shape power_nls() {
  Shape s;
  s.name = "power_nls";
  s.formula = "y = C x^beta + e";
  s.about = "errors of y itself, not of ln y: another estimand than power";
  s.response = kY;
  s.internal_names = {"ln_C", "beta"};
  s.reported = {{"C", Kind::exponential, 0}, {"beta", Kind::same, 1}};
  s.rivals = {"power_nls", "power", "linear"};
  s.fewest_points = 3;
  s.profile = true;
  s.model = [](Values b, Values x, std::span<double> gradient) {
    const double value = std::exp(b[0] + b[1] * std::log(x[0]));
    if (!gradient.empty()) {
      gradient[0] = value;
      gradient[1] = value * std::log(x[0]);
    }
    return value;
  };
  s.starts = [](const LawData& data) {
    std::vector<std::vector<double>> starts;
    Matrix design(data.size(), 2);
    std::vector<double> ln_y;
    std::size_t n = 0;
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (data.y[i] <= 0) continue;
      design(n, 0) = 1;
      design(n++, 1) = std::log(data.x[0][i]);
      ln_y.push_back(std::log(data.y[i]));
    }
    Matrix used(n, 2);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < 2; ++j) used(i, j) = design(i, j);
    }
    if (const auto line = fit_linear(used, ln_y, Constant::present)) {
      starts.push_back(line->coefficients);
    }
    return starts;
  };
  return s;
}

Shape log_quadratic() {
  Shape s = linear_shape([](double x, std::span<double> row) {
    log_line(x, row);
    row[2] = row[1] * row[1];
  });
  s.name = "log_quadratic";
  s.formula = "ln y = c0 + c1 ln x + c2 (ln x)^2";
  s.about = "a power law with a changing exponent; the test for curvature, not a theory";
  s.internal_names = {"c0", "c1", "c2"};
  s.reported = {{"c0", Kind::same, 0}, {"c1", Kind::same, 1}, {"c2", Kind::same, 2}};
  s.rivals = kExponentRivals;
  s.fewest_points = 4;
  s.fewest_distinct = 3;
  return s;
}

Shape linear() {
  Shape s = linear_shape([](double x, std::span<double> row) {
    row[0] = 1;
    row[1] = x;
  });
  s.name = "linear";
  s.formula = "y = a + b x";
  s.about = "ordinary least squares";
  s.response = kY;
  s.internal_names = {"a", "b"};
  s.reported = {{"a", Kind::same, 0}, {"b", Kind::same, 1}};
  s.rivals = {"linear"};
  s.fewest_points = 3;
  s.positive_x = false;
  return s;
}

Shape log_linear() {
  Shape s = linear_shape(log_line);
  s.name = "log_linear";
  s.formula = "y = a + b ln x";
  s.about = "a loss linear in ln N, which is a power law of perplexity: no floor";
  s.response = kY;
  s.internal_names = {"a", "b"};
  s.reported = {{"a", Kind::same, 0}, {"b", Kind::same, 1}};
  s.rivals = kLossRivals;
  s.fewest_points = 3;
  return s;
}

Shape kaplan() {
  Shape s = linear_shape(log_line);
  s.name = "kaplan";
  s.formula = "L = (N_c / N)^alpha";
  s.about =
      "Kaplan et al. 2020; N_c is extrapolated by decades, so ln N_c is given, with its error";
  s.variables = {"N"};
  s.internal_names = {"alpha_ln_N_c", "minus_alpha"};
  s.reported = {{"alpha", Kind::negated, 1},
                {"ln_N_c", Kind::derived, 0, [](Values b) { return -b[0] / b[1]; }}};
  s.rivals = kLossRivals;
  s.fewest_points = 3;
  s.doubt = [](const LawFit& fit, const LawData&) -> std::string {
    return fit.internal[1] == 0 ? "the loss does not depend on N: N_c is not defined" : "";
  };
  return s;
}

// ---- the broken power law ----

Shape broken_power() {
  Shape s;
  s.name = kBrokenPower;
  s.formula = "y = C x^beta_1 below x_break, continuous, exponent beta_2 above";
  s.about = "the best of all breakpoints with at least 3 points on each side";
  s.internal_names = {"ln_C", "beta_1", "beta_2", "ln_x_break"};
  s.reported = {{"C", Kind::exponential, 0},
                {"beta_1", Kind::same, 1},
                {"beta_2", Kind::same, 2},
                {"x_break", Kind::exponential, 3}};
  s.rivals = {"power", "log_quadratic", "broken_power"};
  s.fewest_points = kFewestForBreak;
  s.fewest_distinct = 4;
  s.label =
      "exploratory: a breakpoint that the data choose has no ordinary p-value (Davies' problem; "
      "see the "
      "bootstrap's), and the intervals, of the linearised law, hold 85 to 95 % where a few points "
      "show the break";
  s.model = [](Values b, Values x, std::span<double> gradient) {
    const double t = std::log(x[0]) - b[3];
    const double slope = t > 0 ? b[2] : b[1];
    if (!gradient.empty()) {
      gradient[0] = 1;
      gradient[1] = b[3] + std::min(t, 0.0);
      gradient[2] = std::max(t, 0.0);
      gradient[3] = b[1] - slope;
    }
    return b[0] + b[1] * b[3] + slope * t;
  };
  return s;
}

/// Least squares with the break held at ln x = k; empty where the points do not determine it.
std::vector<double> held_break(const LawData& data, Values ln_y, double k) {
  Matrix design(data.size(), 3);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const double t = std::log(data.x[0][i]) - k;
    design(i, 0) = 1;
    design(i, 1) = k + std::min(t, 0.0);
    design(i, 2) = std::max(t, 0.0);
  }
  const auto fit = fit_linear(design, ln_y, Constant::present, data.weights);
  if (!fit) return {};
  std::vector<double> internal = fit->coefficients;
  internal.push_back(k);
  return internal;
}

LawFit fit_broken(const Shape& shape, const Law& law, const LawData& data, Values start) {
  check_domain(data, shape.name, true, true);
  LawFit fit = no_fit(law, data, FitStatus::not_identifiable, "");
  const std::size_t distinct = n_distinct(data.x[0]);
  if (data.size() < shape.fewest_points || distinct < shape.fewest_distinct) {
    fit.detail = fmt::format("{} points with {} distinct x, but a break needs {} and {}",
                             data.size(), distinct, shape.fewest_points, shape.fewest_distinct);
    return fit;
  }
  if (const auto k = find_break(data)) {
    fit.internal = held_break(data, responses(data, kLnY), *k);
  }
  if (fit.internal.empty()) {
    fit.detail = "no place for a break with at least 3 points on each side";
    return fit;
  }
  fit.status = FitStatus::converged;
  complete_fit(law, shape.reported, data, fit);
  if (!fit.ok()) return fit;
  set_gaussian_criteria(data, fit);
  if (start.empty()) {
    add_warnings(law, data, fit);
    fit.warnings.push_back(shape.label);
  }
  return fit;
}

Law broken_power_law() {
  const Shape shape = broken_power();
  Law law = make_law(shape);
  law.fit = [shape](const LawData& data, Values start) {
    return fit_broken(shape, find_law(shape.name), data, start);
  };
  return law;
}

}  // namespace

std::vector<Law> power_laws() {
  std::vector<Law> laws;
  for (auto make : {constant, power, power_nls, log_quadratic, linear, log_linear, kaplan}) {
    laws.push_back(make_law(make()));
  }
  laws.push_back(broken_power_law());
  return laws;
}

}  // namespace pg::post
