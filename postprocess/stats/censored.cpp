#include "postprocess/stats/censored.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "postprocess/stats/line_fit.hpp"
#include "postprocess/stats/minimize.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kGradientTolerance = 1e-6;  // Newton's steps do the rest
/// In units of the spread of y: from here on the cells do not bound sigma.
constexpr double kLargestSigma = 1e4;
/// Half the 95 % point of chi-squared with 1 degree of freedom: z^2 / 2.
constexpr double kProfileDrop = 1.959963984540054 * 1.959963984540054 / 2;

double log_density(double z) {
  return -z * z / 2 - std::log(2 * std::numbers::pi) / 2;
}

/// ln P(Z > z), also where the probability itself is below the smallest double.
double log_upper_tail(double z) {
  if (z < 25) return std::log(std::erfc(z / std::numbers::sqrt2) / 2);
  const double q = 1 / (z * z);  // the asymptotic series of Mills' ratio
  return log_density(z) - std::log(z) + std::log1p(-q * (1 - 3 * q * (1 - 5 * q * (1 - 7 * q))));
}

/// ln P(low < Z < high) without cancellation in the tails.
double log_probability(double low, double high) {
  if (high < 0) return log_probability(-high, -low);
  if (low > 0) {
    const double beyond_low = log_upper_tail(low);
    return beyond_low + std::log1p(-std::exp(log_upper_tail(high) - beyond_low));
  }
  const double outside =
      std::erfc(-low / std::numbers::sqrt2) / 2 + std::erfc(high / std::numbers::sqrt2) / 2;
  if (outside < 0.5) return std::log1p(-outside);
  return std::log((std::erf(high / std::numbers::sqrt2) - std::erf(low / std::numbers::sqrt2)) / 2);
}

/// The cells in coordinates of order one: x about its mean by its spread, y likewise.
struct Cells {
  std::vector<double> x;
  std::vector<Interval> y;
  double x_mean = 0, x_scale = 1;
  double y_mean = 0, y_scale = 1;
};

/// -ln likelihood of (a, b, ln sigma); fills the gradient unless it is empty.
double negative_log_likelihood(const Cells& cells, std::span<const double> at,
                               std::span<double> gradient) {
  const double sigma = std::exp(at[2]);
  double value = 0;
  std::fill(gradient.begin(), gradient.end(), 0.0);
  for (std::size_t i = 0; i < cells.x.size(); ++i) {
    const double mu = at[0] + at[1] * cells.x[i];
    const double low = (cells.y[i].low - mu) / sigma;
    const double high = (cells.y[i].high - mu) / sigma;
    const double log_p = log_probability(low, high);
    value -= log_p;
    if (gradient.empty()) continue;
    for (const auto& [z, sign] : {std::pair(low, -1.0), std::pair(high, 1.0)}) {
      if (std::isinf(z)) continue;
      const double share = sign * std::exp(log_density(z) - log_p);  // of d ln p / dz
      gradient[0] += share / sigma;
      gradient[1] += share * cells.x[i] / sigma;
      gradient[2] += share * z;
    }
  }
  return value;
}

/// Whether some line meets every (closed) cell: its slope has to lie between the bounds that each
/// pair of cells sets (Fourier-Motzkin on the intercept, so that pairs are enough).
bool a_line_passes(const Cells& cells) {
  double least = -kInfinity;
  double most = kInfinity;
  for (std::size_t i = 0; i < cells.x.size(); ++i) {
    for (std::size_t j = 0; j < cells.x.size(); ++j) {
      const double distance = cells.x[i] - cells.x[j];
      if (distance == 0 && cells.y[i].low > cells.y[j].high) return false;
      if (distance <= 0) continue;
      least = std::max(least, (cells.y[i].low - cells.y[j].high) / distance);
      most = std::min(most, (cells.y[i].high - cells.y[j].low) / distance);
    }
  }
  // Cells that meet in a corner do so up to rounding.
  return least <= most + 1e-12 * (1 + std::abs(most));
}

/// Whether turning the line about some point, one way for ever, moves it out of no cell.
bool slope_is_unbounded(const Cells& cells) {
  for (const double pivot : cells.x) {
    for (const double turn : {-1.0, 1.0}) {
      const auto unharmed = [&](std::size_t i) {
        const double rise = turn * (cells.x[i] - pivot);
        return rise == 0 || std::isinf(rise > 0 ? cells.y[i].high : cells.y[i].low);
      };
      bool all = true;
      for (std::size_t i = 0; i < cells.x.size(); ++i) all = all && unharmed(i);
      if (all) return true;
    }
  }
  return false;
}

