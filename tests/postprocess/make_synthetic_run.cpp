// make_synthetic_run DIR [clean|realistic|edge|flat|seeds]: a run directory from a known surface,
// so that pgpost's plots and words can be looked at without training anything.
#include <fmt/format.h>

#include <cstdio>

#include "postprocess/synthetic_run.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "make_synthetic_run DIR [clean|realistic|edge|flat|seeds]\n");
    return 64;
  }
  const std::filesystem::path root = argv[1];
  const std::string kind = argc > 2 ? argv[2] : "clean";
  pg::test::SyntheticSurface surface;
  if (kind == "realistic" || kind == "seeds") {
    surface.noise = 0.004;
    surface.skew = 0.015;
    surface.diverges_above = 2.9;
  } else if (kind == "edge") {
    surface.noise = 0.003;
    surface.rates = {1e-4, 3e-4, 1e-3, 3e-3};
  } else if (kind == "flat") {
    surface.noise = 0.02;
    surface.curvature = 0.001;
  } else if (kind != "clean") {
    fmt::print(stderr, "unknown kind '{}'\n", kind);
    return 64;
  }
  if (kind == "seeds") surface.seeds = {1, 2, 3};
  pg::test::write_synthetic_grid(root, surface);
  if (kind == "realistic" || kind == "clean") {
    pg::test::write_synthetic_later_stages(root, surface);
  }
  return 0;
}
