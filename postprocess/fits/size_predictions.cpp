// The sentences of the source documents on model size, each judged by an interval.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "postprocess/fits/model_size.hpp"
#include "postprocess/stats/ratio.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr const char* kSizeSource = "model_size_scaling.md";
constexpr const char* kScalingSource = "exp_002_scaling_study.md";

SizePrediction not_tested(SizePrediction p, const std::string& why) {
  p.word = "not_tested";
  p.detail = why;
  p.ci95 = {-kInfinity, kInfinity};
  return p;
}

/// Met: the interval lies in the range. Not met: it lies outside. Else it cannot be said.
SizePrediction judge_range(SizePrediction p, double low, double high) {
  if (low <= p.ci95.low && p.ci95.high <= high) {
    p.word = "met";
    p.detail = "the whole 95 % interval lies in the range";
  } else if (p.ci95.high < low || p.ci95.low > high) {
    p.word = "not_met";
    p.detail = "the whole 95 % interval lies outside the range";
  } else {
    p.word = "indeterminate";
    p.detail = p.ci95.finite() ? "the 95 % interval crosses an end of the range"
                               : "no interval: too few sizes for an error";
  }
  return p;
}

std::vector<SizePrediction> exponent_predictions(const SizeLaw& law) {
  std::vector<SizePrediction> list;
  const auto add = [&](const char* name, const char* claim, auto value, double low, double high) {
    SizePrediction p;
    p.name = name;
    p.source = kSizeSource;
    p.arch = law.arch;
    p.claim = claim;
    if (!law.ok()) {
      list.push_back(not_tested(std::move(p), law.status));
      return;
    }
    p.estimate = value(law.b);
    const double a = value(law.b_ci95.low);
    const double b = value(law.b_ci95.high);
    p.ci95 = {std::min(a, b), std::max(a, b)};
    list.push_back(judge_range(std::move(p), low, high));
  };
  add(
      "exponent_range", "perplexity = a N^b with b from -0.2 to -0.1", [](double b) { return b; },
      -0.2, -0.1);
  add(
      "tenfold", "ten times the parameters: 1.3 to 1.6 times lower perplexity",
      [](double b) { return std::pow(10.0, -b); }, 1.3, 1.6);
  add(
      "hundredfold", "a hundred times the parameters: 1.6 to 2.5 times lower perplexity",
      [](double b) { return std::pow(100.0, -b); }, 1.6, 2.5);
  return list;
}

/// A quantity whose sign the claim names: met above 0, not met below.
SizePrediction judge_sign(SizePrediction p, const std::string& above, const std::string& below) {
  if (p.ci95.low > 0) {
    p.word = "met";
    p.detail = above;
  } else if (p.ci95.high < 0) {
    p.word = "not_met";
    p.detail = below;
  } else {
    p.word = "indeterminate";
    p.detail = "the 95 % interval contains 0";
  }
  return p;
}

SizePrediction width_prediction(const ShapeFit& shape) {
  SizePrediction p;
  p.name = "width_over_depth";
  p.source = kSizeSource;
  p.arch = shape.arch;
  p.claim = "increasing d_model has a stronger effect than increasing n_layers";
  if (!shape.ok()) return not_tested(std::move(p), shape.status);
  p.estimate = shape.contrast;
  p.ci95 = shape.contrast_ci95;
  return judge_sign(
      std::move(p),
      "the loss falls by more for a factor of d_model than for the same factor of n_layers",
      "the loss falls by more for a factor of n_layers than for the same factor of d_model");
}

SizePrediction returns_prediction(const SizeLaw& law) {
  SizePrediction p;
  p.name = "diminishing_returns";
  p.source = kSizeSource;
  p.arch = law.arch;
  p.claim = "diminishing returns at large sizes: the loss falls more slowly in ln N as N grows";
  if (!law.ok()) return not_tested(std::move(p), law.status);
  if (!law.curvature) {
    return not_tested(std::move(p), "curvature needs at least 4 sizes with scatter");
  }
  p.estimate = law.curvature;
  p.ci95 = law.curvature_ci95;
  return judge_sign(std::move(p), "the curve flattens", "the curve steepens");
}

SizePrediction largest_prediction(const ModelSizeAnalysis& analysis, const std::string& arch) {
  SizePrediction p;
  p.name = "hundred_million";
  p.source = kSizeSource;
  p.arch = arch;
  p.claim = "the largest model has at least 100M parameters";
  std::int64_t largest = 0;
  for (const SizeConfiguration& c : analysis.configurations) {
    if (c.arch == arch && c.usable()) largest = std::max(largest, c.n_parameters);
  }
  if (largest == 0) return not_tested(std::move(p), "no trial finished");
  p.estimate = static_cast<double>(largest);
  p.ci95 = {*p.estimate, *p.estimate};
  p.word = largest >= 100'000'000 ? "met" : "not_met";
  p.detail = "a count, not an estimate";
  return p;
}

