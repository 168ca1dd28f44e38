#include "postprocess/fits/chinchilla_surface.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.hpp"

namespace pg::post {
namespace {

constexpr std::size_t kParameters = 5;
constexpr double kRounding = 1e-10;  // residuals of ln L below it are no residuals

using Gradient = std::array<double, kParameters>;

double dot(std::span<const double> x, std::span<const double> y) {
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

double sign(double x) {
  return x > 0 ? 1.0 : (x < 0 ? -1.0 : 0.0);
}

}  // namespace

double chinchilla_ln_loss(std::span<const double> p, double ln_n, double ln_d,
                          std::span<double> gradient) {
  const double terms[] = {p[0] - p[3] * ln_n, p[1] - p[4] * ln_d, p[2]};
  const double top = std::max({terms[0], terms[1], terms[2]});
  double share[3];
  double sum = 0;
  for (int k = 0; k < 3; ++k) sum += share[k] = std::exp(terms[k] - top);
  if (!gradient.empty()) {
    gradient[0] = share[0] / sum;
    gradient[1] = share[1] / sum;
    gradient[2] = share[2] / sum;
    gradient[3] = -gradient[0] * ln_n;
    gradient[4] = -gradient[1] * ln_d;
  }
  return top + std::log(sum);
}

ChinchillaSurface::ChinchillaSurface(const LawData& data) {
  double mean_weight = 1;
  if (!data.weights.empty()) {
    mean_weight = std::accumulate(data.weights.begin(), data.weights.end(), 0.0) /
                  static_cast<double>(data.size());
  }
  std::map<std::array<double, 3>, std::size_t> place;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const double weight = data.weights.empty() ? 1.0 : data.weights[i] / mean_weight;
    const std::array<double, 3> key = {data.x[0][i], data.x[1][i], data.y[i]};
    const auto [known, added] = place.emplace(key, ln_l_.size());
    if (!added) {
      weight_[known->second] += weight;
      continue;
    }
    ln_n_.push_back(std::log(key[0]));
    ln_d_.push_back(std::log(key[1]));
    ln_l_.push_back(std::log(key[2]));
    weight_.push_back(weight);
  }
}

double ChinchillaSurface::residual(std::span<const double> p, std::size_t i,
                                   std::span<double> gradient) const {
  return ln_l_[i] - chinchilla_ln_loss(p, ln_n_[i], ln_d_[i], gradient);
}

double ChinchillaSurface::huber(std::span<const double> p, double delta,
                                std::span<double> gradient) const {
  std::fill(gradient.begin(), gradient.end(), 0.0);
  Gradient g = {};
  const std::span<double> wanted = gradient.empty() ? std::span<double>() : std::span<double>(g);
  double sum = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    const double r = residual(p, i, wanted);
    const double size = std::abs(r);
    sum += weight_[i] * (size <= delta ? r * r / 2 : delta * (size - delta / 2));
    const double slope = weight_[i] * std::clamp(r, -delta, delta);
    for (std::size_t j = 0; j < gradient.size(); ++j) gradient[j] -= slope * g[j];
  }
  return sum;
}

double ChinchillaSurface::absolute(std::span<const double> p) const {
  double sum = 0;
  for (std::size_t i = 0; i < size(); ++i) sum += weight_[i] * std::abs(residual(p, i, {}));
  return sum;
}

double ChinchillaSurface::relative_gradient(std::span<const double> p, double delta) const {
  Gradient sum = {};
  Gradient sizes = {};
  Gradient g = {};
  for (std::size_t i = 0; i < size(); ++i) {
    const double slope = weight_[i] * std::clamp(residual(p, i, g), -delta, delta);
    for (std::size_t j = 0; j < kParameters; ++j) {
      sum[j] += slope * g[j];
      sizes[j] += std::abs(slope * g[j]);
    }
  }
  double largest = 0;
  for (std::size_t j = 0; j < kParameters; ++j) {
    if (sizes[j] > 0) largest = std::max(largest, std::abs(sum[j]) / sizes[j]);
  }
  return largest;
}

double ChinchillaSurface::residual_sd(std::span<const double> p) const {
  const double weights = std::accumulate(weight_.begin(), weight_.end(), 0.0);
  return std::sqrt(2 * huber(p, std::numeric_limits<double>::infinity(), {}) / weights);
}

bool ChinchillaSurface::exact(std::span<const double> p) const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (!(std::abs(residual(p, i, {})) < kRounding)) return false;
  }
  return true;
}

