#include "postprocess/stats/linear_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace pg::post {
namespace {

// A diagonal entry of R this much smaller than its column says that the column adds nothing new.
// NIST's Filip, the hardest certified set, reaches about 1e-10.
constexpr double kRankTolerance = 1e-13;

/// The Householder reflections of X = QR; R stands in the upper triangle.
struct Qr {
  Matrix r;
  std::vector<std::vector<double>> reflectors;  ///< unit vectors v: H = I - 2 v v'
  bool full_rank = true;
};

void reflect(const std::vector<double>& v, std::size_t first, std::vector<double>& column) {
  double dot = 0;
  for (std::size_t i = first; i < column.size(); ++i) dot += v[i] * column[i];
  for (std::size_t i = first; i < column.size(); ++i) column[i] -= 2 * dot * v[i];
}

double norm_from(const std::vector<double>& v, std::size_t first) {
  double sum = 0;
  for (std::size_t i = first; i < v.size(); ++i) sum += v[i] * v[i];
  return std::sqrt(sum);
}

Qr factorise(const Matrix& x) {
  const std::size_t n = x.rows();
  const std::size_t p = x.columns();
  Qr qr{Matrix(p, p), {}, true};
  for (std::size_t j = 0; j < p; ++j) {
    std::vector<double> column(n);
    for (std::size_t i = 0; i < n; ++i) column[i] = x(i, j);
    const double size = norm_from(column, 0);
    for (std::size_t k = 0; k < j; ++k) reflect(qr.reflectors[k], k, column);
    const double rest = norm_from(column, j);
    if (!(rest > kRankTolerance * size)) qr.full_rank = false;
    const double diagonal = column[j] > 0 ? -rest : rest;
    std::vector<double> v(n, 0.0);
    for (std::size_t i = j; i < n; ++i) v[i] = column[i];
    v[j] -= diagonal;
    const double length = norm_from(v, j);
    if (length > 0) {
      for (std::size_t i = j; i < n; ++i) v[i] /= length;
    }
    for (std::size_t i = 0; i < j; ++i) qr.r(i, j) = column[i];
    qr.r(j, j) = diagonal;
    qr.reflectors.push_back(std::move(v));
  }
  return qr;
}

void set_coefficients(const Qr& qr, std::vector<double> rotated, LinearFit& fit) {
  const std::size_t p = qr.r.rows();
  for (std::size_t k = 0; k < p; ++k) reflect(qr.reflectors[k], k, rotated);
  fit.coefficients.assign(p, 0.0);
  for (std::size_t i = p; i-- > 0;) {
    double sum = rotated[i];
    for (std::size_t k = i + 1; k < p; ++k) sum -= qr.r(i, k) * fit.coefficients[k];
    fit.coefficients[i] = sum / qr.r(i, i);
  }
}

void set_covariance(const Qr& qr, LinearFit& fit) {
  const std::size_t p = qr.r.rows();
  const Matrix inverse = upper_inverse(qr.r);
  fit.covariance = Matrix(p, p);
  fit.standard_errors.assign(p, std::numeric_limits<double>::infinity());
  for (std::size_t i = 0; i < p; ++i) {
    for (std::size_t j = 0; j < p; ++j) {
      double sum = 0;
      for (std::size_t k = std::max(i, j); k < p; ++k) sum += inverse(i, k) * inverse(j, k);
      fit.covariance(i, j) = fit.s * fit.s * sum;
    }
    if (fit.df > 0) fit.standard_errors[i] = std::sqrt(fit.covariance(i, i));
  }
}

void set_influence(const Qr& qr, std::span<const double> root_weights, LinearFit& fit) {
  const std::size_t p = qr.r.rows();
  fit.leverage.assign(fit.n, 0.0);
  fit.cooks_distance.assign(fit.n, 0.0);
  for (std::size_t j = 0; j < p; ++j) {
    std::vector<double> q(fit.n, 0.0);
    q[j] = 1;
    for (std::size_t k = p; k-- > 0;) reflect(qr.reflectors[k], k, q);
    for (std::size_t i = 0; i < fit.n; ++i) fit.leverage[i] += q[i] * q[i];
  }
  for (std::size_t i = 0; i < fit.n; ++i) {
    const double spare = 1 - fit.leverage[i];
    if (fit.s <= 0 || spare <= 1e-12) continue;
    const double e = fit.residuals[i] * root_weights[i] / fit.s;
    fit.cooks_distance[i] = e * e * fit.leverage[i] / (spare * spare * static_cast<double>(p));
  }
}

}  // namespace