/// A point of each cell: its middle, or its finite end.
std::vector<double> representatives(std::span<const Interval> y) {
  std::vector<double> points;
  for (const Interval& cell : y) {
    points.push_back(cell.finite()              ? (cell.low + cell.high) / 2
                     : std::isfinite(cell.high) ? cell.high
                                                : cell.low);
  }
  return points;
}

Cells scaled_cells(std::span<const double> x, std::span<const Interval> y) {
  Cells cells;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i]) || !(y[i].low < y[i].high)) {
      throw_data(fmt::format("cell {} is [{}, {}] at x = {}", i + 1, y[i].low, y[i].high, x[i]),
                 "a low end below the high end, and a finite x", "give a width to every cell");
    }
    if (std::isinf(y[i].low) && std::isinf(y[i].high)) continue;
    cells.x.push_back(x[i]);
    cells.y.push_back(y[i]);
  }
  const auto centre_and_scale = [](std::span<const double> v, double& mean, double& scale) {
    mean = 0;
    for (const double value : v) mean += value / static_cast<double>(v.size());
    scale = 0;
    for (const double value : v) scale = std::max(scale, std::abs(value - mean));
  };
  centre_and_scale(cells.x, cells.x_mean, cells.x_scale);
  centre_and_scale(representatives(cells.y), cells.y_mean, cells.y_scale);
  for (const Interval& cell : cells.y) {
    if (cell.finite()) cells.y_scale = std::max(cells.y_scale, cell.width());
  }
  if (!(cells.x_scale > 0)) cells.x_scale = 1;
  if (!(cells.y_scale > 0)) cells.y_scale = 1;
  for (double& value : cells.x) value = (value - cells.x_mean) / cells.x_scale;
  for (Interval& cell : cells.y) {
    cell = {(cell.low - cells.y_mean) / cells.y_scale, (cell.high - cells.y_mean) / cells.y_scale};
  }
  return cells;
}

/// Second derivatives by central differences of the gradient.
Matrix hessian(const Cells& cells, std::span<const double> at) {
  constexpr double kStep = 1e-4;
  Matrix h(3, 3);
  for (std::size_t j = 0; j < 3; ++j) {
    for (const auto& [where, weight] :
         {std::pair(2.0, -1.0), std::pair(1.0, 8.0), std::pair(-1.0, -8.0), std::pair(-2.0, 1.0)}) {
      std::vector<double> moved(at.begin(), at.end());
      moved[j] += where * kStep;
      std::array<double, 3> gradient{};
      negative_log_likelihood(cells, moved, gradient);
      for (std::size_t i = 0; i < 3; ++i) h(i, j) += weight * gradient[i] / (12 * kStep);
    }
  }
  return h;
}

/// The inverse by Cramer's rule; nothing unless the matrix is positive definite.
std::optional<Matrix> inverse(const Matrix& m) {
  const auto minor = [&](std::size_t i, std::size_t j) {
    const std::size_t a = (i + 1) % 3, b = (i + 2) % 3, c = (j + 1) % 3, d = (j + 2) % 3;
    return m(a, c) * m(b, d) - m(a, d) * m(b, c);
  };
  const double determinant = m(0, 0) * minor(0, 0) + m(0, 1) * minor(0, 1) + m(0, 2) * minor(0, 2);
  if (!(m(0, 0) > 0 && minor(2, 2) > 0 && determinant > 0)) return std::nullopt;
  Matrix result(3, 3);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) result(i, j) = minor(j, i) / determinant;
  }
  return result;
}

/// -ln likelihood at a slope, the others at their best; `guess` (a, ln sigma) follows.
double profile(const Cells& cells, double slope, std::vector<double>& guess) {
  Objective objective;
  objective.p = 2;
  objective.value = [&](std::span<const double> at, std::span<double> gradient) {
    std::array<double, 3> full{};
    const double value =
        negative_log_likelihood(cells, std::array<double, 3>{at[0], slope, at[1]},
                                gradient.empty() ? std::span<double>{} : std::span<double>(full));
    if (!gradient.empty()) {
      gradient[0] = full[0];
      gradient[1] = full[2];
    }
    return value;
  };
  const Minimum minimum = minimize_bfgs(objective, guess, kGradientTolerance);
  guess = minimum.x;
  return minimum.value;
}

