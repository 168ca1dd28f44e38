#include "postprocess/fits/model_size.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "base/error.hpp"
#include "base/text.hpp"
#include "postprocess/stats/line_fit.hpp"
#include "postprocess/stats/linear_model.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kReplicates = 2000;

using Key = std::tuple<std::string, std::int64_t, std::int64_t>;

/// Trials of one configuration must be repetitions of one another.
void require_repetition(const SizeTrial& a, const SizeTrial& b) {
  for (std::size_t i = 0; i < std::min(a.settings.size(), b.settings.size()); ++i) {
    if (a.settings[i] == b.settings[i]) continue;
    throw_data(fmt::format("{} and {} have the same width and depth, but {} = {} and {}", a.name,
                           b.name, a.settings[i].first, a.settings[i].second, b.settings[i].second),
               "one value of every other setting for each d_model and n_layers",
               fmt::format("--where {}={}", a.settings[i].first, a.settings[i].second));
  }
}

void set_loss(SizeConfiguration& c, const std::vector<SizeTrial>& trials) {
  std::vector<double> losses;
  for (const std::size_t i : c.trials) losses.push_back(trials[i].loss);
  const MeanTest mean = mean_test(losses);
  c.loss = mean.estimate;
  c.loss_se = mean.se;
  c.loss_se_source = "between seeds";
  if (mean.df >= 1) return;
  c.loss_se = kInfinity;
  c.loss_se_source = "not known: one seed";
  const std::vector<double>& tail = trials[c.trials.front()].tail_losses;
  if (losses.size() > 1 || tail.size() < 3) return;
  const SeriesMean series = series_mean(tail);
  if (!(series.se > 0)) return;
  c.loss_se = series.se;
  c.loss_se_source = "within the one run (autocorrelation-aware); says nothing of other seeds";
}

std::vector<SizeConfiguration> make_configurations(const std::vector<SizeTrial>& trials) {
  std::map<Key, SizeConfiguration> by_key;
  std::map<Key, std::size_t> first;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const SizeTrial& t = trials[i];
    const Key key{t.arch, t.d_model, t.n_layers};
    const auto [entry, is_new] = first.emplace(key, i);
    if (!is_new) require_repetition(trials[entry->second], t);
    SizeConfiguration& c = by_key[key];
    if (is_new) {
      c.arch = t.arch;
      c.d_model = t.d_model;
      c.n_layers = t.n_layers;
      c.n_parameters = t.n_parameters;
      c.n_non_embedding = t.n_non_embedding;
    }
    if (t.diverged) {
      ++c.n_diverged;
    } else if (!t.finished) {
      ++c.n_failed;
    } else {
      c.trials.push_back(i);
      c.tokens += static_cast<double>(t.tokens);
      c.seconds += t.seconds;
    }
  }
  std::vector<SizeConfiguration> list;
  for (auto& [key, c] : by_key) {
    if (c.usable()) {
      const double n = static_cast<double>(c.trials.size());
      c.tokens /= n;
      c.seconds /= n;
      set_loss(c, trials);
    }
    list.push_back(std::move(c));
  }
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return std::tie(a.arch, a.n_parameters) < std::tie(b.arch, b.n_parameters);
  });
  return list;
}

std::optional<double> count_of(const SizeConfiguration& c, const std::string& count) {
  if (count == "total") return static_cast<double>(c.n_parameters);
  if (!c.n_non_embedding) return std::nullopt;
  return static_cast<double>(*c.n_non_embedding);
}

/// The quadratic's coefficient and the F test of the line against it.
void test_curvature(SizeLaw& law, const std::vector<double>& ln_n) {
  Matrix x(ln_n.size(), 3);
  double mean = 0;
  for (const double v : ln_n) mean += v / static_cast<double>(ln_n.size());
  for (std::size_t i = 0; i < ln_n.size(); ++i) {
    const double d = ln_n[i] - mean;
    x(i, 0) = 1;
    x(i, 1) = d;
    x(i, 2) = d * d;
  }
  const auto fit = fit_linear(x, law.losses, Constant::present);
  if (!fit || fit->df < 1 || !(fit->standard_errors[2] > 0)) return;
  law.curvature = fit->coefficients[2];
  law.curvature_ci95 = student_interval(fit->coefficients[2], fit->standard_errors[2], fit->df);
  const double t = fit->coefficients[2] / fit->standard_errors[2];
  law.curvature_test = {t * t, 1, fit->df, fisher_upper_p(t * t, 1, fit->df)};
}

