#include "base/parabola.hpp"

#include <cmath>

namespace pg {

std::optional<Parabola> fit_parabola(const double (&x)[3], const double (&y)[3]) {
  // Newton's form: y = y0 + d1 (t - x0) + c (t - x0)(t - x1), so x* = (x0 + x1) / 2 - d1 / (2c).
  const double h1 = x[1] - x[0];
  const double h2 = x[2] - x[1];
  const double d1 = (y[1] - y[0]) / h1;
  const double d2 = (y[2] - y[1]) / h2;
  const double c = (d2 - d1) / (x[2] - x[0]);
  if (!(h1 > 0) || !(h2 > 0) || !std::isfinite(c) || c <= 0) return std::nullopt;
  const double vertex = (x[0] + x[1]) / 2 - d1 / (2 * c);
  if (vertex < x[0] || vertex > x[2]) return std::nullopt;
  const double value = y[0] + (vertex - x[0]) * (d1 + c * (vertex - x[1]));
  // Derivatives of d1 and c with respect to y0, y1, y2.
  const double dd1[3] = {-1 / h1, 1 / h1, 0};
  const double dc[3] = {1 / (h1 * (h1 + h2)), -1 / (h1 * h2), 1 / (h2 * (h1 + h2))};
  Parabola result{vertex, value, c, {}};
  for (int i = 0; i < 3; ++i) {
    result.sensitivity[i] = -dd1[i] / (2 * c) + d1 * dc[i] / (2 * c * c);
  }
  return result;
}

}  // namespace pg
