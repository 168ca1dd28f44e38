// The program from outside: run directories on disk in, exit codes, files and words out.
#define BOOST_TEST_MODULE pgpost
#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "checkpoint/sample.hpp"
#include "postprocess/pgpost_program.hpp"
#include "postprocess/report/run_status.hpp"
#include "postprocess/synthetic_run.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using pg::test::SyntheticSurface;

/// A folder of its own for one test, removed at the end.
class Folder {
 public:
  Folder() {
    // In memory where that exists: the trials' syncs to disk are not what is tested here.
    const fs::path base = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string pattern = (base / "pgpost-test-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

using pg::test::pgpost;
using pg::test::Run;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

SyntheticSurface realistic() {
  SyntheticSurface surface;
  surface.noise = 0.002;
  surface.skew = 0.005;
  surface.diverges_above = 2.9;
  return surface;
}

SyntheticSurface small() {
  SyntheticSurface surface = realistic();
  surface.batches = {16, 64, 256};
  surface.rates = {3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2};
  return surface;
}

constexpr const char* kPlots[] = {"lr_vs_batch", "loss_heatmap", "transfer_comparison",
                                  "convergence_curves"};

}  // namespace

BOOST_AUTO_TEST_CASE(a_run_from_end_to_end) {
  const Folder folder;
  const fs::path root = folder.path() / "run with a 'name'";
  pg::test::write_synthetic_grid(root, realistic());
  pg::test::write_synthetic_later_stages(root, realistic());
  pg::write_file(root / "provenance.json",
                 R"({"launches": [{"id": "launch-1", "version": "0.1.0", "processor": "test"}]})");
  const Run fit = pgpost("fit \"" + root.string() + "\"");
  BOOST_TEST(fit.code == 0, fit.err);
  BOOST_TEST(contains(fit.out, "beta by estimator"));

  const json out = json::parse(pg::read_file(root / "scaling_fit.json"));
  BOOST_TEST(out["method"] == "joint_surface");
  BOOST_TEST(std::abs(out["beta"].get<double>() - 2.0 / 3) < 0.05);
  BOOST_TEST(out["beta_ci95"][0].get<double>() < 2.0 / 3);
  BOOST_TEST(out["beta_ci95"][1].get<double>() > 2.0 / 3);
  BOOST_TEST(out["verdict"] == "laplace");
  BOOST_TEST(out["optima"].size() == 7);
  BOOST_TEST(out["coverage"]["grid_planned"] == 49);
  BOOST_TEST(out["coverage"]["grid_finished"].get<int>() +
                 out["coverage"]["grid_diverged"].get<int>() ==
             49);
  BOOST_TEST(out["coverage"]["transfer_trials"].get<int>() > 20);
  BOOST_TEST(out["transfer"]["rules"].size() == 4);
  BOOST_TEST(out["transfer"]["rules"][0]["errors"][0]["source"] == "run");
  BOOST_TEST(out["conventions"].size() > 5);

  const std::string report = pg::read_file(root / "RESULTS.md");
  for (const char* part :
       {"# Results: synthetic", "95 % interval", "Leave one batch out", "Transfer test",
        "49 planned grid trials", "diverged: the training loss was not finite",
        "plots/lr_vs_batch.png", "Conventions", "launches.launch-1.version"}) {
    BOOST_TEST(contains(report, part), part);
  }
  for (const char* plot : kPlots) {
    const std::string png = pg::read_file(root / "plots" / (std::string(plot) + ".png"));
    BOOST_TEST(png.starts_with("\x89PNG"), plot);
    // A blank picture of this size compresses to less than 6 kB.
    BOOST_TEST(png.size() > 20000, plot);
    BOOST_TEST(contains(pg::read_file(root / "plots" / (std::string(plot) + ".svg")), "</svg>"));
    const fs::path csv = root / "plots" / (std::string(plot) + ".csv");
    BOOST_TEST(pg::parse_csv(pg::read_file(csv), plot).rows.size() >= 7);
  }
  for (const auto& entry : fs::directory_iterator(root / "plots")) {
    const std::string ending = entry.path().extension().string();
    BOOST_TEST((ending == ".png" || ending == ".svg" || ending == ".csv"), entry.path().string());
  }

  // The same run gives the same bytes; JSON on demand is the file.
  const std::string before = pg::read_file(root / "scaling_fit.json");
  const Run again = pgpost("fit --format json \"" + root.string() + "\"");
  BOOST_TEST(again.out == before);
  BOOST_TEST(pg::read_file(root / "scaling_fit.json") == before);
  BOOST_TEST(pg::read_file(root / "RESULTS.md") == report);
}

BOOST_AUTO_TEST_CASE(the_theories_are_told_apart_on_disk_too) {
  const Folder folder;
  SyntheticSurface surface = realistic();
  surface.beta = 0.5;
  pg::test::write_synthetic_grid(folder.path(), surface);
  BOOST_TEST(pgpost("report " + folder.path().string()).code == 0);
  const json out = json::parse(pg::read_file(folder.path() / "scaling_fit.json"));
  BOOST_TEST(out["verdict"] != "laplace");
  BOOST_TEST(out["beta_ci95"][0].get<double>() < 0.5);
  BOOST_TEST(out["beta_ci95"][1].get<double>() > 0.5);
  BOOST_TEST(contains(pg::read_file(folder.path() / "RESULTS.md"), "Not drawn: run pgpost plot"));
}

BOOST_AUTO_TEST_CASE(damaged_trials_are_named_and_the_rest_is_reported) {
  const Folder folder;
  pg::test::write_synthetic_grid(folder.path(), small());
  const pg::record::RunDirectory run(folder.path());
  const fs::path file = run.metrics_file("b0064_lr3e-05_s42");
  const std::string whole = pg::read_file(file);
  pg::write_file(file, whole.substr(0, whole.size() / 2));
  const Run fit = pgpost("fit " + folder.path().string());
  BOOST_TEST(fit.code == 65);
  BOOST_TEST(contains(fit.err, "b0064_lr3e-05_s42"));
  const std::string report = pg::read_file(folder.path() / "RESULTS.md");
  BOOST_TEST(contains(report, "| b0064_lr3e-05_s42 | damaged"));
  const json out = json::parse(pg::read_file(folder.path() / "scaling_fit.json"));
  BOOST_TEST(out["beta"].is_number());
  const Run status = pgpost("status " + folder.path().string());
  BOOST_TEST(status.code == 65);
  BOOST_TEST(contains(status.out, "damaged    b0064_lr3e-05_s42"));
}

BOOST_AUTO_TEST_CASE(mixed_runs_are_refused) {
  const Folder folder;
  pg::test::write_synthetic_grid(folder.path(), small());
  const pg::record::RunDirectory run(folder.path());
  auto other = pg::test::synthetic_trial(small(), "refine", 64, 5e-4, 42);
  other.corpus_sha256 = std::string(64, 'd');
  pg::record::write_trial(run.metrics_file(other.summary.id), other);
  const Run fit = pgpost("fit " + folder.path().string());
  BOOST_TEST(fit.code == 65);
  BOOST_TEST(contains(fit.err, "mixed origin"));
  BOOST_TEST(contains(fit.err, "corpus_sha256"));
  BOOST_TEST(contains(fit.err, other.summary.id));
}

BOOST_AUTO_TEST_CASE(an_unfinished_run_by_two_builds_is_concluded_only_on_demand) {
  const Folder folder;
  pg::test::write_synthetic_grid(folder.path(), small());
  const pg::record::RunDirectory run(folder.path());
  fs::remove_all(run.trial_folder("b0016_lr3e-05_s42"));
  const fs::path file = run.metrics_file("b0064_lr3e-05_s42");
  pg::record::TrialRecord trial = pg::record::read_trial(file);
  trial.summary.launch = "launch-2";
  pg::record::write_trial(file, trial);
  pg::write_file(run.provenance_file(),
                 R"({"launches": [{"id": "launch-1", "version": "0.1.0"},
                                  {"id": "launch-2", "version": "0.2.0"}]})");
  const Run refused = pgpost("fit " + folder.path().string());
  BOOST_TEST(refused.code == 65);
  BOOST_TEST(contains(refused.err, "version: 0.1.0 in "), refused.err);
  BOOST_TEST(contains(refused.err, "--allow-mixed"));
  const Run fit = pgpost("fit --allow-mixed --format json " + folder.path().string());
  BOOST_TEST(fit.code == 0, fit.err);
  BOOST_TEST(pgpost("fit --strict --allow-mixed " + folder.path().string()).code == 65);
  const json out = json::parse(fit.out);
  std::string text;
  for (const json& w : out["warnings"]) {
    text += w["code"].get<std::string>() + ": " + w["text"].get<std::string>() + "\n";
  }
  BOOST_TEST(contains(text, "incomplete_grid: Only 17 of 18"), text);
  BOOST_TEST(contains(text, "0.2.0 in " + (folder.path() / "b0064_lr3e-05_s42").string()), text);
  BOOST_TEST(contains(pg::read_file(folder.path() / "RESULTS.md"),
                      "| batch 16, learning rate 3e-05 | missing"));
}

