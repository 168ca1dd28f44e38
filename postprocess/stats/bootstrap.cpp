#include "postprocess/stats/bootstrap.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"

namespace pg::post {
namespace {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// The point below which a share p of the population lies that the sorted replicates come from;
/// nothing when it lies beyond them.
std::optional<double> replicate_quantile(std::span<const double> sorted, double p) {
  const double ranks = static_cast<double>(sorted.size()) + 1;
  const double rank = ranks * p;
  const double below = std::floor(rank + 1e-9);
  if (below < 1 || rank > ranks - 1 + 1e-9) return std::nullopt;
  const auto k = static_cast<std::size_t>(below);
  if (std::abs(rank - below) <= 1e-9) return sorted[k - 1];
  const double low = normal_quantile(below / ranks);
  const double high = normal_quantile((below + 1) / ranks);
  return sorted[k - 1] + (normal_quantile(p) - low) / (high - low) * (sorted[k] - sorted[k - 1]);
}

/// Sorted values and the reasons that hold for every kind of interval.
struct Sorted {
  std::vector<double> values;
  std::string status = "ok";
};

Sorted sort_replicates(const BootstrapSample& sample, std::vector<double> values) {
  Sorted sorted{std::move(values), "ok"};
  std::sort(sorted.values.begin(), sorted.values.end());
  const std::size_t n = sorted.values.size();
  if (n == 0) {
    sorted.status = "no replicate has a value";
  } else if (sample.n_degenerate > n) {
    sorted.status = fmt::format("{} of {} replicates have no value", sample.n_degenerate,
                                n + sample.n_degenerate);
  } else if (sorted.values.front() == sorted.values.back()) {
    sorted.status = "all replicates are equal";
  }
  return sorted;
}

std::vector<double> values_of(const BootstrapSample& sample) {
  std::vector<double> values;
  for (const Replicate& r : sample.replicates) values.push_back(r.value);
  return values;
}

/// The two quantiles of the replicates.
BootstrapInterval between(std::string method, const Sorted& sorted, double p_low, double p_high) {
  BootstrapInterval result;
  result.method = std::move(method);
  result.status = sorted.status;
  if (!result.ok()) return result;
  const auto low = replicate_quantile(sorted.values, p_low);
  const auto high = replicate_quantile(sorted.values, p_high);
  if (!low || !high) {
    result.status = fmt::format("the ends lie beyond the {} replicates", sorted.values.size());
    return result;
  }
  result.interval = {*low, *high};
  return result;
}

/// origin - scale * q: the interval of a pivot, turned round.
void reflect(BootstrapInterval& result, double origin, double scale) {
  if (!result.ok()) return;
  result.interval = {origin - scale * result.interval.high, origin - scale * result.interval.low};
}

}  // namespace

void parallel_for(std::size_t n, std::size_t threads,
                  const std::function<void(std::size_t)>& body) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  threads = std::min(threads, n);
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::size_t failed_index = n;
  std::exception_ptr failure;
  // Indices are given out in order, so that all below a failed one were given out before it: the
  // lowest one that fails is always among those that run.
  const auto work = [&] {
    for (std::size_t i = next++; i < n; i = next++) {
      try {
        body(i);
      } catch (...) {
        next = n;
        const std::lock_guard lock(mutex);
        if (i < failed_index) {
          failed_index = i;
          failure = std::current_exception();
        }
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

std::vector<std::size_t> resample_indices(std::size_t n, std::uint64_t seed,
                                          std::uint64_t replicate) {
  const random::Stream stream(seed, random::Purpose::bootstrap, replicate);
  std::vector<std::size_t> indices(n);
  for (std::size_t i = 0; i < n; ++i) indices[i] = stream.below(n, i);
  return indices;
}

std::vector<std::size_t> resample_clusters(std::span<const std::size_t> cluster_of,
                                           std::uint64_t seed, std::uint64_t replicate) {
  std::map<std::size_t, std::vector<std::size_t>> by_name;
  for (std::size_t i = 0; i < cluster_of.size(); ++i) by_name[cluster_of[i]].push_back(i);
  std::vector<const std::vector<std::size_t>*> clusters;
  for (const auto& [name, members] : by_name) clusters.push_back(&members);
  std::vector<std::size_t> indices;
  for (const std::size_t c : resample_indices(clusters.size(), seed, replicate))
    indices.insert(indices.end(), clusters[c]->begin(), clusters[c]->end());
  return indices;
}

double BootstrapSample::se() const {
  const std::vector<double> values = values_of(*this);
  if (values.size() < 2) return std::numeric_limits<double>::infinity();
  const double mean = mean_of(values);
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

BootstrapSample run_bootstrap(std::size_t n_replicates, std::size_t threads,
                              const ReplicateFunction& replicate) {
  std::vector<std::optional<Replicate>> all(n_replicates);
  parallel_for(n_replicates, threads, [&](std::size_t i) {
    const auto r = replicate(i);
    if (r && std::isfinite(r->value) && std::isfinite(r->se)) all[i] = r;
  });
  BootstrapSample sample;
  for (const auto& r : all) {
    if (r) {
      sample.replicates.push_back(*r);
    } else {
      ++sample.n_degenerate;
    }
  }
  return sample;
}

BootstrapInterval percentile_interval(const BootstrapSample& sample, double level) {
  return between("percentile", sort_replicates(sample, values_of(sample)), (1 - level) / 2,
                 (1 + level) / 2);
}

BootstrapInterval basic_interval(const BootstrapSample& sample, double estimate, double level) {
  std::vector<double> errors = values_of(sample);
  for (double& v : errors) v -= estimate;
  BootstrapInterval result = between("basic", sort_replicates(sample, std::move(errors)),
                                     (1 - level) / 2, (1 + level) / 2);
  reflect(result, estimate, 1);
  return result;
}

BootstrapInterval studentised_interval(const BootstrapSample& sample, double estimate, double se,
                                       double level) {
  std::vector<double> pivots;
  for (const Replicate& r : sample.replicates) {
    if (r.se > 0) pivots.push_back((r.value - estimate) / r.se);
  }
  Sorted sorted = sort_replicates(sample, std::move(pivots));
  if (sorted.values.size() < sample.replicates.size()) {
    sorted.status = "a replicate has no standard error";
  } else if (!(se > 0) || !std::isfinite(se)) {
    sorted.status = "the estimate has no standard error";
  }
  BootstrapInterval result = between("studentised", sorted, (1 - level) / 2, (1 + level) / 2);
  reflect(result, estimate, se);
  return result;
}

BootstrapInterval bca_interval(const BootstrapSample& sample, double estimate,
                               std::span<const double> jackknife, double level) {
  Sorted sorted = sort_replicates(sample, values_of(sample));
  double below = 0;
  for (const double v : sorted.values) below += v < estimate ? 1.0 : v == estimate ? 0.5 : 0.0;
  const double share = below / static_cast<double>(std::max<std::size_t>(1, sorted.values.size()));
  double squares = 0;
  double cubes = 0;
  double size = 0;
  const double mean = jackknife.empty() ? 0 : mean_of(jackknife);
  for (const double v : jackknife) {
    squares += (mean - v) * (mean - v);
    cubes += std::pow(mean - v, 3);
    size = std::max(size, std::abs(v));
  }
  if (sorted.status == "ok") {
    if (share <= 0) {
      sorted.status = "every replicate lies above the estimate";
    } else if (share >= 1) {
      sorted.status = "every replicate lies below the estimate";
    } else if (!std::isfinite(squares)) {
      sorted.status = "a leave-one-out estimate is not finite";
    } else if (std::sqrt(squares) <= 1e-14 * size || jackknife.size() < 2) {
      sorted.status = "the leave-one-out estimates are all equal";
    }
  }
  if (sorted.status != "ok") return between("BCa", sorted, 0, 0);
  const double bias = normal_quantile(share);
  const double acceleration = cubes / (6 * std::pow(squares, 1.5));
  double p[2] = {};
  for (int side = 0; side < 2; ++side) {
    const double z = bias + normal_quantile(side == 0 ? (1 - level) / 2 : (1 + level) / 2);
    const double stretch = 1 - acceleration * z;
    if (stretch <= 0) sorted.status = "the acceleration is too large for this level";
    p[side] = boost::math::cdf(boost::math::normal(), bias + z / stretch);
  }
  return between("BCa", sorted, p[0], p[1]);
}

BootstrapSample resample_slope(const LineFit& fit, std::span<const double> x,
                               std::size_t n_replicates, std::uint64_t seed, std::size_t threads) {
  require(x.size() == fit.n, "a line is resampled over the points of its fit");
  const std::size_t n = fit.n;
  const auto size = static_cast<double>(n);
  const double x_mean = mean_of(x);
  double sxx = 0;
  double y_size = 0;
  std::vector<double> residuals;
  for (std::size_t i = 0; i < n; ++i) {
    sxx += (x[i] - x_mean) * (x[i] - x_mean);
    y_size = std::max(y_size, std::abs(fit.intercept + fit.slope * x[i]));
    // A point that the line passes through whatever its value has no residual to give.
    if (fit.leverage[i] < 1 - 1e-9)
      residuals.push_back(fit.residuals[i] / std::sqrt(1 - fit.leverage[i]));
  }
  if (fit.s <= 1e-14 * y_size) return {{}, n_replicates};
  const double centre = mean_of(residuals);
  // Slope and standard error of the drawn residuals alone: the line itself adds fit.slope.
  return run_bootstrap(n_replicates, threads, [&](std::uint64_t r) -> std::optional<Replicate> {
    const random::Stream stream(seed, random::Purpose::bootstrap, r);
    double sum = 0;
    double squares = 0;
    double product = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double e = residuals[stream.below(residuals.size(), i)] - centre;
      sum += e;
      squares += e * e;
      product += e * (x[i] - x_mean);
    }
    const double slope = product / sxx;
    const double total = squares - sum * sum / size;
    const double rss = total - slope * product;
    if (rss <= 1e-12 * total) return std::nullopt;
    return Replicate{fit.slope + slope, std::sqrt(rss / (size - 2) / sxx)};
  });
}

HierarchicalMean hierarchical_mean(const std::vector<std::vector<double>>& groups,
                                   std::size_t n_replicates, std::uint64_t seed,
                                   std::size_t threads) {
  std::vector<std::vector<double>> filled;
  for (const auto& group : groups) {
    if (!group.empty()) filled.push_back(group);
  }
  HierarchicalMean result;
  result.interval.method = "studentised";
  if (filled.size() < 2) {
    result.interval.status = "fewer than two groups with values";
    if (filled.size() == 1) result.mean = mean_of(filled.front());
    return result;
  }
  const std::size_t n = filled.size();
  const auto count = static_cast<double>(n);
  const auto summary = [&](std::span<const double> means) {
    const double mean = mean_of(means);
    double squares = 0;
    for (const double v : means) squares += (v - mean) * (v - mean);
    return Replicate{mean, std::sqrt(squares / (count - 1) / count)};
  };
  std::vector<double> means;
  for (const auto& group : filled) means.push_back(mean_of(group));
  const Replicate observed = summary(means);
  result.mean = observed.value;
  const auto replicate = [&](std::uint64_t number) -> std::optional<Replicate> {
    const random::Stream stream(seed, random::Purpose::bootstrap, number);
    std::vector<double> drawn(n);
    std::uint64_t index = 0;
    for (double& mean : drawn) {
      const auto& group = filled[stream.below(n, index++)];
      mean = 0;
      for (std::size_t i = 0; i < group.size(); ++i)
        mean += group[stream.below(group.size(), index++)] / static_cast<double>(group.size());
    }
    const Replicate r = summary(drawn);
    if (!(r.se > 0)) return std::nullopt;
    return r;
  };
  const BootstrapSample sample = run_bootstrap(n_replicates, threads, replicate);
  result.interval = studentised_interval(sample, observed.value, observed.se);
  return result;
}

}  // namespace pg::post