/// Squares of the seeds about their means against those of the means about the line: each weighted
/// by its number of seeds, the line fitted with these weights.
void test_lack_of_fit(SizeLaw& law, const std::vector<const SizeConfiguration*>& points,
                      const std::vector<double>& ln_n, const std::vector<SizeTrial>& trials) {
  double pure = 0;
  int pure_df = 0;
  std::vector<double> weights;
  for (const SizeConfiguration* c : points) {
    for (const std::size_t i : c->trials) {
      pure += (trials[i].loss - c->loss) * (trials[i].loss - c->loss);
    }
    pure_df += static_cast<int>(c->trials.size()) - 1;
    weights.push_back(static_cast<double>(c->trials.size()));
  }
  const auto line = fit_line(ln_n, law.losses, weights);
  if (!line || line->df < 1 || pure_df < 1 || !(pure > 0)) return;
  const double f = (line->rss / line->df) / (pure / pure_df);
  law.lack_of_fit = {f, line->df, pure_df, fisher_upper_p(f, line->df, pure_df)};
}

void bootstrap_seeds(const ModelSizeAnalysis& analysis, std::uint64_t seed, std::size_t threads,
                     SizeLaw& law) {
  std::vector<double> ln_n;
  for (const double n : law.n) ln_n.push_back(std::log(n));
  std::vector<const std::vector<std::size_t>*> trials;
  for (const std::size_t c : law.configurations) {
    trials.push_back(&analysis.configurations[c].trials);
    if (trials.back()->size() < 2) return;
  }
  const BootstrapSample sample =
      run_bootstrap(kReplicates, threads, [&](std::uint64_t r) -> std::optional<Replicate> {
        std::vector<double> y;
        for (std::size_t k = 0; k < trials.size(); ++k) {
          double sum = 0;
          for (const std::size_t j :
               resample_indices(trials[k]->size(), seed, r * trials.size() + k)) {
            sum += analysis.trials[(*trials[k])[j]].loss;
          }
          y.push_back(sum / static_cast<double>(trials[k]->size()));
        }
        const auto line = fit_line(ln_n, y);
        if (!line) return std::nullopt;
        return Replicate{line->slope, 0};
      });
  law.b_seed_bootstrap = percentile_interval(sample);
}

SizeLaw fit_size_law(const ModelSizeAnalysis& analysis, const std::string& arch,
                     const std::string& count) {
  SizeLaw law;
  law.arch = arch;
  law.count = count;
  std::vector<const SizeConfiguration*> points;
  std::vector<double> ln_n;
  for (std::size_t i = 0; i < analysis.configurations.size(); ++i) {
    const SizeConfiguration& c = analysis.configurations[i];
    if (c.arch != arch || !c.usable()) continue;
    const auto n = count_of(c, count);
    if (!n || !(*n > 0)) {
      law.status = fmt::format("the {} parameters of {} are not recorded",
                               count == "total" ? count : "non-embedding", c.label());
      return law;
    }
    points.push_back(&c);
    law.configurations.push_back(i);
    law.n.push_back(*n);
    law.losses.push_back(c.loss);
    ln_n.push_back(std::log(*n));
  }
  const std::set<double> distinct(law.n.begin(), law.n.end());
  if (distinct.size() < 2) {
    law.status = fmt::format("{} finished size{}: an exponent needs at least 2, its error 3",
                             distinct.size(), distinct.size() == 1 ? "" : "s");
    return law;
  }
  const auto line = fit_line(ln_n, law.losses);
  require(line.has_value(), "a line through two distinct sizes");
  law.df = line->df;
  law.b = line->slope;
  law.b_se = line->slope_se;
  law.b_ci95 = line->slope_ci95;
  law.ln_a = line->intercept;
  law.ln_a_se = line->intercept_se;
  law.ln_a_ci95 = line->intercept_ci95;
  law.r2 = line->r2;
  law.s = line->s;
  test_curvature(law, ln_n);
  test_lack_of_fit(law, points, ln_n, analysis.trials);
  return law;
}

