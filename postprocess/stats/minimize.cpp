#include "postprocess/stats/minimize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.hpp"

namespace pg::post {
namespace {

constexpr int kMostIterations = 2000;
constexpr double kDecrease = 1e-4;  // Armijo
constexpr double kCurvature = 0.9;  // strong Wolfe
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double largest(std::span<const double> v) {
  double most = 0;
  for (const double x : v) most = std::max(most, std::abs(x));
  return most;
}

/// A point on the way: x, value and gradient.
struct Point {
  std::vector<double> x;
  std::vector<double> gradient;
  double value = 0;
};

class Line {
 public:
  Line(const Objective& objective, const Point& origin, std::span<const double> direction)
      : objective_(objective),
        origin_(origin),
        direction_(direction.begin(), direction.end()),
        slope_(dot(origin.gradient, direction)) {}

  /// A point that satisfies the strong Wolfe conditions (Nocedal and Wright, algorithms 3.5, 3.6),
  /// or the lowest seen; nothing when no step lowers the value.
  bool search(Point& out) {
    double low = 0;
    double low_value = origin_.value;
    double low_slope = slope_;
    double high = 0;  // 0: not bracketed yet
    double step = 1;
    Point trial;
    Point best;
    best.value = origin_.value;
    for (int i = 0; i < 60; ++i) {
      const double slope = at(step, trial);
      if (trial.value < best.value) best = trial;
      const bool too_high =
          !(trial.value <= origin_.value + kDecrease * step * slope_) || trial.value >= low_value;
      if (too_high) {
        high = step;
      } else if (std::abs(slope) <= -kCurvature * slope_) {
        out = std::move(trial);
        return true;
      } else {
        if (high == 0 ? slope >= 0 : slope * (high - low) >= 0) high = low;
        low = step;
        low_value = trial.value;
        low_slope = slope;
      }
      if (high == 0 && low_slope < 0) {
        step *= 2;
      } else {
        step = (low + high) / 2;
        // The minimum of the parabola through value and slope at `low` and the value at `high`.
        if (too_high && std::isfinite(trial.value) && high == trial_step_) {
          const double width = high - low;
          const double rise = trial.value - low_value - low_slope * width;
          const double inner = low - low_slope * width * width / (2 * rise);
          const double left = std::min(low, high) + 0.1 * std::abs(width);
          const double right = std::max(low, high) - 0.1 * std::abs(width);
          if (rise > 0 && inner > left && inner < right) step = inner;
        }
      }
      if (step == low || std::abs(high - low) < 1e-16 * std::abs(low)) break;
    }
    if (!(best.value < origin_.value)) return false;
    out = std::move(best);
    return true;
  }

 private:
  double at(double step, Point& point) {
    trial_step_ = step;
    point.x = origin_.x;
    for (std::size_t i = 0; i < point.x.size(); ++i) point.x[i] += step * direction_[i];
    point.gradient.assign(point.x.size(), 0.0);
    point.value = objective_.value(point.x, point.gradient);
    if (!std::isfinite(point.value)) point.value = kInfinity;
    return dot(point.gradient, direction_);
  }

  const Objective& objective_;
  const Point& origin_;
  std::vector<double> direction_;
  double slope_;
  double trial_step_ = 0;
};

/// Dennis and Schnabel (1983), 7.2: the relative change of the value per relative change of an x. A
/// function that falls for ever along a line keeps it at 1.
double relative_gradient(std::span<const double> x, std::span<const double> gradient,
                         double value) {
  double most = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double change = std::abs(gradient[i]) * std::max(1.0, std::abs(x[i]));
    most = std::max(most, change / std::max(1.0, std::abs(value)));
  }
  return most;
}

double relative_gradient(const Point& point) {
  return relative_gradient(point.x, point.gradient, point.value);
}

void close(const Point& point, std::span<const double> start, double tolerance, Minimum& minimum) {
  minimum.x = point.x;
  minimum.value = point.value;
  minimum.gradient_norm = relative_gradient(point);
  if (minimum.gradient_norm <= tolerance) {
    minimum.status = FitStatus::converged;
    return;
  }
  const bool moved = !std::equal(start.begin(), start.end(), point.x.begin());
  minimum.status = moved ? FitStatus::not_converged : FitStatus::not_moved;
  minimum.detail = fmt::format("{} (gradient {:.2g}, wanted {:.2g})",
                               moved ? "no step lowers the value any more"
                                     : "it ended at its start although the gradient is not zero",
                               minimum.gradient_norm, tolerance);
}

}  // namespace

