// make_synthetic_run DIR [KIND]: a run directory from a known surface (clean, realistic, edge,
// flat, seeds) or from arms with a known truth (gating, model_size), so that pgpost's plots and
// words can be looked at without training anything.
#include <fmt/format.h>

#include <cstdio>

#include "postprocess/synthetic_arms_run.hpp"
#include "postprocess/synthetic_run.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr,
               "make_synthetic_run DIR [clean|realistic|edge|flat|seeds|gating|model_size]\n");
    return 64;
  }
  const std::filesystem::path root = argv[1];
  const std::string kind = argc > 2 ? argv[2] : "clean";
  if (kind == "model_size") {
    pg::test::write_arms(
        root, pg::test::synthetic_sizes({64, 128, 256, 512}, {4, 8, 12, 16}, {1, 2, 3}), kind, "p");
    return 0;
  }
  if (kind == "gating") {
    // The best alpha moves with size; one trial has diverged.
    pg::test::SyntheticArms arms;
    arms.architectures = {"nano", "gpt"};
    arms.noise = 0.003;
    arms.effect = [](double ln_n, double alpha) {
      const double u = alpha - 0.5 - 0.1 * (ln_n - 12);
      return -0.02 + 0.03 * u * u;
    };
    pg::post::TrialTable table = pg::test::synthetic_arms(arms);
    table.rows[7].status = pg::record::TrialStatus::diverged;
    table.rows[7].reason = "the loss was not finite at step 1200";
    pg::test::write_arms(root, table, kind, "p");
    return 0;
  }
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
