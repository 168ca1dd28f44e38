#pragma once

#include <vector>

namespace pg::post {

struct Segment {
  double x0 = 0;
  double y0 = 0;
  double x1 = 0;
  double y1 = 0;
};

/// The line z = level over a grid by marching squares, linear along the edges: z[j][i] is the value
/// at (x[i], y[j]). A square with a NaN corner has no line.
std::vector<Segment> contour(const std::vector<double>& x, const std::vector<double>& y,
                             const std::vector<std::vector<double>>& z, double level);

}  // namespace pg::post