Minimum minimize_bfgs(const Objective& objective, std::span<const double> start, double tolerance) {
  require(start.size() == objective.p, "a start has one value per parameter");
  const std::size_t p = objective.p;
  Minimum minimum;
  Point point{{start.begin(), start.end()}, std::vector<double>(p), 0};
  point.value = objective.value(point.x, point.gradient);
  if (!std::isfinite(point.value) || !std::isfinite(largest(point.gradient))) {
    minimum.x = point.x;
    minimum.value = point.value;
    minimum.detail = "the function has no value at the start";
    return minimum;
  }
  Matrix h(p, p);  // the inverse Hessian's approximation
  const auto reset = [&](double size) {
    h = Matrix(p, p);
    for (std::size_t i = 0; i < p; ++i) h(i, i) = size;
  };
  reset(1 / std::max(1.0, largest(point.gradient)));
  bool fresh = true;
  for (; minimum.iterations < kMostIterations; ++minimum.iterations) {
    if (relative_gradient(point) <= tolerance) break;
    std::vector<double> direction(p, 0.0);
    for (std::size_t i = 0; i < p; ++i) {
      for (std::size_t j = 0; j < p; ++j) direction[i] -= h(i, j) * point.gradient[j];
    }
    Point next;
    const bool downhill = dot(direction, point.gradient) < 0;
    if (!downhill || !Line(objective, point, direction).search(next)) {
      if (fresh) break;  // not even along the gradient
      reset(1 / std::max(1.0, largest(point.gradient)));
      fresh = true;
      continue;
    }
    std::vector<double> s(p);
    std::vector<double> y(p);
    for (std::size_t i = 0; i < p; ++i) {
      s[i] = next.x[i] - point.x[i];
      y[i] = next.gradient[i] - point.gradient[i];
    }
    const double sy = dot(s, y);
    if (sy > 1e-300) {
      if (fresh) reset(sy / dot(y, y));
      fresh = false;
      std::vector<double> hy(p, 0.0);
      for (std::size_t i = 0; i < p; ++i) {
        for (std::size_t j = 0; j < p; ++j) hy[i] += h(i, j) * y[j];
      }
      const double factor = (1 + dot(y, hy) / sy) / sy;
      for (std::size_t i = 0; i < p; ++i) {
        for (std::size_t j = 0; j < p; ++j) {
          h(i, j) += factor * s[i] * s[j] - (hy[i] * s[j] + s[i] * hy[j]) / sy;
        }
      }
    }
    point = std::move(next);
  }
  close(point, start, tolerance, minimum);
  return minimum;
}

Minimum minimize_nelder_mead(const Objective& objective, std::span<const double> start,
                             std::span<const double> scale, double tolerance) {
  require(start.size() == objective.p && scale.size() == objective.p,
          "a simplex has one start and one size per parameter");
  const std::size_t p = objective.p;
  const double n = static_cast<double>(p);
  const double expand = 1 + 2 / n;
  const double contract = 0.75 - 1 / (2 * n);
  const double shrink = 1 - 1 / n;
  const auto value = [&](std::span<const double> x) {
    const double v = objective.value(x, {});
    return std::isfinite(v) ? v : kInfinity;
  };
  struct Vertex {
    std::vector<double> x;
    double value;
  };
  std::vector<Vertex> simplex;
  simplex.push_back({{start.begin(), start.end()}, value(start)});
  for (std::size_t j = 0; j < p; ++j) {
    std::vector<double> x(start.begin(), start.end());
    x[j] += scale[j];
    simplex.push_back({x, value(x)});
  }
  Minimum minimum;
  const auto by_value = [](const Vertex& a, const Vertex& b) { return a.value < b.value; };
  const auto small = [&] {
    double width = 0;
    for (std::size_t j = 0; j < p; ++j) {
      for (const Vertex& v : simplex) {
        width = std::max(
            width, std::abs(v.x[j] - simplex[0].x[j]) / std::max(1.0, std::abs(simplex[0].x[j])));
      }
    }
    const double height = simplex.back().value - simplex[0].value;
    return width <= tolerance && height <= tolerance * std::max(1.0, std::abs(simplex[0].value));
  };
  for (; minimum.iterations < 500 * static_cast<int>(p) + 5000; ++minimum.iterations) {
    std::stable_sort(simplex.begin(), simplex.end(), by_value);
    if (small()) {
      minimum.status = FitStatus::converged;
      break;
    }
    std::vector<double> centre(p, 0.0);
    for (std::size_t k = 0; k < p; ++k) {
      for (std::size_t j = 0; j < p; ++j) centre[j] += simplex[k].x[j] / n;
    }
    const Vertex& worst = simplex.back();
    const auto along = [&](double factor) {
      std::vector<double> x(p);
      for (std::size_t j = 0; j < p; ++j) x[j] = centre[j] + factor * (centre[j] - worst.x[j]);
      const double v = value(x);
      return Vertex{std::move(x), v};
    };
    Vertex reflected = along(1);
    if (reflected.value < simplex[0].value) {
      Vertex further = along(expand);
      simplex.back() = further.value < reflected.value ? std::move(further) : std::move(reflected);
    } else if (reflected.value < simplex[p - 1].value) {
      simplex.back() = std::move(reflected);
    } else {
      const bool outside = reflected.value < worst.value;
      Vertex inner = along(outside ? contract : -contract);
      if (inner.value < std::min(worst.value, reflected.value)) {
        simplex.back() = std::move(inner);
      } else {
        for (std::size_t k = 1; k <= p; ++k) {
          for (std::size_t j = 0; j < p; ++j) {
            simplex[k].x[j] = simplex[0].x[j] + shrink * (simplex[k].x[j] - simplex[0].x[j]);
          }
          simplex[k].value = value(simplex[k].x);
        }
      }
    }
  }
  std::stable_sort(simplex.begin(), simplex.end(), by_value);
  minimum.x = simplex[0].x;
  minimum.value = simplex[0].value;
  if (!std::isfinite(minimum.value)) {
    minimum.status = FitStatus::not_converged;
    minimum.detail = "the function has no value near the start";
  } else if (!minimum.ok()) {
    minimum.detail = fmt::format("the simplex did not shrink in {} steps", minimum.iterations);
  }
  std::vector<double> gradient(p, 0.0);
  objective.value(minimum.x, gradient);
  minimum.gradient_norm = relative_gradient(minimum.x, gradient, minimum.value);
  return minimum;
}

}  // namespace pg::post