ExponentDifference difference_of(const SizeLaw& a, const SizeLaw& b) {
  ExponentDifference d;
  d.first = a.arch;
  d.second = b.arch;
  d.count = a.count;
  d.word = "indeterminate";
  if (!a.ok() || !b.ok()) {
    d.status = !a.ok() ? a.arch + ": " + a.status : b.arch + ": " + b.status;
    return d;
  }
  d.difference = a.b - b.b;
  if (a.df < 1 || b.df < 1) {
    d.status = (a.df < 1 ? a.arch : b.arch) + ": two sizes leave no degree of freedom for an error";
    d.se = kInfinity;
    d.ci95 = {-kInfinity, kInfinity};
    return d;
  }
  const double va = a.b_se * a.b_se;
  const double vb = b.b_se * b.b_se;
  if (!(va + vb > 0)) {
    d.status = "both laws fit without any residual: nothing was measured about the error";
    d.se = kInfinity;
    d.ci95 = {-kInfinity, kInfinity};
    return d;
  }
  d.se = std::sqrt(va + vb);
  d.df = (va + vb) * (va + vb) / (va * va / a.df + vb * vb / b.df);
  d.ci95 = student_interval(d.difference, d.se, d.df);
  d.p = student_two_sided_p(d.difference / d.se, d.df);
  d.equivalence = equivalence_test(d.difference, d.se, d.df, 0, kExponentMargin);
  if (d.equivalence.equivalent()) {
    d.word = "same";
  } else if (d.p < 0.05) {
    d.word = "different";
  }
  return d;
}

/// Settings outside the model that are not alike in all configurations of an architecture.
void warn_confounded(ModelSizeAnalysis& analysis, const std::string& arch) {
  std::map<std::string, std::set<std::string>> seen;
  std::set<double> tokens;
  for (const SizeTrial& t : analysis.trials) {
    if (t.arch != arch || !t.finished) continue;
    tokens.insert(static_cast<double>(t.tokens));
    for (const auto& [path, value] : t.settings) {
      if (!path.starts_with("model.")) seen[path].insert(value);
    }
  }
  for (const auto& [path, values] : seen) {
    if (values.size() < 2) continue;
    const std::vector<std::string> list(values.begin(), values.end());
    analysis.warnings.push_back(
        fmt::format("{}: {} differs between sizes ({}): the exponent is that of the whole recipe, "
                    "not of the size alone",
                    arch, path, join(list, ", ")));
  }
  if (tokens.size() > 1) {
    analysis.warnings.push_back(fmt::format(
        "{}: the sizes were trained on different numbers of tokens ({} to {}): the exponent mixes "
        "the effects of size and data",
        arch, quantity(*tokens.begin()), quantity(*tokens.rbegin())));
  }
}

void warn_gaps(ModelSizeAnalysis& analysis) {
  std::vector<std::string> lost;
  std::size_t single = 0;
  std::size_t usable = 0;
  for (const SizeConfiguration& c : analysis.configurations) {
    if (c.n_diverged + c.n_failed > 0) {
      lost.push_back(fmt::format("{} {} ({} diverged, {} failed, {} finished)", c.arch, c.label(),
                                 c.n_diverged, c.n_failed, c.trials.size()));
    }
    if (!c.usable()) continue;
    ++usable;
    if (c.trials.size() == 1) ++single;
  }
  if (!lost.empty()) {
    analysis.warnings.push_back(
        "not all trials finished; a configuration is judged by the seeds that did: " +
        join(lost, ", "));
  }
  if (single > 0) {
    analysis.warnings.push_back(
        fmt::format("{} of {} configurations have one seed: their scatter about the law is a "
                    "mixture of misfit and seed noise, and lack of fit cannot be tested",
                    single, usable));
  }
  for (const SizeLaw& law : analysis.laws) {
    if (law.curvature_test.d2 > 0 && law.curvature_test.p < 0.05) {
      analysis.warnings.push_back(fmt::format(
          "{} ({} parameters): the points bend away from a power law of the perplexity "
          "(F({}, {}) = {:.2f}, p = {:.2g}): b depends on the range of sizes",
          law.arch, law.count == "total" ? law.count : "non-embedding", law.curvature_test.d1,
          law.curvature_test.d2, law.curvature_test.f, law.curvature_test.p));
    }
  }
}

}  // namespace

std::string SizeConfiguration::label() const {
  return fmt::format("d{}_l{}", d_model, n_layers);
}

std::string ModelSizeAnalysis::prefix_of(const std::string& arch) const {
  const bool only = std::all_of(configurations.begin(), configurations.end(),
                                [&](const SizeConfiguration& c) { return c.arch == arch; });
  return only ? "" : arch + "_";
}