BOOST_AUTO_TEST_CASE(one_law_at_a_time) {
  const Folder folder;
  const pg::record::RunDirectory run(folder.path());
  for (const auto& [alpha, beta] : {std::pair("0", 0.5), std::pair("0.5", 2.0 / 3)}) {
    SyntheticSurface surface = small();
    surface.noise = surface.skew = 0;
    surface.beta = beta;
    for (const std::int64_t b : surface.batches) {
      for (const double lr : surface.rates) {
        auto trial = pg::test::synthetic_trial(surface, "grid", b, lr, 42);
        trial.summary.varied.emplace_back("gate.alpha", alpha);
        trial.summary.id += std::string("_a") + alpha;
        pg::record::write_trial(run.metrics_file(trial.summary.id), trial);
      }
    }
  }
  const Run both = pgpost("fit " + folder.path().string());
  BOOST_TEST(both.code == 65);
  BOOST_TEST(contains(both.err, "--where gate.alpha=0"));
  const Run one = pgpost("fit " + folder.path().string() + " --where gate.alpha=0.5");
  BOOST_TEST(one.code == 0, one.err);
  const json out =
      json::parse(pg::read_file(folder.path() / "where gate.alpha=0.5" / "scaling_fit.json"));
  BOOST_TEST(std::abs(out["beta"].get<double>() - 2.0 / 3) < 1e-9);
  BOOST_TEST(out["where"] == "gate.alpha=0.5");
  const Run none = pgpost("fit " + folder.path().string() + " --where gate.alpha=0.7");
  BOOST_TEST(none.code == 65);
  BOOST_TEST(contains(none.err, "gate.alpha=0.5"));
}

