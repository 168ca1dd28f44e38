// make_synthetic_run DIR [KIND]: a run directory from a known surface (clean, realistic, edge,
// flat, seeds) or from arms with a known truth (gating, model_size), or with estimates of the tails
// of samples (tails), so that pgpost's plots and words can be looked at without training anything.
#include <fmt/format.h>

#include <cstdio>

#include "measure/tails.hpp"
#include "postprocess/synthetic_arms_run.hpp"
#include "postprocess/synthetic_run.hpp"

namespace {

/// Tails of a batch's gradient that is normal, of layers whose scales differ by `layer_spread`; the
/// noise is normal with one scale. The first batch has recorded none.
void write_tails(const std::filesystem::path& root, const pg::test::SyntheticSurface& surface) {
  const pg::record::RunDirectory run(root);
  constexpr std::size_t kCoordinates = 50'000;
  for (std::size_t b = 0; b < surface.batches.size(); ++b) {
    auto trial = pg::test::synthetic_trial(surface, "grid", surface.batches[b], 1e-3, 42);
    const double layer_spread = 0.25 * static_cast<double>(b);
    for (std::int64_t step = 1000; step <= 5000 && b > 0; step += 1000) {
      trial.tails_step.push_back(step);
      for (const bool is_noise : {false, true}) {
        const pg::random::Stream stream(static_cast<std::uint64_t>(step) + b,
                                        pg::random::Purpose::test, is_noise ? 1 : 0);
        std::vector<float> x;
        for (std::size_t i = 0; i < kCoordinates; ++i) {
          const double scale = is_noise ? 1 : std::exp(layer_spread * static_cast<double>(i % 5));
          x.push_back(static_cast<float>(scale * stream.normal(i)));
        }
        const pg::measure::TailEstimates tails = pg::measure::tail_estimates(x);
        auto& row = is_noise ? trial.noise_tails : trial.gradient_tails;
        for (const auto& hill : tails.hill) row.push_back(hill ? hill->alpha : NAN);
        row.push_back(tails.ggd ? tails.ggd->shape : NAN);
        row.push_back(tails.kurtosis ? tails.kurtosis->excess : NAN);
        if (is_noise) row.push_back(tails.log_moment ? tails.log_moment->alpha : NAN);
      }
    }
    pg::record::write_trial(run.metrics_file(trial.summary.id), trial);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(
        stderr,
        "make_synthetic_run DIR [clean|realistic|edge|flat|seeds|gating|model_size|tails]\n");
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
  if (kind == "tails") {
    write_tails(root, surface);
    return 0;
  }
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
