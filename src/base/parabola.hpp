#pragma once

#include <optional>

namespace pg {

/// The vertex of the parabola through three points.
struct Parabola {
  double x;          ///< abscissa of the minimum
  double y;          ///< value there
  double curvature;  ///< y = y_min + curvature * (x - x_min)^2, > 0
  /// d x / d y_i at the three points: the vertex' standard deviation for independent errors of
  /// equal size s is s * sqrt(sum of squares).
  double sensitivity[3];
};

/// Parabola through (x0,y0), (x1,y1), (x2,y2) with x0 < x1 < x2 at any spacing; nothing when it
/// does not open upwards or its vertex lies outside [x0, x2].
std::optional<Parabola> fit_parabola(const double (&x)[3], const double (&y)[3]);

}  // namespace pg