BOOST_AUTO_TEST_CASE(without_gnuplot_the_rest_is_written) {
  const Folder folder;
  pg::test::write_synthetic_grid(folder.path(), small());
  const Run fit = pgpost("fit " + folder.path().string(), "PATH=/nowhere ");
  BOOST_TEST(fit.code == 74);
  BOOST_TEST(contains(fit.err, "gnuplot was not found"));
  BOOST_TEST(fs::exists(folder.path() / "scaling_fit.json"));
  BOOST_TEST(contains(pg::read_file(folder.path() / "RESULTS.md"), "gnuplot was not found"));
}

BOOST_AUTO_TEST_CASE(wrong_command_lines_name_the_right_ones) {
  const Run option = pgpost("fit --fromat json");
  BOOST_TEST(option.code == 64);
  BOOST_TEST(contains(option.err, "--format"));
  const Run command = pgpost("statsu");
  BOOST_TEST(command.code == 64);
  BOOST_TEST(contains(command.err, "status"));
  BOOST_TEST(pgpost("plot --format json").code == 64);
  BOOST_TEST(pgpost("fit --format yaml").code == 64);
  BOOST_TEST(pgpost("").code == 64);
  BOOST_TEST(pgpost("--help").code == 0);
  BOOST_TEST(pgpost("--version").code == 0);
}

BOOST_AUTO_TEST_CASE(folders_without_a_run) {
  const Folder folder;
  for (const char* command : {"fit", "plot", "report", "status"}) {
    const Run empty = pgpost(std::string(command) + " " + folder.path().string());
    BOOST_TEST(empty.code == 65, command);
    BOOST_TEST(contains(empty.err, "try:"), command);
    BOOST_TEST(pgpost(std::string(command) + " " + (folder.path() / "none").string()).code == 65);
  }
  BOOST_TEST(fs::is_empty(folder.path()));
  pg::test::write_synthetic_grid(folder.path(), small());
  pg::write_file(folder.path() / "study.yaml", "analysis:\n  kindd: batch_scaling\n");
  const Run study = pgpost("fit " + folder.path().string());
  BOOST_TEST(study.code == 65);
  BOOST_TEST(contains(study.err, "kind"));
}

