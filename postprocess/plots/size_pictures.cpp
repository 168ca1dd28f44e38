// The pictures of a model-size study.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "postprocess/plots/law_plots.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kSamples = 80;
constexpr double kRoom = 1.5;  ///< curves go on by this factor beyond the data

/// y of a fitted law over the range of x; `shown` is applied to y and the ends of its bands.
Curve law_curve(const LawFit& fit, const std::vector<double>& x, const std::string& label,
                bool bands, double (*shown)(double)) {
  Curve curve;
  curve.label = label;
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  curve.x = spread(*low / kRoom, *high * kRoom, kSamples, true);
  for (const double at : curve.x) {
    curve.y.push_back(shown(predict(fit, {&at, 1})));
    if (!bands) continue;
    const LawBand band = band_at(fit, {&at, 1});
    curve.mean95.push_back({shown(band.mean95.low), shown(band.mean95.high)});
    curve.prediction95.push_back({shown(band.prediction95.low), shown(band.prediction95.high)});
  }
  return curve;
}

double as_it_is(double y) {
  return y;
}
double as_perplexity(double loss) {
  return std::exp(loss);
}

const Rival* find_rival(const SizeLaw& law, const std::string& name) {
  for (const Rival& r : law.rivals) {
    if (r.fit.law == name && r.fit.ok()) return &r;
  }
  return nullptr;
}

Interval loss_interval(const SizeConfiguration& c) {
  const double df = static_cast<double>(c.trials.size()) - 1;
  const Interval ci = student_interval(c.loss, c.loss_se, df);
  return ci.finite() ? ci : Interval{c.loss, c.loss};
}

Picture four_panels(const ModelSizeAnalysis& a, const SizeLaw& law, const std::string& prefix) {
  ScalingLawsData data;
  std::vector<double> seconds;
  for (const std::size_t i : law.configurations) {
    const SizeConfiguration& c = a.configurations[i];
    const Interval ci = loss_interval(c);
    data.points.push_back({static_cast<int>(c.d_model),
                           static_cast<int>(c.n_layers),
                           static_cast<double>(c.n_parameters),
                           std::exp(c.loss),
                           {std::exp(ci.low), std::exp(ci.high)},
                           c.seconds});
    seconds.push_back(c.seconds);
  }
  if (const Rival* line = find_rival(law, "log_linear")) {
    data.perplexity_fit = law_curve(
        line->fit, law.n,
        fmt::format("∝ N^({:.3f}) [{:.3f}, {:.3f}]", law.b, law.b_ci95.low, law.b_ci95.high),
        law.df >= 1, as_perplexity);
  }
  if (std::all_of(seconds.begin(), seconds.end(), [](double s) { return s > 0; })) {
    const LawFit time = fit_law("power", {{law.n}, seconds, {}, {}});
    if (time.ok()) {
      data.time_fit =
          law_curve(time, law.n, fmt::format("∝ N^{:.2f}", time.parameter("beta").estimate),
                    time.df >= 1, as_it_is);
    }
  }
  Picture picture = scaling_laws(data);
  picture.name = prefix + picture.name;
  return picture;
}

Picture rival_curves(const ModelSizeAnalysis& a, const SizeLaw& law, const std::string& prefix) {
  LawPlotData data;
  data.title = "Loss against the number of parameters, " + law.arch;
  data.x_label = "parameters N";
  data.y_label = "final validation loss (nats per token)";
  data.log_y = false;
  for (const std::size_t i : law.configurations) {
    const SizeConfiguration& c = a.configurations[i];
    data.points.push_back(
        {static_cast<double>(c.n_parameters), c.loss, loss_interval(c), c.label(), false});
  }
  for (const Rival& r : law.rivals) {
    if (!r.fit.ok()) continue;
    const bool best = data.fit.x.empty();
    const std::string label =
        r.fit.formula + (r.aicc ? fmt::format(", weight {:.2f}", r.weight) : "");
    Curve curve = law_curve(r.fit, law.n, label, best && r.fit.df >= 1, as_it_is);
    if (best) {
      data.fit = std::move(curve);
    } else {
      data.rivals.push_back(std::move(curve));
    }
  }
  return law_fit(prefix + "loss_vs_parameters", data);
}

/// Loss against what the training cost; `cost` is that of one configuration.
Picture loss_against(const ModelSizeAnalysis& a, const SizeLaw& law, const std::string& name,
                     const std::string& title, const std::string& x_label,
                     double (*cost)(const SizeConfiguration&)) {
  LawPlotData data;
  data.title = title + ", " + law.arch;
  data.x_label = x_label;
  data.y_label = "final validation loss (nats per token)";
  data.log_y = false;
  std::vector<double> costs;
  for (const std::size_t i : law.configurations) {
    const SizeConfiguration& c = a.configurations[i];
    costs.push_back(cost(c));
    data.points.push_back({costs.back(), c.loss, loss_interval(c), c.label(), false});
  }
  const bool positive = std::all_of(costs.begin(), costs.end(), [](double v) { return v > 0; });
  data.log_x = positive;
  if (positive) {
    const LawFit line = fit_law("log_linear", {{costs}, law.losses, {}, {}});
    if (line.ok()) {
      data.fit = law_curve(line, costs, "a + b ln x", line.df >= 1, as_it_is);
    }
  }
  return law_fit(name, data);
}

}  // namespace

std::vector<Picture> pictures_of(const ModelSizeAnalysis& a) {
  std::vector<Picture> list;
  for (const SizeLaw& law : a.laws) {
    if (law.count != "total" || law.configurations.empty()) continue;
    const std::string prefix = a.prefix_of(law.arch);
    list.push_back(four_panels(a, law, prefix));
    list.push_back(rival_curves(a, law, prefix));
    list.push_back(loss_against(a, law, prefix + "loss_vs_flops", "Loss against compute",
                                "training FLOP (6 N per token)", [](const SizeConfiguration& c) {
                                  return 6 * static_cast<double>(c.n_parameters) * c.tokens;
                                }));
    list.push_back(loss_against(a, law, prefix + "loss_vs_time", "Loss against training time",
                                "seconds of all ranks together",
                                [](const SizeConfiguration& c) { return c.seconds; }));
  }
  return list;
}

}  // namespace pg::post
