// Losses with a floor, and a smoothly broken law.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "postprocess/fits/law_shape.hpp"

namespace pg::post {
namespace {

using Kind = Reported::Kind;
using Values = std::span<const double>;

/// For a given exponent E and A follow from a straight line: y on x^-alpha.
std::vector<std::vector<double>> offset_starts(const LawData& data) {
  std::vector<std::vector<double>> starts;
  for (const double alpha : {0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0}) {
    Matrix design(data.size(), 2);
    for (std::size_t i = 0; i < data.size(); ++i) {
      design(i, 0) = 1;
      design(i, 1) = std::pow(data.x[0][i], -alpha);
    }
    const auto line = fit_linear(design, data.y, Constant::present, data.weights);
    if (!line || line->coefficients[1] <= 0) continue;  // the loss would rise with x
    starts.push_back({line->coefficients[0], std::log(line->coefficients[1]), alpha});
  }
  return starts;
}

Shape offset(const std::string& response) {
  Shape s;
  s.response = response;
  s.internal_names = {"E", "ln_A", "alpha"};
  s.reported = {{"E", Kind::same, 0},
                {"A", Kind::exponential, 1},
                {"alpha", Kind::same, 2},
                {"ln_x_c", Kind::derived, 0, [](Values b) { return b[1] / b[2]; }}};
  s.fewest_points = 4;
  s.fewest_distinct = 3;
  s.profile = true;
  s.model = [log = response == kLnY](Values b, Values x, std::span<double> gradient) {
    const double ln_x = std::log(x[0]);
    const double term = std::exp(b[1] - b[2] * ln_x);
    const double value = b[0] + term;
    const double scale = log ? 1 / value : 1;
    if (!gradient.empty()) {
      gradient[0] = scale;
      gradient[1] = scale * term;
      gradient[2] = -scale * term * ln_x;
    }
    return log ? std::log(value) : value;
  };
  s.starts = offset_starts;
  s.doubt = [](const LawFit& fit, const LawData& data) -> std::string {
    const double largest = *std::max_element(data.y.begin(), data.y.end());
    if (fit.internal[2] <= 0) return "the loss does not fall towards a floor: alpha <= 0";
    if (std::abs(fit.internal[0]) > 1e3 * std::abs(largest)) {
      return "the points show no curvature that would separate E from A / x^alpha";
    }
    return "";
  };
  s.remark = [](const LawFit& fit) -> std::string {
    const Interval& ci = fit.parameter("E").ci95;
    if (!(ci.low <= 0)) return "";
    return "the interval of E contains zero: these points do not show that there is a floor";
  };
  return s;
}

Shape offset_log() {
  Shape s = offset(kLnY);
  s.name = "offset";
  s.formula = "y = E + A / x^alpha";
  s.about = "relative errors (of ln y); x_c = A^(1/alpha) is where the second term is 1";
  s.rivals = {"kaplan", "offset", "log_linear"};
  return s;
}

Shape offset_nls() {
  Shape s = offset(kY);
  s.name = "offset_nls";
  s.formula = "y = E + A / x^alpha + e";
  s.about = "absolute errors (of y): the form of the Cerebras-GPT law";
  s.rivals = {"kaplan", "offset_nls", "log_linear"};
  return s;
}

/// Starts from straight lines in logarithms on both sides of trial breaks.
std::vector<std::vector<double>> bnsl_starts(const LawData& data) {
  std::vector<double> ln_x;
  for (const double x : data.x[0]) ln_x.push_back(std::log(x));
  std::sort(ln_x.begin(), ln_x.end());
  const double lowest = *std::min_element(data.y.begin(), data.y.end());
  std::vector<std::vector<double>> starts;
  for (const double floor : {0.0, 0.5 * lowest, 0.9 * lowest}) {
    for (const double share : {0.25, 0.5, 0.75}) {
      const double k = ln_x[static_cast<std::size_t>(share * static_cast<double>(ln_x.size()))];
      Matrix design(data.size(), 3);
      std::vector<double> y;
      for (std::size_t i = 0; i < data.size(); ++i) {
        const double t = std::log(data.x[0][i]) - k;
        design(i, 0) = 1;
        design(i, 1) = std::min(t, 0.0);
        design(i, 2) = std::max(t, 0.0);
        y.push_back(std::log(data.y[i] - floor));
      }
      const auto line = fit_linear(design, y, Constant::present, data.weights);
      if (!line) continue;
      const double c0 = -line->coefficients[1];
      const double c1 = -line->coefficients[2] - c0;
      for (const double f : {0.1, 0.5}) {
        starts.push_back({floor, line->coefficients[0] + c0 * k, c0, c1, k, std::log(f)});
      }
    }
  }
  return starts;
}

Shape bnsl() {
  Shape s;
  s.name = "bnsl";
  s.formula = "y = a + b x^-c0 (1 + (x / d)^(1/f))^(-c1 f)";
  s.about = "Caballero et al. 2022 with one break, on ln y";
  s.internal_names = {"a", "ln_b", "c0", "c1", "ln_d", "ln_f"};
  s.reported = {{"a", Kind::same, 0},  {"b", Kind::exponential, 1}, {"c0", Kind::same, 2},
                {"c1", Kind::same, 3}, {"d", Kind::exponential, 4}, {"f", Kind::exponential, 5}};
  s.rivals = {"power", "offset", "broken_power", "bnsl"};
  s.fewest_points = 15;
  s.fewest_distinct = 7;
  s.profile = true;
  s.label = "exploratory: six parameters, one break; its extrapolation hangs on the last points";
  s.model = [](Values b, Values x, std::span<double> gradient) {
    const double ln_x = std::log(x[0]);
    const double t = ln_x - b[4];
    // A profile takes f to where the break is a corner: not to 0, but as near as may be.
    const double f = std::max(std::exp(b[5]), 1e-100);
    // f ln(1 + u) and u / (1 + u) with u = e^(t/f), without overflow
    const double bent = std::max(t, 0.0) + f * std::log1p(std::exp(-std::abs(t) / f));
    const double share = 1 / (1 + std::exp(-t / f));
    const double term = std::exp(b[1] - b[2] * ln_x - b[3] * bent);
    const double value = b[0] + term;
    if (!gradient.empty()) {
      gradient[0] = 1 / value;
      gradient[1] = term / value;
      gradient[2] = -ln_x * gradient[1];
      gradient[3] = -bent * gradient[1];
      gradient[4] = b[3] * share * gradient[1];
      gradient[5] = -b[3] * (bent - share * t) * gradient[1];
    }
    return std::log(value);
  };
  s.starts = bnsl_starts;
  return s;
}

}  // namespace

std::vector<Law> loss_laws() {
  std::vector<Law> laws;
  for (auto make : {offset_log, offset_nls, bnsl}) laws.push_back(make_law(make()));
  return laws;
}

}  // namespace pg::post