Matrix upper_inverse(const Matrix& r) {
  const std::size_t p = r.rows();
  Matrix inverse(p, p);
  for (std::size_t j = 0; j < p; ++j) {
    inverse(j, j) = 1 / r(j, j);
    for (std::size_t i = j; i-- > 0;) {
      double sum = 0;
      for (std::size_t k = i + 1; k <= j; ++k) sum += r(i, k) * inverse(k, j);
      inverse(i, j) = -sum / r(i, i);
    }
  }
  return inverse;
}

std::optional<LinearFit> fit_linear(const Matrix& x, std::span<const double> y, Constant constant,
                                    std::span<const double> weights) {
  const std::size_t n = x.rows();
  const std::size_t p = x.columns();
  require(y.size() == n, "a least-squares problem has one response per row");
  require(weights.empty() || weights.size() == n, "a weighted fit has one weight per row");
  if (n < p || p == 0) return std::nullopt;

  std::vector<double> root_weights(n, 1.0);
  for (std::size_t i = 0; i < weights.size(); ++i) root_weights[i] = std::sqrt(weights[i]);
  Matrix scaled_x(n, p);
  std::vector<double> scaled_y(n);
  double weight_sum = 0;
  double weighted_mean = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < p; ++j) scaled_x(i, j) = root_weights[i] * x(i, j);
    scaled_y[i] = root_weights[i] * y[i];
    weight_sum += root_weights[i] * root_weights[i];
    weighted_mean += root_weights[i] * scaled_y[i];
  }
  weighted_mean /= weight_sum;

  const Qr qr = factorise(scaled_x);
  if (!qr.full_rank) return std::nullopt;
  LinearFit fit;
  fit.n = n;
  fit.df = static_cast<int>(n - p);
  set_coefficients(qr, scaled_y, fit);
  fit.residuals.resize(n);
  const double origin = constant == Constant::present ? weighted_mean : 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    double e = y[i];
    for (std::size_t j = 0; j < p; ++j) e -= x(i, j) * fit.coefficients[j];
    fit.residuals[i] = e;
    fit.rss += root_weights[i] * root_weights[i] * e * e;
    fit.tss += root_weights[i] * root_weights[i] * (y[i] - origin) * (y[i] - origin);
  }
  if (fit.df > 0) fit.s = std::sqrt(fit.rss / fit.df);
  if (fit.tss > 0) {
    fit.r2 = 1 - fit.rss / fit.tss;
    const double freedom = static_cast<double>(n) - (constant == Constant::present ? 1.0 : 0.0);
    if (fit.df > 0) fit.adjusted_r2 = 1 - (1 - fit.r2) * freedom / fit.df;
  }
  const std::size_t tested = constant == Constant::present ? p - 1 : p;
  if (fit.df > 0 && tested > 0) {
    // What the model explains, without the cancellation in tss - rss.
    double explained = 0;
    for (std::size_t i = 0; i < n; ++i) {
      explained += std::pow(root_weights[i] * (y[i] - fit.residuals[i] - origin), 2);
    }
    fit.f = explained / static_cast<double>(tested) / (fit.rss / fit.df);
    if (fit.rss == 0) fit.f = explained > 0 ? std::numeric_limits<double>::infinity() : 0;
  }
  set_covariance(qr, fit);
  set_influence(qr, root_weights, fit);
  return fit;
}

}  // namespace pg::post
