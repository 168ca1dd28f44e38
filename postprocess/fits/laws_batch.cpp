// What the learning rate and the number of steps do with the batch size.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "postprocess/fits/law_shape.hpp"

namespace pg::post {
namespace {

using Kind = Reported::Kind;
using Values = std::span<const double>;

// A bend farther than this factor outside the data is not seen in them.
constexpr double kOutside = 100;

const std::vector<std::string> kRivals = {"constant", "power", "saturating", "surge",
                                          "log_quadratic"};

/// eta_max is free in ln y: for each trial ln B_n its best value is a mean.
std::vector<std::vector<double>> noise_scale_starts(const Shape& shape, const LawData& data) {
  const auto [low, high] = std::minmax_element(data.x[0].begin(), data.x[0].end());
  std::vector<std::vector<double>> starts;
  for (int i = 0; i <= 8; ++i) {
    const double k = std::log(*low) - 2 + i / 8.0 * (std::log(*high) - std::log(*low) + 4);
    double mean = 0;
    for (std::size_t j = 0; j < data.size(); ++j) {
      const double x[] = {data.x[0][j]};
      const double b[] = {0, k};
      mean += (std::log(data.y[j]) - shape.model(b, x, {})) / static_cast<double>(data.size());
    }
    starts.push_back({mean, k});
  }
  return starts;
}

std::string bend_outside(double ln_bend, const LawData& data, const std::string& what) {
  const auto [low, high] = std::minmax_element(data.x[0].begin(), data.x[0].end());
  const double margin = std::log(kOutside);
  if (ln_bend < std::log(*low) - margin) {
    return fmt::format("{} runs off below the data: they show no bend, a constant fits as well",
                       what);
  }
  if (ln_bend > std::log(*high) + margin) {
    return fmt::format("{} runs off above the data: they show no bend, a power law fits as well",
                       what);
  }
  return "";
}

Shape noise_scale_shape() {
  Shape s;
  s.variables = {"B"};
  s.internal_names = {"ln_eta_max", "ln_B_n"};
  s.reported = {{"eta_max", Kind::exponential, 0}, {"B_n", Kind::exponential, 1}};
  s.rivals = kRivals;
  s.fewest_points = 3;
  s.profile = true;
  s.doubt = [](const LawFit& fit, const LawData& data) {
    return bend_outside(fit.internal[1], data, "B_n");
  };
  return s;
}

Shape saturating() {
  Shape s = noise_scale_shape();
  s.name = "saturating";
  s.formula = "eta = eta_max / (1 + B_n / B)";
  s.about = "McCandlish et al. 2018 for SGD: linear below the noise scale B_n, constant above";
  s.model = [](Values b, Values x, std::span<double> gradient) {
    const double ratio = std::exp(b[1]) / x[0];
    if (!gradient.empty()) {
      gradient[0] = 1;
      gradient[1] = -1 / (1 + 1 / ratio);
    }
    return b[0] - std::log1p(ratio);
  };
  s.starts = [s](const LawData& data) { return noise_scale_starts(s, data); };
  return s;
}

Shape surge() {
  Shape s = noise_scale_shape();
  s.name = "surge";
  s.formula = "eta = eta_max / [(sqrt(B_n / B) + sqrt(B / B_n)) / 2]";
  s.about = "Li et al. 2024 for Adam: square root below B_n, a peak there, falling above";
  s.model = [](Values b, Values x, std::span<double> gradient) {
    const double half = std::abs(std::log(x[0]) - b[1]) / 2;
    if (!gradient.empty()) {
      gradient[0] = 1;
      gradient[1] = std::tanh((std::log(x[0]) - b[1]) / 2) / 2;
    }
    return b[0] - (half + std::log1p(std::exp(-2 * half)) - std::log(2.0));  // ln cosh
  };
  s.starts = [s](const LawData& data) { return noise_scale_starts(s, data); };
  return s;
}

Shape critical_batch() {
  Shape s;
  s.name = "critical_batch";
  s.formula = "S = a + b / B, CBS = b / (5 a)";
  s.about =
      "Zhang et al. 2024, on ln S: CBS is where S B is 20 % above the limit of small batches "
      "(above that of batch B_0: add 1.2 B_0)";
  s.variables = {"B"};
  s.internal_names = {"ln_a", "ln_b"};
  s.reported = {
      {"a", Kind::exponential, 0},
      {"b", Kind::exponential, 1},
      {"CBS", Kind::exp_derived, 0, [](Values b) { return b[1] - b[0] - std::log(5.0); }}};
  s.rivals = {"critical_batch", "power"};
  s.fewest_points = 3;
  s.profile = true;
  s.model = [](Values b, Values x, std::span<double> gradient) {
    const double u = b[0];
    const double v = b[1] - std::log(x[0]);
    const double top = std::max(u, v);
    const double sum = top + std::log(std::exp(u - top) + std::exp(v - top));
    if (!gradient.empty()) {
      gradient[0] = std::exp(u - sum);
      gradient[1] = std::exp(v - sum);
    }
    return sum;
  };
  s.starts = [s](const LawData& data) {
    std::vector<std::vector<double>> starts;  // the bend b / a anywhere in the data
    for (const auto& start : noise_scale_starts(s, data)) {
      const double k = start[1];
      double mean = 0;
      for (std::size_t j = 0; j < data.size(); ++j) {
        mean += (std::log(data.y[j]) - std::log1p(std::exp(k) / data.x[0][j])) /
                static_cast<double>(data.size());
      }
      starts.push_back({mean, mean + k});
    }
    return starts;
  };
  s.doubt = [](const LawFit& fit, const LawData& data) {
    return bend_outside(fit.internal[1] - fit.internal[0], data, "b / a");
  };
  return s;
}

}  // namespace

std::vector<Law> batch_laws() {
  std::vector<Law> laws;
  for (auto make : {saturating, surge, critical_batch}) laws.push_back(make_law(make()));
  return laws;
}

}  // namespace pg::post
