#include "postprocess/plots/contours.hpp"

#include <cmath>
#include <cstddef>

namespace pg::post {

std::vector<Segment> contour(const std::vector<double>& x, const std::vector<double>& y,
                             const std::vector<std::vector<double>>& z, double level) {
  struct Corner {
    double x, y, z;
  };
  std::vector<Segment> out;
  for (std::size_t j = 0; j + 1 < y.size(); ++j) {
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
      const Corner corners[] = {{x[i], y[j], z[j][i]},
                                {x[i + 1], y[j], z[j][i + 1]},
                                {x[i + 1], y[j + 1], z[j + 1][i + 1]},
                                {x[i], y[j + 1], z[j + 1][i]}};
      std::vector<Corner> crossings;  // in the order of the edges around the square
      bool whole = true;
      for (std::size_t e = 0; e < 4; ++e) {
        const Corner& a = corners[e];
        const Corner& b = corners[(e + 1) % 4];
        whole = whole && !std::isnan(a.z);
        if ((a.z < level) == (b.z < level)) continue;
        const double t = (level - a.z) / (b.z - a.z);
        crossings.push_back({a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), level});
      }
      if (!whole) continue;
      // Four crossings are a saddle: which pairs belong together is read off the middle's value.
      std::size_t shift = 0;
      if (crossings.size() == 4) {
        const double middle = (corners[0].z + corners[1].z + corners[2].z + corners[3].z) / 4;
        if ((middle < level) == (corners[0].z < level))
          shift = 0;
        else
          shift = 3;
      }
      for (std::size_t c = 0; c + 1 < crossings.size(); c += 2) {
        const Corner& a = crossings[(c + shift) % crossings.size()];
        const Corner& b = crossings[(c + 1 + shift) % crossings.size()];
        out.push_back({a.x, a.y, b.x, b.y});
      }
    }
  }
  return out;
}

}  // namespace pg::post
