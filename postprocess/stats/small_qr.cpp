#include "postprocess/stats/small_qr.hpp"

#include <cmath>

namespace pg::post {

void SmallQr::factorise() {
  for (std::size_t j = 0; j < columns_; ++j) {
    double norm = 0;
    for (std::size_t i = j; i < rows_; ++i) norm = std::hypot(norm, at(i, j));
    if (norm == 0) continue;
    const double diagonal = at(j, j) > 0 ? -norm : norm;
    at(j, j) -= diagonal;
    double length = 0;
    for (std::size_t i = j; i < rows_; ++i) length += at(i, j) * at(i, j);
    for (std::size_t k = j + 1; k <= columns_; ++k) {
      double dot = 0;
      for (std::size_t i = j; i < rows_; ++i) dot += at(i, j) * at(i, k);
      const double factor = 2 * dot / length;
      for (std::size_t i = j; i < rows_; ++i) at(i, k) -= factor * at(i, j);
    }
    at(j, j) = diagonal;
    for (std::size_t i = j + 1; i < rows_; ++i) at(i, j) = 0;
  }
}

std::vector<double> SmallQr::solve() const {
  std::vector<double> x(columns_, 0.0);
  for (std::size_t i = columns_; i-- > 0;) {
    double sum = at(i, columns_);
    for (std::size_t k = i + 1; k < columns_; ++k) sum -= at(i, k) * x[k];
    x[i] = at(i, i) == 0 ? 0 : sum / at(i, i);
  }
  return x;
}

std::vector<double> singular_values(Matrix a) {
  const std::size_t p = a.columns();
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool rotated = false;
    for (std::size_t i = 0; i + 1 < p; ++i) {
      for (std::size_t j = i + 1; j < p; ++j) {
        double aa = 0;
        double bb = 0;
        double ab = 0;
        for (std::size_t k = 0; k < a.rows(); ++k) {
          aa += a(k, i) * a(k, i);
          bb += a(k, j) * a(k, j);
          ab += a(k, i) * a(k, j);
        }
        if (ab == 0 || std::abs(ab) <= 1e-15 * std::sqrt(aa * bb)) continue;
        rotated = true;
        const double zeta = (bb - aa) / (2 * ab);
        const double t = (zeta >= 0 ? 1.0 : -1.0) / (std::abs(zeta) + std::hypot(1.0, zeta));
        const double c = 1 / std::hypot(1.0, t);
        const double s = c * t;
        for (std::size_t k = 0; k < a.rows(); ++k) {
          const double x = a(k, i);
          a(k, i) = c * x - s * a(k, j);
          a(k, j) = s * x + c * a(k, j);
        }
      }
    }
    if (!rotated) break;
  }
  std::vector<double> values;
  for (std::size_t j = 0; j < p; ++j) {
    double sum = 0;
    for (std::size_t k = 0; k < a.rows(); ++k) sum += a(k, j) * a(k, j);
    values.push_back(std::sqrt(sum));
  }
  return values;
}

}  // namespace pg::post
