// pgpost on studies that compare arms or sizes: the files, the words, the exit codes.
#define BOOST_TEST_MODULE compare
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "postprocess/pgpost_program.hpp"
#include "postprocess/synthetic_arms_run.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using pg::test::pgpost;
using pg::test::Run;
using pg::testing::ScratchFolder;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

pg::test::SyntheticArms three_alphas(const std::vector<std::uint64_t>& seeds) {
  pg::test::SyntheticArms arms;
  arms.alphas = {0, 0.5, 1};
  arms.seeds = seeds;
  arms.effect = [](double, double alpha) { return -0.02 - 0.02 * alpha * (1 - alpha); };
  return arms;
}

void write(const fs::path& root, const pg::test::SyntheticArms& arms,
           const std::string& program = "p") {
  pg::test::write_arms(root, pg::test::synthetic_arms(arms), "gating", program);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_gating_study_is_concluded_by_its_kind) {
  const ScratchFolder folder;
  const fs::path run = folder / "run";
  write(run, three_alphas({1, 2, 3, 4, 5}));
  const Run fit = pgpost("fit " + run.string());
  BOOST_TEST(fit.code == 0, fit.err);
  BOOST_TEST(contains(fit.out, "H1 supported"));
  BOOST_TEST(contains(fit.out, "H4 not tested"));
  for (const char* name : {"gating.json", "RESULTS.md", "report.html"}) {
    BOOST_TEST(fs::exists(run / name), name);
  }
  for (const char* name :
       {"relative_differences", "alpha_vs_loss", "training_curves", "seeds_needed"}) {
    for (const char* ending : {".png", ".svg", ".csv"}) {
      BOOST_TEST(fs::exists(run / "plots" / (std::string(name) + ending)), name);
    }
  }
  const std::string page = pg::read_file(run / "report.html");
  BOOST_TEST(contains(page, "<svg"));
  BOOST_TEST(contains(pg::read_file(run / "RESULTS.md"), "plots/alpha_vs_loss.png"));
  const json out = json::parse(pg::read_file(run / "gating.json"));
  BOOST_TEST(out["trials"].size() == 60U);
  BOOST_TEST(out["trials"][0]["processor"] == "a processor");

  // The same bytes from the parts, and a page without pictures where there are none.
  BOOST_TEST(pgpost("report " + run.string()).code == 0);
  BOOST_TEST(pg::read_file(run / "report.html") == page);
  fs::remove_all(run / "plots");
  BOOST_TEST(pgpost("report " + run.string()).code == 0);
  BOOST_TEST(contains(pg::read_file(run / "RESULTS.md"), "Not drawn: run pgpost plot"));
  BOOST_TEST(pgpost("plot " + run.string()).code == 0);
  BOOST_TEST(fs::exists(run / "plots/alpha_vs_loss.svg"));
}

BOOST_AUTO_TEST_CASE(several_runs_are_pooled_into_a_folder_of_their_own) {
  const ScratchFolder folder;
  write(folder / "first", three_alphas({1, 2, 3}));
  write(folder / "second", three_alphas({4, 5, 6}));
  const std::string both = (folder / "first").string() + " " + (folder / "second").string();
  const Run nowhere = pgpost("compare " + both);
  BOOST_TEST(nowhere.code == 64);
  BOOST_TEST(contains(nowhere.err, "--output"));
  const Run pooled =
      pgpost("compare --format json --output " + (folder / "both").string() + " " + both);
  BOOST_TEST(pooled.code == 0, pooled.err);
  const json result = json::parse(pooled.out);
  BOOST_TEST(result["comparisons"][0]["seeds"].size() == 6U);
  BOOST_TEST(result["hypotheses"][0]["verdict"] == "supported");
  BOOST_TEST(fs::exists(folder / "both/report.html"));
  BOOST_TEST(!fs::exists(folder / "first/gating.json"));
  // The order of the run directories changes no number.
  const Run turned = pgpost("compare --format json --output " + (folder / "both").string() + " " +
                            (folder / "second").string() + " " + (folder / "first").string());
  json again = json::parse(turned.out);
  json before = result;
  again.erase("trials");
  before.erase("trials");
  BOOST_TEST(again == before);
}

BOOST_AUTO_TEST_CASE(a_selection_goes_to_its_own_folder) {
  const ScratchFolder folder;
  const fs::path run = folder / "run";
  write(run, three_alphas({1, 2, 3}));
  const Run one = pgpost("fit --format json --where model.d_model=64 " + run.string());
  BOOST_TEST(one.code == 0, one.err);
  const json result = json::parse(one.out);
  BOOST_TEST(result["selection"] == "model.d_model=64");
  BOOST_TEST(result["comparisons"].size() == 3U);
  BOOST_TEST(fs::exists(run / "where model.d_model=64" / "gating.json"));
  const Run none = pgpost("fit --where model.d_model=65 " + run.string());
  BOOST_TEST(none.code == 65);
  BOOST_TEST(contains(none.err, "32, 64"));
  const Run unknown = pgpost("fit --where model.d_modle=64 " + run.string());
  BOOST_TEST(unknown.code == 64);
  BOOST_TEST(contains(unknown.err, "model.d_model"));
  // Without the anchor there is nothing to compare with: said by name.
  const Run anchorless = pgpost("fit --where gate.alpha=0 --where gate.unit=paglu " + run.string());
  BOOST_TEST(anchorless.code == 65);
  BOOST_TEST(contains(anchorless.err, "anchor (vanilla)"));
}