/// The slopes whose profile lies within kProfileDrop of the minimum; an end not found within 1e4
/// standard errors is infinite.
Interval profile_slopes(const Cells& cells, std::span<const double> best, double least, double se) {
  Interval interval{-kInfinity, kInfinity};
  for (const double direction : {-1.0, 1.0}) {
    std::vector<double> guess = {best[0], best[2]};
    double inside = 0;  // distances from the estimate, in standard errors
    double outside = 2;
    const auto drop = [&](double distance, std::vector<double>& from) {
      return profile(cells, best[1] + direction * distance * se, from) - least;
    };
    std::vector<double> outer = guess;
    while (outside < 1e4 && drop(outside, outer) < kProfileDrop) {
      inside = outside;
      guess = outer;
      outside *= 1.5;
    }
    if (!(outside < 1e4)) continue;
    for (int i = 0; i < 60 && outside - inside > 1e-9 * outside; ++i) {
      const double middle = (inside + outside) / 2;
      std::vector<double> own = guess;
      (drop(middle, own) < kProfileDrop ? inside : outside) = middle;
    }
    (direction < 0 ? interval.low : interval.high) =
        best[1] + direction * (inside + outside) / 2 * se;
  }
  return interval;
}

std::vector<double> starting_point(const Cells& cells) {
  const std::vector<double> points = representatives(cells.y);
  const auto line = fit_line(cells.x, points);  // x varies: the slope would be unbounded otherwise
  double spread = 0.01;
  for (const double e : line->residuals) {
    spread += e * e / static_cast<double>(cells.x.size());
  }
  return {line->intercept, line->slope, std::log(spread) / 2};
}

}  // namespace

CensoredLine fit_censored_line(std::span<const double> x, std::span<const Interval> y) {
  require(x.size() == y.size(), "a censored regression has one cell per x");
  const Cells cells = scaled_cells(x, y);
  CensoredLine fit;
  fit.n = cells.x.size();
  fit.intercept_se = kInfinity;
  fit.slope_se = kInfinity;
  fit.slope_ci95 = {-kInfinity, kInfinity};
  const auto undetermined = [&](const std::string& why) {
    fit.status = FitStatus::not_identifiable;
    fit.detail = why;
    return fit;
  };
  const bool x_varies =
      std::adjacent_find(cells.x.begin(), cells.x.end(), std::not_equal_to<>()) != cells.x.end();
  if (!x_varies) return undetermined("a line needs cells at two x that differ");
  if (a_line_passes(cells)) {
    return undetermined(
        "a line passes through every cell: the likelihood rises without end as sigma shrinks; the "
        "identified set is all that can be said");
  }
  if (slope_is_unbounded(cells)) {
    return undetermined("the cells bound the slope on one side only: no slope is steep enough");
  }

  Objective objective;
  objective.p = 3;
  objective.value = [&](std::span<const double> at, std::span<double> gradient) {
    return negative_log_likelihood(cells, at, gradient);
  };
  const Minimum minimum = minimize_bfgs(objective, starting_point(cells), kGradientTolerance);
  std::vector<double> at = minimum.x;
  if (at[2] > std::log(kLargestSigma)) {
    return undetermined(
        "the likelihood rises without end as sigma grows: sides alone, and those "
        "too mixed for a line");
  }
  std::optional<Matrix> covariance;
  if (minimum.ok()) {
    for (int i = 0; i < 3; ++i) {
      covariance = inverse(hessian(cells, at));
      if (!covariance || i == 2) break;
      std::array<double, 3> gradient{};
      negative_log_likelihood(cells, at, gradient);
      for (std::size_t j = 0; j < 3; ++j) {
        for (std::size_t k = 0; k < 3; ++k) at[j] -= (*covariance)(j, k) * gradient[k];
      }
    }
  }
  const double rate = cells.y_scale / cells.x_scale;
  const double least = negative_log_likelihood(cells, at, {});
  fit.slope = at[1] * rate;
  fit.intercept = cells.y_mean + at[0] * cells.y_scale - fit.slope * cells.x_mean;
  fit.sigma = std::exp(at[2]) * cells.y_scale;
  fit.log_likelihood = -least;
  if (!minimum.ok() || !covariance) {
    fit.status = minimum.ok() ? FitStatus::rank_deficient : minimum.status;
    fit.detail = minimum.ok() ? "the information matrix is singular" : minimum.detail;
    return fit;
  }
  const Matrix& v = *covariance;
  const double shift = cells.x_mean / cells.x_scale;
  fit.slope_se = std::sqrt(v(1, 1)) * rate;
  fit.intercept_se =
      std::sqrt(v(0, 0) - 2 * shift * v(0, 1) + shift * shift * v(1, 1)) * cells.y_scale;
  const Interval scaled = profile_slopes(cells, at, least, std::sqrt(v(1, 1)));
  fit.slope_ci95 = {scaled.low * rate, scaled.high * rate};
  fit.status = FitStatus::converged;
  return fit;
}

}  // namespace pg::post
