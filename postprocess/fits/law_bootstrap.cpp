#include "postprocess/fits/law_bootstrap.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.hpp"

namespace pg::post {
namespace {

LawData chosen(const LawData& data, const std::vector<std::size_t>& rows) {
  LawData sample;
  sample.x.resize(data.x.size());
  for (const std::size_t i : rows) {
    for (std::size_t v = 0; v < data.x.size(); ++v) sample.x[v].push_back(data.x[v][i]);
    sample.y.push_back(data.y[i]);
    if (!data.weights.empty()) sample.weights.push_back(data.weights[i]);
  }
  return sample;
}

Matrix covariance_of(const std::vector<std::vector<double>>& values) {
  if (values.size() < 2) return {};
  const std::size_t p = values[0].size();
  std::vector<double> mean(p, 0.0);
  const double n = static_cast<double>(values.size());
  for (const auto& v : values) {
    for (std::size_t j = 0; j < p; ++j) mean[j] += v[j] / n;
  }
  Matrix covariance(p, p);
  for (const auto& v : values) {
    for (std::size_t i = 0; i < p; ++i) {
      for (std::size_t j = 0; j < p; ++j)
        covariance(i, j) += (v[i] - mean[i]) * (v[j] - mean[j]) / (n - 1);
    }
  }
  return covariance;
}

/// The reported parameters without each point or cluster in turn, one vector a parameter; nothing
/// where one of these refits fails.
std::optional<std::vector<std::vector<double>>> jackknife(const Law& law, const LawFit& fit,
                                                          const LawData& data, std::size_t threads,
                                                          std::span<const std::size_t> cluster_of) {
  const std::size_t n = cluster_of.empty()
                            ? data.size()
                            : 1 + *std::max_element(cluster_of.begin(), cluster_of.end());
  std::vector<std::vector<double>> without(n);
  parallel_for(n, threads, [&](std::size_t left) {
    std::vector<std::size_t> rows;
    for (std::size_t i = 0; i < data.size(); ++i) {
      if ((cluster_of.empty() ? i : cluster_of[i]) != left) rows.push_back(i);
    }
    const LawFit refit = law.fit(chosen(data, rows), fit.internal);
    if (refit.ok()) without[left] = law.reported(refit.internal);
  });
  std::vector<std::vector<double>> by_parameter(law.parameter_names.size());
  for (const auto& values : without) {
    if (values.empty()) return std::nullopt;
    for (std::size_t j = 0; j < values.size(); ++j) by_parameter[j].push_back(values[j]);
  }
  return by_parameter;
}

}  // namespace

LawBootstrap bootstrap_law(const LawFit& fit, const LawData& data, std::size_t n_replicates,
                           std::uint64_t seed, std::size_t threads,
                           std::span<const std::size_t> cluster_of) {
  require(fit.ok(), "only a fit that is ok is bootstrapped");
  const Law& law = find_law(fit.law);
  std::vector<std::optional<std::vector<double>>> refits(n_replicates);
  parallel_for(n_replicates, threads, [&](std::size_t r) {
    const auto rows = cluster_of.empty() ? resample_indices(data.size(), seed, r)
                                         : resample_clusters(cluster_of, seed, r);
    LawFit refit = law.fit(chosen(data, rows), fit.internal);
    if (refit.ok()) refits[r] = std::move(refit.internal);
  });

  const auto left_out = jackknife(law, fit, data, threads, cluster_of);

  LawBootstrap result;
  result.n_replicates = n_replicates;
  result.seed = seed;
  result.by_cluster = !cluster_of.empty();
  std::vector<std::vector<double>> internal;
  for (auto& refit : refits) {
    if (refit) {
      internal.push_back(std::move(*refit));
    } else {
      ++result.n_degenerate;
    }
  }
  result.covariance = covariance_of(internal);
  std::vector<BootstrapSample> samples(law.parameter_names.size());
  for (const auto& b : internal) {
    const std::vector<double> values = law.reported(b);
    for (std::size_t j = 0; j < values.size(); ++j) samples[j].replicates.push_back({values[j], 0});
  }
  const std::vector<double> estimates = law.reported(fit.internal);
  for (std::size_t j = 0; j < samples.size(); ++j) {
    samples[j].n_degenerate = result.n_degenerate;
    BootstrapInterval bca{.method = "BCa", .status = "a point left out leaves no fit"};
    if (left_out) bca = bca_interval(samples[j], estimates[j], (*left_out)[j]);
    result.parameters.push_back(
        {law.parameter_names[j],
         internal.size() < 2 ? std::numeric_limits<double>::infinity() : samples[j].se(),
         percentile_interval(samples[j]), std::move(bca)});
  }
  return result;
}

void adopt_errors(const LawBootstrap& bootstrap, LawFit& fit) {
  fit.covariance = bootstrap.covariance;
  for (LawParameter& p : fit.parameters) {
    for (const LawBootstrap::Parameter& b : bootstrap.parameters) {
      if (b.name != p.name || !b.percentile.ok()) continue;
      p.se = b.se;
      p.ci95 = b.percentile.interval;
      p.ci_method = "bootstrap percentile";
    }
  }
}

}  // namespace pg::post