const SizeLaw* ModelSizeAnalysis::law(const std::string& arch, const std::string& count) const {
  for (const SizeLaw& candidate : laws) {
    if (candidate.arch == arch && candidate.count == count) return &candidate;
  }
  return nullptr;
}

ShapeFit fit_shape(const std::vector<SizeConfiguration>& configurations, const std::string& arch) {
  ShapeFit shape;
  shape.arch = arch;
  std::vector<const SizeConfiguration*> points;
  std::set<std::int64_t> widths;
  std::set<std::int64_t> depths;
  for (const SizeConfiguration& c : configurations) {
    if (c.arch != arch || !c.usable()) continue;
    points.push_back(&c);
    widths.insert(c.d_model);
    depths.insert(c.n_layers);
  }
  shape.n = points.size();
  if (widths.size() < 2 || depths.size() < 2) {
    shape.status =
        fmt::format("{} width{} and {} depth{}: both must vary", widths.size(),
                    widths.size() == 1 ? "" : "s", depths.size(), depths.size() == 1 ? "" : "s");
    return shape;
  }
  Matrix x(points.size(), 3);
  std::vector<double> y;
  for (std::size_t i = 0; i < points.size(); ++i) {
    x(i, 0) = 1;
    x(i, 1) = std::log(static_cast<double>(points[i]->d_model));
    x(i, 2) = std::log(static_cast<double>(points[i]->n_layers));
    y.push_back(points[i]->loss);
  }
  const auto fit = fit_linear(x, y, Constant::present);
  if (!fit) {
    shape.status = "width and depth vary together: their effects cannot be told apart";
    return shape;
  }
  shape.df = fit->df;
  shape.width = fit->coefficients[1];
  shape.width_se = fit->standard_errors[1];
  shape.width_ci95 = student_interval(shape.width, shape.width_se, fit->df);
  shape.depth = fit->coefficients[2];
  shape.depth_se = fit->standard_errors[2];
  shape.depth_ci95 = student_interval(shape.depth, shape.depth_se, fit->df);
  shape.contrast = shape.depth - shape.width;
  shape.contrast_se = kInfinity;
  if (fit->df >= 1) {
    shape.contrast_se = std::sqrt(
        std::max(0.0, fit->covariance(1, 1) + fit->covariance(2, 2) - 2 * fit->covariance(1, 2)));
  }
  shape.contrast_ci95 = student_interval(shape.contrast, shape.contrast_se, fit->df);
  if (fit->df >= 1 && shape.contrast_se > 0) {
    shape.contrast_p = student_two_sided_p(shape.contrast / shape.contrast_se, fit->df);
  }
  return shape;
}

void weigh_size_laws(ModelSizeAnalysis& analysis, std::uint64_t bootstrap_seed,
                     std::size_t threads) {
  for (SizeLaw& law : analysis.laws) {
    if (!law.ok()) continue;
    bootstrap_seeds(analysis, bootstrap_seed, threads, law);
    law.rivals = compare_laws({"log_linear", "kaplan", "offset"}, {{law.n}, law.losses, {}, {}});
  }
}

ModelSizeAnalysis fit_model_size(std::vector<SizeTrial> trials) {
  ModelSizeAnalysis analysis;
  analysis.trials = std::move(trials);
  analysis.configurations = make_configurations(analysis.trials);
  std::set<std::string> archs;
  bool has_non_embedding = false;
  for (const SizeConfiguration& c : analysis.configurations) {
    archs.insert(c.arch);
    has_non_embedding = has_non_embedding || c.n_non_embedding.has_value();
  }
  std::vector<std::string> counts = {"total"};
  if (has_non_embedding) counts.emplace_back("non_embedding");
  for (const std::string& arch : archs) {
    for (const std::string& count : counts) {
      analysis.laws.push_back(fit_size_law(analysis, arch, count));
    }
    analysis.shapes.push_back(fit_shape(analysis.configurations, arch));
    warn_confounded(analysis, arch);
  }
  for (const std::string& count : counts) {
    for (auto a = archs.begin(); a != archs.end(); ++a) {
      for (auto b = std::next(a); b != archs.end(); ++b) {
        analysis.differences.push_back(
            difference_of(*analysis.law(*a, count), *analysis.law(*b, count)));
      }
    }
  }
  warn_gaps(analysis);
  analysis.predictions = judge_size_predictions(analysis);
  return analysis;
}

}  // namespace pg::post
