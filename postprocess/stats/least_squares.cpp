#include "postprocess/stats/least_squares.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "postprocess/stats/small_qr.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kMostIterations = 5000;
/// Residuals and Jacobian this close to orthogonal are an optimum.
constexpr double kSmallCosine = 1e-7;
/// Columns (of length 1) whose smallest singular value is below this carry no separate information;
/// a Jacobian by differences is good to about 1e-11.
constexpr double kRankTolerance = 1e-10;

double square_sum(std::span<const double> v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return sum;
}

/// One fit in progress.
class Search {
 public:
  Search(const LeastSquaresProblem& problem, std::span<const double> start)
      : problem_(problem),
        b_(start.begin(), start.end()),
        r_(problem.n),
        jacobian_(problem.n, problem.p),
        scale_(problem.p, 0.0) {
    for (std::size_t j = 0; j < problem.p; ++j) b_[j] = std::clamp(b_[j], lower(j), upper(j));
    start_ = b_;
  }

  NonlinearFit run();

 private:
  [[nodiscard]] double lower(std::size_t j) const {
    return problem_.lower.empty() ? -kInfinity : problem_.lower[j];
  }
  [[nodiscard]] double upper(std::size_t j) const {
    return problem_.upper.empty() ? kInfinity : problem_.upper[j];
  }
  /// Residuals at b, and their sum of squares: infinite outside the model's domain.
  double evaluate(std::span<const double> b, std::vector<double>& r) const {
    problem_.residuals(b, r);
    const double rss = square_sum(r);
    return std::isfinite(rss) ? rss : kInfinity;
  }
  void differentiate();
  void set_gradient();
  /// The step for a damping; columns of parameters held at a bound are left out.
  [[nodiscard]] std::vector<double> step(const SmallQr& reduced, double damping) const;
  /// The step of the length `radius_` or the whole Gauss-Newton step if that is shorter.
  [[nodiscard]] std::vector<double> step_within_radius(const SmallQr& reduced) const;
  /// |D v|: a length in units of the columns of the Jacobian.
  [[nodiscard]] double length(std::span<const double> v) const;
  [[nodiscard]] SmallQr reduce() const;
  void finish(NonlinearFit& fit) const;

  const LeastSquaresProblem& problem_;
  std::vector<double> start_;
  std::vector<double> b_;
  std::vector<double> r_;
  Matrix jacobian_;
  std::vector<double> scale_;      ///< largest length seen of each column of the Jacobian
  std::vector<std::size_t> free_;  ///< parameters that are not held at a bound
  std::vector<double> gradient_;
  double cosine_ = 0;
  double rss_ = 0;
  double radius_ = 0;  ///< of the region in which the linear model is trusted
  int iterations_ = 0;
};

void Search::differentiate() {
  if (problem_.jacobian) {
    problem_.jacobian(b_, jacobian_);
    return;
  }
  std::vector<double> at = b_;
  std::vector<double> ahead(problem_.n);
  std::vector<double> behind(problem_.n);
  for (std::size_t j = 0; j < problem_.p; ++j) {
    const double h = 2e-4 * (b_[j] != 0 ? std::abs(b_[j]) : 1e-3);
    for (std::size_t i = 0; i < problem_.n; ++i) jacobian_(i, j) = 0;
    for (const auto& [where, weight] : {std::pair(1.0, 8.0), std::pair(2.0, -1.0)}) {
      at[j] = b_[j] + where * h;
      problem_.residuals(at, ahead);
      at[j] = b_[j] - where * h;
      problem_.residuals(at, behind);
      // Differences first: a parameter without effect gives exactly 0.
      for (std::size_t i = 0; i < problem_.n; ++i) {
        jacobian_(i, j) += weight * (ahead[i] - behind[i]) / (12 * h);
      }
    }
    at[j] = b_[j];
  }
}

