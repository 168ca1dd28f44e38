#include "postprocess/stats/robust.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.hpp"
#include "postprocess/stats/line_fit.hpp"

namespace pg::post {
namespace {

constexpr int kMostIterations = 1000;
constexpr double kNormalMad = 0.6745;  ///< median |Z|, to the digits that rlm uses
constexpr double kHuber = 1.345;
constexpr double kBisquare = 4.685;

double weight(double u, RobustLoss loss) {
  if (loss == RobustLoss::huber) return u <= kHuber ? 1 : kHuber / u;
  const double share = std::min(1.0, u / kBisquare);
  return std::pow(1 - share * share, 2);
}

std::vector<double> slopes_of_pairs(std::span<const double> x, std::span<const double> y) {
  require(x.size() == y.size(), "a line has one y per x");
  std::vector<double> slopes;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = i + 1; j < x.size(); ++j) {
      if (x[i] != x[j]) slopes.push_back((y[j] - y[i]) / (x[j] - x[i]));
    }
  }
  return slopes;
}

/// P(a random permutation of n has k inversions), k = 0, 1, ...: the m-th element adds 0 to m - 1
/// of them with equal chances.
std::vector<double> inversion_probabilities(std::size_t n) {
  std::vector<double> p = {1};
  for (std::size_t m = 2; m <= n; ++m) {
    std::vector<double> next(p.size() + m - 1, 0.0);
    for (std::size_t k = 0; k < p.size(); ++k) {
      for (std::size_t more = 0; more < m; ++more) {
        next[k + more] += p[k] / static_cast<double>(m);
      }
    }
    p = std::move(next);
  }
  return p;
}

}  // namespace

double median(std::span<const double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

std::optional<double> theil_sen_slope(std::span<const double> x, std::span<const double> y) {
  const std::vector<double> slopes = slopes_of_pairs(x, y);
  if (slopes.empty()) return std::nullopt;
  return median(slopes);
}

std::optional<RankSlope> rank_slope(std::span<const double> x, std::span<const double> y) {
  std::vector<double> slopes = slopes_of_pairs(x, y);
  if (slopes.empty()) return std::nullopt;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  RankSlope result{median(slopes), {-kInfinity, kInfinity}, 0};
  const std::size_t n = x.size();
  if (slopes.size() != n * (n - 1) / 2) return result;  // a repeated x: another distribution
  std::sort(slopes.begin(), slopes.end());
  // The number of slopes below the true one is that of the inversions of a random permutation.
  const std::vector<double> p = inversion_probabilities(n);
  double tail = 0;
  std::size_t k = 0;
  while (k < p.size() && tail + p[k] <= 0.025) tail += p[k++];
  if (k == 0) return result;
  result.ci95 = {slopes[k - 1], slopes[slopes.size() - k]};
  result.confidence = 1 - 2 * tail;
  return result;
}

RobustLine fit_robust_line(std::span<const double> x, std::span<const double> y, RobustLoss loss) {
  RobustLine robust;
  robust.n = x.size();
  auto line = fit_line(x, y);
  if (!line || line->df < 1) {
    robust.status = FitStatus::not_identifiable;
    robust.detail = "a robust line needs at least three points at two x that differ";
    return robust;
  }
  double spread = 0;
  for (const double value : y) spread = std::max(spread, std::abs(value - y[0]));
  for (; robust.iterations < kMostIterations; ++robust.iterations) {
    std::vector<double> sizes;
    for (const double e : line->residuals) sizes.push_back(std::abs(e));
    robust.intercept = line->intercept;
    robust.slope = line->slope;
    robust.scale = median(sizes) / kNormalMad;
    if (!(robust.scale > 1e-6 * spread)) {
      robust.status = FitStatus::not_identifiable;
      robust.detail = "half of the points lie on one line: the robust scale (MAD) is 0";
      return robust;
    }
    std::vector<double> weights;
    for (const double size : sizes) {
      // A weight of 0 has no place in the weighted fit; this is 0 to all digits.
      weights.push_back(std::max(1e-30, weight(size / robust.scale, loss)));
    }
    const auto next = fit_line(x, y, weights);
    if (!next) break;
    double change = 0;
    double size = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      change += std::pow(next->residuals[i] - line->residuals[i], 2);
      size += std::pow(line->residuals[i], 2);
    }
    line = next;
    if (change <= 1e-26 * size) {
      robust.status = FitStatus::converged;
      return robust;
    }
  }
  robust.detail = "the reweighting did not settle";
  return robust;
}

}  // namespace pg::post