/// The configuration whose size is nearest to n within kSameSize; nullptr where there is none.
const SizeConfiguration* near_size(const ModelSizeAnalysis& analysis, const std::string& arch,
                                   double n) {
  const SizeConfiguration* best = nullptr;
  double nearest = std::log(1 + kSameSize);
  for (const SizeConfiguration& c : analysis.configurations) {
    if (c.arch != arch || !c.usable()) continue;
    const double distance = std::abs(std::log(static_cast<double>(c.n_parameters) / n));
    if (distance <= nearest) {
      nearest = distance;
      best = &c;
    }
  }
  return best;
}

/// L(175M) / L(65M) of the same seeds, against (65 / 175)^0.076.
SizePrediction ratio_prediction(const ModelSizeAnalysis& analysis, const std::string& arch) {
  const double predicted = std::pow(65.0 / 175.0, 0.076);
  SizePrediction p;
  p.name = "loss_ratio_175m_65m";
  p.source = kScalingSource;
  p.arch = arch;
  p.claim = fmt::format("L(175M) / L(65M) = (65 / 175)^0.076 = {:.4f}", predicted);
  const SizeConfiguration* small = near_size(analysis, arch, 65e6);
  const SizeConfiguration* large = near_size(analysis, arch, 175e6);
  if (!small || !large) {
    return not_tested(std::move(p), fmt::format("no finished trial within {:.0f} % of {}",
                                                100 * kSameSize, !small ? "65M" : "175M"));
  }
  std::vector<double> numerator;
  std::vector<double> denominator;
  for (const std::size_t i : large->trials) {
    for (const std::size_t j : small->trials) {
      if (analysis.trials[i].seed != analysis.trials[j].seed) continue;
      numerator.push_back(analysis.trials[i].loss);
      denominator.push_back(analysis.trials[j].loss);
    }
  }
  p.estimate = large->loss / small->loss;
  p.ci95 = mean_ratio_interval(numerator, denominator);
  const bool same_tokens = std::abs(large->tokens / small->tokens - 1) < 0.01;
  const std::string remark =
      same_tokens ? ""
                  : fmt::format(
                        "; the two were trained on {:.3g} and {:.3g} tokens, so that the "
                        "ratio holds the effect of data too",
                        large->tokens, small->tokens);
  if (!p.ci95.finite()) {
    p.word = "indeterminate";
    p.detail = fmt::format("{} common seed{}: at least 2 are needed for an error{}",
                           numerator.size(), numerator.size() == 1 ? "" : "s", remark);
  } else if (p.ci95.within(predicted * (1 - kRatioMargin), predicted * (1 + kRatioMargin))) {
    p.word = "met";
    p.detail = fmt::format("the interval lies within {:.0f} % of the prediction{}",
                           100 * kRatioMargin, remark);
  } else if (!p.ci95.contains(predicted)) {
    p.word = "not_met";
    p.detail = "the interval excludes the prediction" + remark;
  } else {
    p.word = "indeterminate";
    p.detail = "the interval contains the prediction but is wider than the margin" + remark;
  }
  return p;
}

/// What the study of scaling expects of more data, with its arithmetic put right.
std::vector<SizePrediction> data_predictions() {
  const double data = std::pow(0.01, 0.095);
  const double size = std::pow(65.0 / 175.0, 0.076);
  SizePrediction ratio;
  ratio.name = "loss_ratio_100x_data";
  ratio.source = kScalingSource;
  ratio.claim = fmt::format(
      "L(100M tokens) / L(1M tokens) = 0.01^0.095 = {:.4f} (the source prints 0.69)", data);
  SizePrediction both;
  both.name = "loss_ratio_both";
  both.source = kScalingSource;
  both.claim = fmt::format(
      "size and data together: {:.4f} of the loss, {:.0f} % less (the source prints 0.64, 36 %)",
      size * data, 100 * (1 - size * data));
  const std::string why =
      "a study of one corpus has no hundredfold of it; a joint law of N and D: pgpost fit --model "
      "chinchilla";
  return {not_tested(std::move(ratio), why), not_tested(std::move(both), why)};
}

}  // namespace

std::vector<SizePrediction> judge_size_predictions(const ModelSizeAnalysis& analysis) {
  std::vector<SizePrediction> list;
  for (const SizeLaw& law : analysis.laws) {
    if (law.count != "total") continue;
    for (SizePrediction& p : exponent_predictions(law)) list.push_back(std::move(p));
    list.push_back(returns_prediction(law));
    list.push_back(largest_prediction(analysis, law.arch));
    list.push_back(ratio_prediction(analysis, law.arch));
  }
  for (const ShapeFit& shape : analysis.shapes) list.push_back(width_prediction(shape));
  for (SizePrediction& p : data_predictions()) list.push_back(std::move(p));
  return list;
}

}  // namespace pg::post