void Search::set_gradient() {
  gradient_.assign(problem_.p, 0.0);
  free_.clear();
  cosine_ = 0;
  const double length = std::sqrt(rss_);
  for (std::size_t j = 0; j < problem_.p; ++j) {
    double size = 0;
    for (std::size_t i = 0; i < problem_.n; ++i) {
      gradient_[j] += jacobian_(i, j) * r_[i];
      size += jacobian_(i, j) * jacobian_(i, j);
    }
    size = std::sqrt(size);
    scale_[j] = std::max(scale_[j], size);
    const bool held =
        (b_[j] <= lower(j) && gradient_[j] > 0) || (b_[j] >= upper(j) && gradient_[j] < 0);
    if (held) continue;
    free_.push_back(j);
    if (size > 0 && length > 0) {
      cosine_ = std::max(cosine_, std::abs(gradient_[j]) / (size * length));
    }
  }
}

SmallQr Search::reduce() const {
  SmallQr qr(problem_.n, free_.size());
  for (std::size_t i = 0; i < problem_.n; ++i) {
    for (std::size_t j = 0; j < free_.size(); ++j) qr.at(i, j) = jacobian_(i, free_[j]);
    qr.at(i, free_.size()) = -r_[i];
  }
  qr.factorise();
  return qr;
}

std::vector<double> Search::step(const SmallQr& reduced, double damping) const {
  const std::size_t p = free_.size();
  const std::size_t rank_rows = std::min(p, problem_.n);
  SmallQr damped(p + rank_rows, p);
  for (std::size_t i = 0; i < rank_rows; ++i) {
    for (std::size_t j = i; j <= p; ++j) damped.at(i, j) = reduced.at(i, j);
  }
  for (std::size_t j = 0; j < p; ++j) {
    const double scale = scale_[free_[j]] > 0 ? scale_[free_[j]] : 1;
    damped.at(rank_rows + j, j) = std::sqrt(damping) * scale;
  }
  damped.factorise();
  const std::vector<double> free_step = damped.solve();
  std::vector<double> full(problem_.p, 0.0);
  for (std::size_t j = 0; j < p; ++j) full[free_[j]] = free_step[j];
  return full;
}

double Search::length(std::span<const double> v) const {
  double sum = 0;
  for (std::size_t j = 0; j < v.size(); ++j) sum += std::pow(scale_[j] * v[j], 2);
  return std::sqrt(sum);
}

std::vector<double> Search::step_within_radius(const SmallQr& reduced) const {
  std::vector<double> delta = step(reduced, 0);
  double size = length(delta);
  if (size <= 1.1 * radius_) return delta;
  // 1 / |D delta| is almost a straight line in the damping (Hebden 1973): secant steps, kept
  // within what is known of the root.
  double downhill = 0;
  for (const std::size_t j : free_) {
    if (scale_[j] > 0) downhill += std::pow(gradient_[j] / scale_[j], 2);
  }
  double low = 0;
  double high = std::sqrt(downhill) / radius_;
  double from = 0;
  double from_size = size;
  double damping = 1e-3 * high;
  for (int i = 0; i < 30; ++i) {
    delta = step(reduced, damping);
    size = length(delta);
    if (std::abs(size - radius_) <= 0.1 * radius_) break;
    (size > radius_ ? low : high) = damping;
    const double slope = (1 / size - 1 / from_size) / (damping - from);
    from = damping;
    from_size = size;
    damping += (1 / radius_ - 1 / size) / slope;
    if (!(damping > low && damping < high)) {
      damping = low > 0 ? std::sqrt(low * high) : 1e-3 * high;
    }
  }
  return delta;
}