BOOST_AUTO_TEST_CASE(runs_of_different_programs_are_not_compared_unless_asked) {
  const ScratchFolder folder;
  pg::test::SyntheticArms arms;
  arms.widths = {64};
  arms.alphas = {0.5};
  arms.seeds = {1, 2};
  const std::string first = (folder / "first").string();
  const std::string second = (folder / "second").string();
  write(first, arms, "one");
  arms.seeds = {3};
  write(second, arms, "two");
  const std::string both = "--output " + (folder / "both").string() + " " + first + " " + second;
  const Run refused = pgpost("compare " + both);
  BOOST_TEST(refused.code == 65);
  BOOST_TEST(contains(refused.err, "program_sha256: one in " + first));
  BOOST_TEST(contains(refused.err, "--allow-mixed"));
  BOOST_TEST(!fs::exists(folder / "both"));
  const Run allowed = pgpost("compare --allow-mixed --format json " + both);
  BOOST_TEST(allowed.code == 0, allowed.err);
  BOOST_TEST(contains(json::parse(allowed.out)["warnings"].dump(), "Mixed origin was allowed"));
  BOOST_TEST(pgpost("compare --allow-mixed --strict " + both).code == 65);
}

BOOST_AUTO_TEST_CASE(a_damaged_trial_is_named_and_tells_in_the_exit_code) {
  const ScratchFolder folder;
  const fs::path run = folder / "run";
  write(run, three_alphas({1, 2, 3}));
  BOOST_TEST(pgpost("fit --strict " + run.string()).code == 0);
  pg::write_file(run / "trials/nano_d32_a1_s1/metrics.h5", "no HDF5");
  const Run fit = pgpost("fit " + run.string());
  BOOST_TEST(fit.code == 65);
  BOOST_TEST(contains(fit.err, "nano_d32_a1_s1"));
  BOOST_TEST(contains(pg::read_file(run / "RESULTS.md"), "damaged"));
}

BOOST_AUTO_TEST_CASE(a_model_size_study_gives_the_files_of_its_source) {
  const ScratchFolder folder;
  const fs::path run = folder / "run";
  pg::test::write_arms(run, pg::test::synthetic_sizes({64, 128, 256, 512}, {4, 8, 12, 16}, {42}),
                       "model_size", "p");
  const Run fit = pgpost("fit " + run.string());
  BOOST_TEST(fit.code == 0, fit.err);
  BOOST_TEST(contains(fit.out, "larger models are better"));
  for (const char* name :
       {"model_size.json", "scaling_law.json", "all_scaling_results.json", "d64_l4_results.json",
        "d512_l16_results.json", "RESULTS.md", "report.html", "plots/scaling_laws.png",
        "plots/scaling_laws.csv", "plots/loss_vs_parameters.svg", "plots/loss_vs_flops.png",
        "plots/loss_vs_time.png"}) {
    BOOST_TEST(fs::exists(run / name), name);
  }
  const json law = json::parse(pg::read_file(run / "scaling_law.json"));
  BOOST_TEST(std::abs(law["b"].get<double>() - -0.15) < 0.01);
  BOOST_TEST(json::parse(pg::read_file(run / "all_scaling_results.json")).size() == 16U);
  // One seed each: lack of fit cannot be tested, and --strict says so by its code.
  BOOST_TEST(pgpost("fit --strict " + run.string()).code == 65);
  // Two learning rates at one size are no repetitions; --where picks one.
  pg::post::TrialTable again = pg::test::synthetic_sizes({64}, {4}, {43});
  again.rows[0].settings.optimizer.lr = 0.5;
  pg::test::write_arms(run, again, "model_size", "p");
  const Run refused = pgpost("fit " + run.string());
  BOOST_TEST(refused.code == 65);
  BOOST_TEST(contains(refused.err, "optimizer.lr"));
  const Run one = pgpost("fit --where optimizer.lr=0.001 " + run.string());
  BOOST_TEST(one.code == 0, one.err);
}

BOOST_AUTO_TEST_CASE(a_kind_is_not_guessed) {
  const ScratchFolder folder;
  write(folder / "run", three_alphas({1, 2}));
  const std::string run = (folder / "run").string();
  BOOST_TEST(pgpost("compare --kind batch_scaling " + run).code == 64);
  // By sizes the vanilla arms and the gated ones are not repetitions.
  const Run sizes = pgpost("compare --kind model_size " + run);
  BOOST_TEST(sizes.code == 65);
  BOOST_TEST(contains(sizes.err, "gate."));
  const Run vanilla = pgpost("compare --kind model_size --where gate.unit=vanilla --output " +
                             (folder / "sizes").string() + " " + run);
  BOOST_TEST(vanilla.code == 0, vanilla.err);
  BOOST_TEST(fs::exists(folder / "sizes/scaling_law.json"));
  BOOST_TEST(pgpost("fit --model power --allow-mixed --csv x --x a --y b").code == 64);
}