BOOST_AUTO_TEST_CASE(status_of_running_killed_and_finished_runs) {
  const Folder folder;
  const auto write = [&](const std::string& state) {
    const json progress = {
        {"format_version", 1},
        {"state", state},
        {"updated_unix", 1000.0},
        {"stage", "grid"},
        {"planned", 49},
        {"finished", 10},
        {"diverged", 2},
        {"failed", 1},
        {"running", {{{"id", "b0064_lr0.001_s42"}, {"rank", 1}, {"step", 120}, {"steps", 5000}}}},
        {"tokens_done", 1e6},
        {"tokens_total", 1e7},
        {"tokens_per_s", 12345.0},
        {"seconds_left", 730.0}};
    pg::write_file(folder.path() / "progress.json", progress.dump());
  };
  write("running");
  auto status = pg::post::read_status(folder.path(), 1010);
  BOOST_TEST(status.state == "running");
  const std::string text = pg::post::status_text(status);
  for (const char* part : {"13 of 49 done", "2 diverged", "1 failed", "12.3 k tokens/s",
                           "12 min 10 s", "b0064_lr0.001_s42  step 120 of 5000", "10 s ago"}) {
    BOOST_TEST(contains(text, part), part << " is not in " << text);
  }
  status = pg::post::read_status(folder.path(), 1061);
  BOOST_TEST(status.state == "killed");
  BOOST_TEST(contains(pg::post::status_text(status), "run the same pgmpi command again"));
  write("stopped");
  status = pg::post::read_status(folder.path(), 5000);
  BOOST_TEST(status.state == "stopped");
  BOOST_TEST(contains(status.advice, "again"));
  const json out = json::parse(pg::post::status_json(status));
  BOOST_TEST(out["planned"] == 49);
  BOOST_TEST(out["running"][0]["step"] == 120);

  pg::write_file(folder.path() / "progress.json", "{\"state\": 3");
  pg::test::write_synthetic_trial(folder.path(), realistic(), "grid", 64, 1e-3);
  status = pg::post::read_status(folder.path(), 5000);
  BOOST_TEST(status.state == "unknown");
  BOOST_TEST(status.finished == 1);
  BOOST_REQUIRE(status.damaged.size() == 1);
  BOOST_TEST(status.damaged[0].id == "progress.json");
  fs::remove(folder.path() / "progress.json");
  status = pg::post::read_status(folder.path(), 5000);
  BOOST_TEST(status.finished == 1);
  BOOST_TEST(status.damaged.empty());
  BOOST_TEST(contains(pg::post::status_text(status), "counted from the trials"));
}

BOOST_AUTO_TEST_CASE(generations_are_listed_verified_and_compared) {
  const Folder folder;
  const auto file = [&](const std::string& name) { return folder.path() / "generations" / name; };
  auto sample = pg::testing::sample(7);
  pg::testing::save_sample(sample, file("step_000000007.h5"));
  const std::string a = file("step_000000007.h5").string();
  sample.content.integers["elapsed_ms"] = 5;  // time is no content
  pg::testing::save_sample(sample, folder.path() / "again.h5");
  Run run = pgpost("checkpoint diff " + a + " " + (folder.path() / "again.h5").string());
  BOOST_TEST(run.code == 0);
  BOOST_TEST(run.out.find("the same: all") != std::string::npos);

  sample.bytes[0][0] ^= std::byte{1};
  pg::testing::save_sample(sample, folder.path() / "other.h5");
  run = pgpost("checkpoint diff --format json " + a + " " + (folder.path() / "other.h5").string());
  BOOST_TEST(run.code == 1);
  const json diff = json::parse(run.out);
  BOOST_TEST(diff.at("arrays").size() == 1U);
  BOOST_TEST(diff.at("arrays")[0].at("name") == "parameters/embedding");
  BOOST_TEST(diff.at("arrays")[0].at("n_different") == 1);

  run = pgpost("checkpoint verify " + folder.path().string());
  BOOST_TEST(run.code == 0);
  BOOST_TEST(run.out.find("1 generations, 0 damaged") != std::string::npos);
  std::string bytes = pg::read_file(a);
  bytes[bytes.size() - 9] ^= 1;
  pg::write_in_place(a, bytes);
  run = pgpost("checkpoint verify --format json " + a);
  BOOST_TEST(run.code == 65);
  BOOST_TEST(json::parse(run.out)[0].at("problem").get<std::string>().find("damaged") !=
             std::string::npos);
  BOOST_TEST(pgpost("checkpoint ls " + a).code == 0);  // the list reads no array
  BOOST_TEST(pgpost("checkpoint ls /nowhere").code == 64);
  BOOST_TEST(pgpost("checkpoint").code == 64);
}