NonlinearFit Search::run() {
  NonlinearFit fit;
  rss_ = evaluate(b_, r_);
  if (!std::isfinite(rss_)) {
    fit.b = b_;
    fit.rss = kInfinity;
    fit.detail = "the model has no value at the start";
    return fit;
  }
  differentiate();
  set_gradient();
  // The first radius and its growth are those of More (1978).
  radius_ = 100 * length(b_);
  if (!(radius_ > 0)) radius_ = 100;
  std::vector<double> trial(problem_.p);
  std::vector<double> trial_r(problem_.n);
  bool small_step = false;
  while (iterations_ < kMostIterations && rss_ > 0 && !free_.empty()) {
    const SmallQr reduced = reduce();
    bool accepted = false;
    for (; iterations_ < kMostIterations && !accepted; ++iterations_) {
      std::vector<double> delta = step_within_radius(reduced);
      double moved = 0;
      for (std::size_t j = 0; j < problem_.p; ++j) {
        trial[j] = std::clamp(b_[j] + delta[j], lower(j), upper(j));
        const double size = std::max(std::abs(b_[j]), std::abs(trial[j]));
        if (size > 0) moved = std::max(moved, std::abs(trial[j] - b_[j]) / size);
        delta[j] = trial[j] - b_[j];
      }
      const double size = length(delta);
      if (!(moved > 4e-16)) {
        small_step = true;
        break;
      }
      const double rss = evaluate(trial, trial_r);
      // What the linear model promised: |r|^2 - |r + J delta|^2 for the step after the bounds.
      double promised = 0;
      for (std::size_t i = 0; i < problem_.n; ++i) {
        double linear = r_[i];
        for (std::size_t j = 0; j < problem_.p; ++j) {
          linear += jacobian_(i, j) * delta[j];
        }
        promised += (r_[i] - linear) * (r_[i] + linear);
      }
      const double gain = promised > 0 ? (rss_ - rss) / promised : -1;
      if (gain < 0.25) {
        // The minimum of the parabola through both values and the slope, as a share of the step.
        const double fall = rss_ - rss;
        const double share = fall >= 0 ? 0.5 : 1 / (2 - fall / std::abs(promised));
        radius_ = std::clamp(share, 0.1, 0.5) * std::min(radius_, 10 * size);
      } else if (gain >= 0.75 || size < 0.9 * radius_) {
        radius_ = 2 * size;
      }
      if (gain > 1e-4 && rss < rss_) {
        accepted = true;
        small_step = moved < 1e-12 || rss_ - rss <= 1e-16 * rss_;
        b_ = trial;
        r_ = trial_r;
        rss_ = rss;
      }
    }
    if (!accepted) break;
    differentiate();
    set_gradient();
    if (small_step && cosine_ < kSmallCosine) break;
  }
  fit.iterations = iterations_;
  finish(fit);
  return fit;
}