std::vector<std::vector<double>> ChinchillaSurface::best_of_grid(std::size_t count) const {
  struct Place {
    double value;
    std::vector<double> p;
  };
  std::vector<Place> best;
  for (int a = 0; a <= 25; a += 5) {
    for (int b = 0; b <= 25; b += 5) {
      for (int e = -2; e <= 2; ++e) {
        for (int alpha = 0; alpha <= 4; ++alpha) {
          for (int beta = 0; beta <= 4; ++beta) {
            const std::vector<double> p = {double(a), double(b), e / 2.0, alpha / 2.0, beta / 2.0};
            const double value = huber(p, 1e-3, {});
            if (best.size() == count && !(value < best.back().value)) continue;
            const auto after =
                std::upper_bound(best.begin(), best.end(), value,
                                 [](double v, const Place& place) { return v < place.value; });
            best.insert(after, {value, p});
            if (best.size() > count) best.pop_back();
          }
        }
      }
    }
  }
  std::vector<std::vector<double>> places;
  for (Place& place : best) places.push_back(std::move(place.p));
  return places;
}

std::vector<double> ChinchillaSurface::reweighted(std::vector<double> p, double delta) const {
  constexpr int kSteps = 100;
  constexpr int kTries = 12;
  const std::size_t n = size();
  double value = huber(p, delta, {});
  double damping = 1e-3;
  for (int step = 0; step < kSteps; ++step) {
    // The last rows hold the step back along each axis (Levenberg and Marquardt).
    Matrix design(n + kParameters, kParameters);
    std::vector<double> r(n + kParameters, 0.0);
    std::vector<double> weights(n + kParameters, 1.0);
    Gradient lengths = {};
    Gradient g = {};
    for (std::size_t i = 0; i < n; ++i) {
      r[i] = residual(p, i, g);
      weights[i] = weight_[i] * (std::abs(r[i]) <= delta ? 1.0 : delta / std::abs(r[i]));
      for (std::size_t j = 0; j < kParameters; ++j) {
        design(i, j) = g[j];
        lengths[j] += weights[i] * g[j] * g[j];
      }
    }
    bool descended = false;
    double gain = 0;
    for (int attempt = 0; attempt < kTries && !descended; ++attempt) {
      for (std::size_t j = 0; j < kParameters; ++j) {
        design(n + j, j) = std::sqrt(damping * std::max(lengths[j], 1e-30));
      }
      const auto move = fit_linear(design, r, Constant::absent, weights);
      if (!move) return p;
      std::vector<double> at = p;
      for (std::size_t j = 0; j < kParameters; ++j) at[j] += move->coefficients[j];
      const double there = huber(at, delta, {});
      descended = there < value;
      damping = descended ? std::max(damping / 10, 1e-15) : damping * 10;
      if (!descended) continue;
      gain = value - there;
      p = at;
      value = there;
    }
    if (!descended || gain < 1e-9 * value) break;
  }
  return p;
}

std::optional<Matrix> ChinchillaSurface::whitening(std::span<const double> p) const {
  // R'R = J'J by Cholesky, on columns of unit length; then the inverse of R.
  Matrix square(kParameters, kParameters);
  Gradient g = {};
  for (std::size_t i = 0; i < size(); ++i) {
    residual(p, i, g);
    for (std::size_t j = 0; j < kParameters; ++j) {
      for (std::size_t k = 0; k < kParameters; ++k) square(j, k) += weight_[i] * g[j] * g[k];
    }
  }
  Gradient length = {};
  for (std::size_t j = 0; j < kParameters; ++j) length[j] = std::sqrt(square(j, j));
  Matrix r(kParameters, kParameters);
  for (std::size_t j = 0; j < kParameters; ++j) {
    for (std::size_t i = 0; i <= j; ++i) {
      double rest = square(i, j) / (length[i] * length[j]);
      for (std::size_t k = 0; k < i; ++k) rest -= r(k, i) * r(k, j);
      if (i == j && !(rest > 1e-13)) return std::nullopt;
      r(i, j) = i == j ? std::sqrt(rest) : rest / r(i, i);
    }
  }
  Matrix inverse = upper_inverse(r);
  for (std::size_t i = 0; i < kParameters; ++i) {
    for (std::size_t j = 0; j < kParameters; ++j) inverse(i, j) /= length[i];
  }
  return inverse;
}

// ---- least absolute residuals ----

/// The surface through the active points, by Newton's method.
std::optional<std::vector<double>> ChinchillaSurface::through(
    std::vector<double> p, const std::vector<std::size_t>& active) const {
  constexpr int kSteps = 30;
  Matrix design(kParameters, kParameters);
  std::vector<double> r(kParameters);
  Gradient g = {};
  for (int step = 0; step < kSteps; ++step) {
    double largest = 0;
    for (std::size_t k = 0; k < kParameters; ++k) {
      r[k] = residual(p, active[k], g);
      largest = std::max(largest, std::abs(r[k]));
      for (std::size_t j = 0; j < kParameters; ++j) design(k, j) = g[j];
    }
    if (!std::isfinite(largest)) return std::nullopt;
    if (largest < 1e-13) return p;
    const auto move = fit_linear(design, r, Constant::absent);
    if (!move) return std::nullopt;
    for (std::size_t j = 0; j < kParameters; ++j) p[j] += move->coefficients[j];
  }
  return std::nullopt;
}

