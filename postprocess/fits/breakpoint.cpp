#include "postprocess/fits/breakpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <tuple>
#include <vector>

#include "base/random.hpp"
#include "postprocess/stats/bootstrap.hpp"

namespace pg::post {
namespace {

/// In order of x: ln x, what one line leaves of ln y, and the weights. A line more or less changes
/// no break, and without it the sums below do not cancel.
struct Points {
  std::vector<double> x, y, w;
  bool on_one_line = false;  ///< to rounding
};

/// A weighted line, point by point: means and centred sums (West 1979), which do not cancel.
struct RunningLine {
  double w = 0, x = 0, y = 0, sxx = 0, sxy = 0, syy = 0;

  void add(double xi, double yi, double wi) {
    const double share = wi / (w + wi);
    const double dx = xi - x;
    const double dy = yi - y;
    sxx += w * share * dx * dx;
    sxy += w * share * dx * dy;
    syy += w * share * dy * dy;
    x += share * dx;
    y += share * dy;
    w += wi;
  }
  [[nodiscard]] double rss() const { return std::max(0.0, syy - sxy * sxy / sxx); }
  [[nodiscard]] double at(double k) const { return y + sxy / sxx * (k - x); }
  [[nodiscard]] double variance_at(double k) const { return 1 / w + (k - x) * (k - x) / sxx; }
};

Points sorted_points(const LawData& data) {
  std::vector<std::tuple<double, double, double>> rows;
  for (std::size_t i = 0; i < data.size(); ++i) {
    rows.emplace_back(std::log(data.x[0][i]), std::log(data.y[i]),
                      data.weights.empty() ? 1.0 : data.weights[i]);
  }
  std::sort(rows.begin(), rows.end());
  RunningLine line;
  for (const auto& [x, y, w] : rows) line.add(x, y, w);
  Points points;
  double size = 0;
  double left = 0;
  for (const auto& [x, y, w] : rows) {
    points.x.push_back(x);
    points.y.push_back(y - line.at(x));
    points.w.push_back(w);
    size = std::max(size, std::abs(y));
    left = std::max(left, std::abs(points.y.back()));
  }
  points.on_one_line = left <= 1e-10 * size;
  return points;
}

struct Break {
  double x = 0;
  double rss = 0;
};

/// The best break within a gap. To join the two lines at k costs d(k)^2 / v(k), with d the step
/// between them and v its variance for sigma = 1: nothing where they meet, and elsewhere without a
/// minimum of its own, so that an end of the gap is best.
Break best_in_gap(const RunningLine& left, const RunningLine& right, double low, double high) {
  const auto step = [&](double k) { return left.at(k) - right.at(k); };
  const double apart = left.rss() + right.rss();
  const double at_low = step(low);
  const double at_high = step(high);
  if ((at_low < 0) != (at_high < 0)) {
    return {std::clamp(low + (high - low) * at_low / (at_low - at_high), low, high), apart};
  }
  const auto joined = [&](double k, double d) {
    return Break{k, apart + d * d / (left.variance_at(k) + right.variance_at(k))};
  };
  const Break first = joined(low, at_low);
  const Break last = joined(high, at_high);
  return last.rss < first.rss ? last : first;
}

/// The best break of all gaps for these responses, or nothing.
std::optional<Break> best_break(const Points& points, std::span<const double> y) {
  const std::size_t n = y.size();
  std::vector<RunningLine> right(n + 1);  // of the points from i on
  for (std::size_t i = n; i-- > 0;) {
    right[i] = right[i + 1];
    right[i].add(points.x[i], y[i], points.w[i]);
  }
  std::optional<Break> best;
  RunningLine left;
  for (std::size_t i = 0; i + kPointsPerSide < n; ++i) {
    left.add(points.x[i], y[i], points.w[i]);
    if (i + 1 < kPointsPerSide || points.x[i + 1] <= points.x[i]) continue;
    if (!(left.sxx > 0) || !(right[i + 1].sxx > 0)) continue;
    const Break here = best_in_gap(left, right[i + 1], points.x[i], points.x[i + 1]);
    if (!best || here.rss < best->rss) best = here;
  }
  return best;
}

double rss_of_line(const Points& points, std::span<const double> y) {
  RunningLine line;
  for (std::size_t i = 0; i < y.size(); ++i) line.add(points.x[i], y[i], points.w[i]);
  return line.rss();
}

}  // namespace

std::optional<double> find_break(const LawData& data) {
  const Points points = sorted_points(data);
  const auto best = best_break(points, points.y);
  if (!best) return std::nullopt;
  return best->x;
}

BreakTest test_break(const LawData& data, std::size_t n_replicates, std::uint64_t seed,
                     std::size_t threads) {
  BreakTest test;
  test.n_replicates = n_replicates;
  test.seed = seed;
  const std::size_t n = data.size();
  if (n < kFewestForBreak) {
    test.status = fmt::format("{} points, but a break needs {}", n, kFewestForBreak);
    return test;
  }
  const Points points = sorted_points(data);
  const auto best = best_break(points, points.y);
  if (!best) {
    test.status = "no place for a break with at least 3 points on each side";
    return test;
  }
  if (points.on_one_line) {
    test.status = "the points lie on one line: nothing is left for a break to explain";
    return test;
  }
  test.removed = 1 - best->rss / rss_of_line(points, points.y);
  const BootstrapSample sample =
      run_bootstrap(n_replicates, threads, [&](std::uint64_t r) -> std::optional<Replicate> {
        const random::Stream stream(seed, random::Purpose::bootstrap, r);
        std::vector<double> noise(n);
        for (std::size_t i = 0; i < n; ++i) noise[i] = stream.normal(i) / std::sqrt(points.w[i]);
        return Replicate{1 - best_break(points, noise)->rss / rss_of_line(points, noise), 0};
      });
  const auto as_much = std::count_if(sample.replicates.begin(), sample.replicates.end(),
                                     [&](const Replicate& r) { return r.value >= test.removed; });
  test.p = (1 + static_cast<double>(as_much)) / (1 + static_cast<double>(sample.replicates.size()));
  return test;
}

}  // namespace pg::post