void Search::finish(NonlinearFit& fit) const {
  fit.b = b_;
  fit.rss = rss_;
  fit.df = static_cast<int>(problem_.n) - static_cast<int>(problem_.p);
  fit.gradient_cosine = cosine_;
  fit.standard_errors.assign(problem_.p, kInfinity);
  if (fit.df > 0) fit.s = std::sqrt(rss_ / fit.df);

  // Columns of length 1, so that units do not matter for the rank.
  std::vector<double> lengths(problem_.p);
  SmallQr qr(problem_.n, problem_.p);
  bool zero_column = false;
  for (std::size_t j = 0; j < problem_.p; ++j) {
    double sum = 0;
    for (std::size_t i = 0; i < problem_.n; ++i) sum += jacobian_(i, j) * jacobian_(i, j);
    lengths[j] = std::sqrt(sum);
    zero_column = zero_column || !(lengths[j] > 0) || !std::isfinite(lengths[j]);
    for (std::size_t i = 0; i < problem_.n; ++i) qr.at(i, j) = jacobian_(i, j) / lengths[j];
  }
  Matrix r(problem_.p, problem_.p);
  if (!zero_column && problem_.n >= problem_.p) {
    qr.factorise();
    for (std::size_t i = 0; i < problem_.p; ++i) {
      for (std::size_t j = i; j < problem_.p; ++j) r(i, j) = qr.at(i, j);
    }
    const std::vector<double> values = singular_values(r);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    fit.condition = *least > 0 ? *most / *least : kInfinity;
  } else {
    fit.condition = kInfinity;
  }

  double moved = 0;
  for (std::size_t j = 0; j < problem_.p; ++j) {
    const double size = std::max(std::abs(start_[j]), std::abs(b_[j]));
    if (size > 0) moved = std::max(moved, std::abs(b_[j] - start_[j]) / size);
  }
  // Where the residuals are rounding errors, their direction means nothing.
  const bool stationary = cosine_ < 1e-5 || rss_ < 1e-24 * square_sum(lengths);
  if (!stationary && moved < 1e-12) {
    fit.status = FitStatus::not_moved;
    fit.detail =
        fmt::format("it ended at its start although the loss still falls (cosine {:.2g})", cosine_);
  } else if (!(fit.condition < 1 / kRankTolerance)) {
    fit.status = FitStatus::rank_deficient;
    fit.detail = "the data do not determine all parameters: some change together without effect";
  } else if (!stationary) {
    fit.status = FitStatus::not_converged;
    fit.detail =
        iterations_ >= kMostIterations
            ? fmt::format("no optimum after {} steps (cosine {:.2g})", iterations_, cosine_)
            : fmt::format(
                  "no step lowers the loss, but the gradient is not zero "
                  "(cosine {:.2g})",
                  cosine_);
  } else if (free_.size() < problem_.p) {
    fit.status = FitStatus::bound_active;
    for (std::size_t j = 0; j < problem_.p; ++j) {
      if (std::find(free_.begin(), free_.end(), j) != free_.end()) continue;
      fit.detail += fmt::format("{}parameter {} lies on its bound {:.4g}",
                                fit.detail.empty() ? "" : "; ", j + 1, b_[j]);
    }
  } else {
    fit.status = FitStatus::converged;
  }
  if (!fit.ok() || fit.df < 1) return;

  const Matrix inverse = upper_inverse(r);  // (J'J)^-1 = R^-1 R^-T
  fit.covariance = Matrix(problem_.p, problem_.p);
  for (std::size_t i = 0; i < problem_.p; ++i) {
    for (std::size_t j = 0; j < problem_.p; ++j) {
      double sum = 0;
      for (std::size_t k = std::max(i, j); k < problem_.p; ++k)
        sum += inverse(i, k) * inverse(j, k);
      fit.covariance(i, j) = fit.s * fit.s * sum / (lengths[i] * lengths[j]);
    }
    fit.standard_errors[i] = std::sqrt(fit.covariance(i, i));
  }
}

}  // namespace

std::string to_string(FitStatus status) {
  switch (status) {
    case FitStatus::converged: return "ok";
    case FitStatus::not_moved: return "not_moved";
    case FitStatus::not_converged: return "not_converged";
    case FitStatus::rank_deficient: return "rank_deficient";
    case FitStatus::bound_active: return "bound_active";
    case FitStatus::not_identifiable: return "not_identifiable";
  }
  return "not_converged";
}

NonlinearFit fit_least_squares(const LeastSquaresProblem& problem, std::span<const double> start) {
  require(start.size() == problem.p, "a start has one value per parameter");
  require(problem.lower.empty() || problem.lower.size() == problem.p, "one lower bound each");
  require(problem.upper.empty() || problem.upper.size() == problem.p, "one upper bound each");
  if (problem.n < problem.p || problem.p == 0) {
    NonlinearFit fit;
    fit.status = FitStatus::not_identifiable;
    fit.detail = fmt::format("{} points for {} parameters", problem.n, problem.p);
    fit.b.assign(start.begin(), start.end());
    fit.standard_errors.assign(problem.p, kInfinity);
    return fit;
  }
  return Search(problem, start).run();
}

NonlinearFit fit_from_starts(const LeastSquaresProblem& problem,
                             const std::vector<std::vector<double>>& starts) {
  require(!starts.empty(), "a fit needs a start");
  std::optional<NonlinearFit> best;
  for (const std::vector<double>& start : starts) {
    NonlinearFit fit = fit_least_squares(problem, start);
    const bool better =
        !best || (fit.ok() && !best->ok()) || (fit.ok() == best->ok() && fit.rss < best->rss);
    if (better) best = std::move(fit);
  }
  return *best;
}

}  // namespace pg::post