/// Five points near the surface whose gradients are clearly independent (after whitening).
std::vector<std::size_t> ChinchillaSurface::nearest_independent(std::span<const double> p) const {
  const auto whiten = whitening(p);
  if (!whiten) return {};
  std::vector<std::size_t> order(size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<double> distance(size());
  for (std::size_t i = 0; i < size(); ++i) distance[i] = std::abs(residual(p, i, {}));
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t i, std::size_t j) { return distance[i] < distance[j]; });
  std::vector<std::size_t> active;
  std::vector<Gradient> basis;
  for (const std::size_t i : order) {
    if (active.size() == kParameters) break;
    Gradient g = {};
    residual(p, i, g);
    Gradient h = {};
    for (std::size_t j = 0; j < kParameters; ++j) {
      for (std::size_t k = 0; k < kParameters; ++k) h[j] += (*whiten)(k, j) * g[k];
    }
    const double length = std::sqrt(dot(h, h));
    for (const Gradient& b : basis) {
      const double along = dot(b, h);
      for (std::size_t j = 0; j < kParameters; ++j) h[j] -= along * b[j];
    }
    const double rest = std::sqrt(dot(h, h));
    if (!(rest > 1e-2 * length)) continue;
    for (double& value : h) value /= rest;
    basis.push_back(h);
    active.push_back(i);
  }
  return active.size() == kParameters ? active : std::vector<std::size_t>();
}

/// m with sum over the other points of w sign(r) g = sum over the active ones of m_k g_k.
std::optional<std::vector<double>> ChinchillaSurface::multipliers(
    std::span<const double> p, const std::vector<std::size_t>& active) const {
  std::vector<double> sum(kParameters, 0.0);
  Matrix columns(kParameters, kParameters);
  Gradient g = {};
  for (std::size_t i = 0; i < size(); ++i) {
    const double r = residual(p, i, g);
    const auto at = std::find(active.begin(), active.end(), i);
    for (std::size_t j = 0; j < kParameters; ++j) {
      if (at != active.end()) {
        columns(j, static_cast<std::size_t>(at - active.begin())) = g[j];
      } else {
        sum[j] += weight_[i] * sign(r) * g[j];
      }
    }
  }
  const auto solved = fit_linear(columns, sum, Constant::absent);
  if (!solved) return std::nullopt;
  return solved->coefficients;
}

ChinchillaSurface::Vertex ChinchillaSurface::least_absolute(std::vector<double> p) const {
  constexpr int kExchanges = 200;
  Vertex best{p, false};
  double best_value = absolute(p);
  std::vector<std::size_t> active = nearest_independent(p);
  if (active.empty()) return best;
  auto vertex = through(p, active);
  for (int round = 0; round < kExchanges && vertex; ++round) {
    const double value = absolute(*vertex);
    if (round > 0 && !(value < best_value)) return best;
    best = {*vertex, false};
    best_value = value;
    const auto m = multipliers(best.b, active);
    if (!m) return best;
    // The active point that pulls hardest beyond its weight leaves.
    std::size_t out = kParameters;
    double worst = 1 + 1e-9;
    for (std::size_t k = 0; k < kParameters; ++k) {
      const double pull = std::abs((*m)[k]) / weight_[active[k]];
      if (pull > worst) {
        worst = pull;
        out = k;
      }
    }
    if (out == kParameters) {
      best.proven = true;
      return best;
    }
    // Along d the other active residuals stay zero; the sum falls until the next points' do.
    Matrix rows(kParameters, kParameters);
    std::vector<double> target(kParameters, 0.0);
    Gradient g = {};
    for (std::size_t k = 0; k < kParameters; ++k) {
      residual(best.b, active[k], g);
      for (std::size_t j = 0; j < kParameters; ++j) rows(k, j) = g[j];
    }
    target[out] = sign((*m)[out]);
    const auto d = fit_linear(rows, target, Constant::absent);
    if (!d) return best;
    struct Crossing {
      double t;
      double turn;
      std::size_t i;
    };
    std::vector<Crossing> crossings;
    for (std::size_t i = 0; i < size(); ++i) {
      if (std::find(active.begin(), active.end(), i) != active.end()) continue;
      const double r = residual(best.b, i, g);
      const double c = dot(g, d->coefficients);
      if (r * c > 0) crossings.push_back({r / c, 2 * weight_[i] * std::abs(c), i});
    }
    std::stable_sort(crossings.begin(), crossings.end(),
                     [](const Crossing& x, const Crossing& y) { return x.t < y.t; });
    double slope = weight_[active[out]] - std::abs((*m)[out]);
    bool entered = false;
    for (const Crossing& crossing : crossings) {
      slope += crossing.turn;
      if (slope < 0) continue;
      active[out] = crossing.i;
      std::vector<double> ahead = best.b;
      for (std::size_t j = 0; j < kParameters; ++j) ahead[j] += crossing.t * d->coefficients[j];
      vertex = through(ahead, active);
      entered = true;
      break;
    }
    if (!entered) return best;
  }
  return best;
}

}  // namespace pg::post
