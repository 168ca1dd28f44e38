// pgpost tails: run directories with known estimates in; numbers, words and files out.
#define BOOST_TEST_MODULE tails_command
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/study.hpp"
#include "postprocess/fits/gradient_tails.hpp"
#include "postprocess/pgpost_program.hpp"
#include "postprocess/plots/gradient_tails.hpp"
#include "postprocess/report/tails_report.hpp"
#include "record/run_directory.hpp"
#include "support/support.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;
using nlohmann::json;
using pg::test::pgpost;
using pg::test::Run;
using pg::testing::ScratchFolder;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

pg::record::TrialRecord bare_trial(const std::string& id, double lr) {
  pg::record::TrialRecord t;
  t.summary.id = id;
  t.summary.stage = "grid";
  t.summary.batch = 64;
  t.summary.lr = lr;
  t.summary.seed = 1;
  t.summary.launch = "launch-1";
  pg::config::Settings settings;
  settings.optimizer.lr = lr;
  t.settings_yaml = pg::config::print_settings(settings);
  t.corpus_sha256 = std::string(64, 'c');
  return t;
}

/// Three steps. Gradient: 0.94 of the Gaussian curve, near enough, at every k. Noise: mixed; one
/// column is NaN throughout (k = 0.2), one at a single step (k = 0.01).
pg::record::TrialRecord known_trial() {
  pg::record::TrialRecord t = bare_trial("known", 1e-3);
  t.tails_step = {100, 200, 300};
  t.gradient_tails = {8.4, 5.6, 4.4, 3.2, 1.5, 2.0,  //
                      8.6, 5.8, 4.6, 3.3, 1.7, 0.5,  //
                      8.2, 5.7, 4.3, 3.1, 1.4, 9.0};
  t.noise_tails = {kNaN, 5.9, 3.0, kNaN, 1.0, 3.0, 1.8,  //
                   5.0,  5.5, 3.3, kNaN, 1.2, 4.0, 1.9,  //
                   6.0,  5.8, 3.1, kNaN, 1.1, 2.5, 2.1};
  return t;
}

void write(const fs::path& root, const pg::record::TrialRecord& trial) {
  pg::record::write_trial(pg::record::RunDirectory(root).metrics_file(trial.summary.id), trial);
}

TailAnalysis analyse(const fs::path& root) {
  return analyse_tails(load_trials({root}, {}, true));
}

void check(const TailSummary& s, std::size_t n, double median, double low, double high) {
  BOOST_TEST(s.n == n);
  BOOST_TEST(s.median == median);
  BOOST_TEST(s.low == low);
  BOOST_TEST(s.high == high);
}

void check_json(const json& in, const TailSummary& s) {
  BOOST_TEST(in.at("n_steps") == s.n);
  for (const auto& [name, value] :
       {std::pair("median", s.median), std::pair("low", s.low), std::pair("high", s.high)}) {
    if (std::isfinite(value)) {
      BOOST_TEST(in.at(name).get<double>() == value);
    } else {
      BOOST_TEST(in.at(name).is_null());
    }
  }
}

void check_json(const json& in, const TailEstimate& e, const TailReference& reference) {
  BOOST_REQUIRE(in.at("hill").size() == kHills);
  for (std::size_t i = 0; i < kHills; ++i) {
    const json& entry = in["hill"][i];
    BOOST_TEST(entry.at("k_ratio").get<double>() == pg::measure::kHillRatios[i]);
    check_json(entry, e.hill[i]);
    if (e.hill[i].n == 0) {
      BOOST_TEST(entry.at("ratio_to_laplace").is_null());
      continue;
    }
    BOOST_TEST(entry.at("ratio_to_laplace").get<double>() ==
               e.hill[i].median / reference.laplace[i]);
    BOOST_TEST(entry.at("ratio_to_gaussian").get<double>() ==
               e.hill[i].median / reference.gaussian[i]);
  }
  check_json(in.at("ggd_shape"), e.ggd_shape);
  check_json(in.at("excess_kurtosis"), e.excess_kurtosis);
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_reference_is_the_known_table) {
  const TailReference reference = tail_reference();
  const double laplace[] = {5.47, 3.81, 3.09, 2.35};
  const double gaussian[] = {9.00, 6.00, 4.72, 3.44};
  for (std::size_t i = 0; i < kHills; ++i) {
    BOOST_TEST(std::abs(reference.laplace[i] - laplace[i]) < 0.005);
    BOOST_TEST(std::abs(reference.gaussian[i] - gaussian[i]) < 0.005);
  }
}

BOOST_AUTO_TEST_CASE(medians_and_ranges_by_hand) {
  // Two columns; an even number of values, one missing, an infinite one.
  const double rows[] = {1, 5, kNaN, 7, 4, INFINITY, 2, 6, 3, 8};
  check(summarise_column(rows, 2, 0), 4, 2.5, 1, 4);
  check(summarise_column(rows, 2, 1), 4, 6.5, 5, 8);
  const double none[] = {kNaN, kNaN};
  const TailSummary empty = summarise_column(none, 1, 0);
  BOOST_TEST(empty.n == 0U);
  BOOST_TEST((std::isnan(empty.median) && std::isnan(empty.low) && std::isnan(empty.high)));
}

BOOST_AUTO_TEST_CASE(a_trial_is_summarised_over_its_steps) {
  const ScratchFolder folder;
  write(folder.path(), known_trial());
  const TailAnalysis a = analyse(folder.path());
  BOOST_REQUIRE(a.trials.size() == 1U);
  const TrialTails& t = a.trials[0];
  check(t.gradient.hill[0], 3, 8.4, 8.2, 8.6);
  check(t.gradient.hill[1], 3, 5.7, 5.6, 5.8);
  check(t.gradient.hill[2], 3, 4.4, 4.3, 4.6);
  check(t.gradient.hill[3], 3, 3.2, 3.1, 3.3);
  check(t.gradient.ggd_shape, 3, 1.5, 1.4, 1.7);
  check(t.gradient.excess_kurtosis, 3, 2.0, 0.5, 9.0);
  BOOST_TEST(t.gradient.stable_index.n == 0U);
  check(t.noise.hill[0], 2, 5.5, 5.0, 6.0);
  check(t.noise.hill[1], 3, 5.8, 5.5, 5.9);
  check(t.noise.hill[2], 3, 3.1, 3.0, 3.3);
  BOOST_TEST(t.noise.hill[3].n == 0U);
  check(t.noise.ggd_shape, 3, 1.1, 1.0, 1.2);
  check(t.noise.excess_kurtosis, 3, 3.0, 2.5, 4.0);
  check(t.noise.stable_index, 3, 1.9, 1.8, 2.1);
  BOOST_TEST(tails_sentence(t) ==
             "By its medians, Hill's alpha of the gradient is nearer to the Gaussian curve at all "
             "four k (0.93 to 0.95 times it); that of the noise is mixed: nearer to the Laplace "
             "curve at k = 0.01, 0.1, to the Gaussian at 0.05.");
}

BOOST_AUTO_TEST_CASE(where_values_lie) {
  const TailReference reference = tail_reference();
  const auto at = [&](double share, std::size_t n) {
    TailEstimate e;
    for (std::size_t i = 0; i < n; ++i) {
      // share 0: the Laplace curve, 1: the Gaussian one, in equal factors between.
      const double alpha =
          reference.laplace[i] * std::pow(reference.gaussian[i] / reference.laplace[i], share);
      e.hill[i] = {1, alpha, alpha, alpha};
    }
    return position_of(e, reference);
  };
  BOOST_TEST((at(0.49, 4).nearer == NearerCurve::laplace));
  BOOST_TEST((at(0.51, 4).nearer == NearerCurve::gaussian));
  // Far beyond a curve is still nearer to it: the factors say how far.
  const double step = reference.laplace[3] / reference.gaussian[3];
  BOOST_TEST((at(-1, 4).nearer == NearerCurve::laplace));
  BOOST_TEST(std::abs(at(-1, 4).ratio_high - step) < 1e-12);
  BOOST_TEST(std::abs(at(-1, 4).ratio_low - reference.laplace[0] / reference.gaussian[0]) < 1e-12);
  BOOST_TEST((at(2, 4).nearer == NearerCurve::gaussian));
  BOOST_TEST(std::abs(at(2, 4).ratio_low * step - 1) < 1e-12);
  BOOST_TEST(at(0.2, 3).n_determined == 3U);
  const TailPosition none = at(0.2, 0);
  BOOST_TEST((none.nearer == NearerCurve::not_determined && std::isnan(none.ratio_low)));
  TrialTails t;
  t.gradient_position = at(0, 3);
  t.noise_position = none;
  BOOST_TEST(tails_sentence(t) ==
             "By its medians, Hill's alpha of the gradient is nearer to the Laplace curve at the 3 "
             "of four k with a value (1.00 to 1.00 times it); that of the noise is not determined "
             "at any k.");
}

BOOST_AUTO_TEST_CASE(the_command_prints_and_writes) {
  const ScratchFolder folder;
  const fs::path root = folder / "run";
  write(root, known_trial());
  write(root, bare_trial("silent", 3e-3));
  const Run run = pgpost("tails " + root.string());
  BOOST_TEST(run.code == 0, run.err);
  for (const char* part :
       {"Trials without estimates: 1 (silent).", "known: 3 recorded steps, 100 to 300",
        "independent coordinates", "8.2 to 8.6", "nearer to the Gaussian curve at all four k",
        "stable index", "1.8 to 2.1", "written to "}) {
    BOOST_TEST(contains(run.out, part), part << " is not in\n" << run.out);
  }

  const TailAnalysis a = analyse(root);
  const std::string written = pg::read_file(root / "tails.json");
  const json out = json::parse(written);
  BOOST_TEST(out.at("without_estimates") == json::array({"silent"}));
  BOOST_TEST(out.at("caveat").get<std::string>() == kTailsCaveat);
  for (std::size_t i = 0; i < kHills; ++i) {
    const json& r = out.at("hill_reference").at(i);
    BOOST_TEST(r.at("laplace").get<double>() == a.reference.laplace[i]);
    BOOST_TEST(r.at("gaussian").get<double>() == a.reference.gaussian[i]);
  }
  BOOST_REQUIRE(out.at("trials").size() == 1U);
  const json& trial = out["trials"][0];
  BOOST_TEST(trial.at("id") == "known");
  BOOST_TEST(trial.at("steps") == json({100, 200, 300}));
  check_json(trial.at("gradient"), a.trials[0].gradient, a.reference);
  check_json(trial.at("noise"), a.trials[0].noise, a.reference);
  check_json(trial.at("noise").at("stable_index"), a.trials[0].noise.stable_index);
  BOOST_TEST(trial["gradient"].at("hill_nearer_to") == "gaussian");
  BOOST_TEST(trial["noise"].at("hill_nearer_to") == "mixed");
  BOOST_TEST(!trial["gradient"].contains("stable_index"));

  const pg::CsvTable csv = pg::parse_csv(pg::read_file(root / "tails.csv"), "tails.csv");
  BOOST_TEST(csv.rows.size() == 3U);
  BOOST_TEST(csv.columns.size() == 2 + pg::record::kGradientTails + pg::record::kNoiseTails);
  const auto cell = [&](std::size_t row, const char* column) {
    return csv.rows.at(row).at(csv.column(column));
  };
  BOOST_TEST(cell(1, "step") == "200");
  BOOST_TEST(cell(1, "gradient_hill_1pct") == "8.6");
  BOOST_TEST(cell(2, "gradient_excess_kurtosis") == "9");
  BOOST_TEST(cell(0, "noise_hill_1pct").empty());
  BOOST_TEST(cell(0, "noise_hill_5pct") == "5.9");
  BOOST_TEST(cell(2, "noise_stable_index") == "2.1");

  BOOST_TEST(pg::read_file(root / "plots" / "gradient_tails.png").size() > 10000U);
  BOOST_TEST(contains(pg::read_file(root / "plots" / "gradient_tails.svg"), "</svg>"));
  // Two curves and one trial at four shares.
  BOOST_TEST(
      pg::parse_csv(pg::read_file(root / "plots" / "gradient_tails.csv"), "csv").rows.size() ==
      12U);

  // JSON on demand is the file; another folder holds the same.
  const fs::path other = folder / "other";
  const Run again = pgpost("tails --format json " + root.string() + " --output " + other.string());
  BOOST_TEST(again.out == written);
  BOOST_TEST(pg::read_file(other / "tails.json") == written);
}

BOOST_AUTO_TEST_CASE(a_selection_has_a_folder_of_its_own) {
  const ScratchFolder folder;
  write(folder.path(), known_trial());
  write(folder.path(), bare_trial("silent", 3e-3));
  const std::string command = "tails " + folder.path().string() + " --where optimizer.lr=";
  const Run one = pgpost(command + "0.001");
  BOOST_TEST(one.code == 0, one.err);
  BOOST_TEST(!contains(one.out, "silent"));
  BOOST_TEST(fs::exists(folder / "where optimizer.lr=0.001" / "tails.json"));
  BOOST_TEST(!fs::exists(folder / "tails.json"));
  const Run silent = pgpost(command + "0.003");
  BOOST_TEST(silent.code == 65);
  BOOST_TEST(contains(silent.err, "with optimizer.lr=0.003"), silent.err);
  BOOST_TEST(pgpost(command + "0.5").code == 65);
}

BOOST_AUTO_TEST_CASE(without_estimates_it_says_what_to_set) {
  const ScratchFolder folder;
  write(folder.path(), bare_trial("silent", 1e-3));
  const Run run = pgpost("tails " + folder.path().string());
  BOOST_TEST(run.code == 65);
  BOOST_TEST(contains(run.err, "none of the 1 trials recorded"), run.err);
  BOOST_TEST(contains(run.err, "measure.gradient_tails: 100"), run.err);
  BOOST_TEST(!fs::exists(folder / "tails.json"));
  BOOST_CHECK_EXCEPTION(analyse(folder.path()), pg::InvalidInput, [](const pg::Error& error) {
    return error.exit_code() == pg::ExitCode::bad_data;
  });
  BOOST_TEST(pgpost("tails " + (folder / "none").string()).code == 65);
}

BOOST_AUTO_TEST_CASE(damage_and_a_missing_gnuplot_are_said_and_the_rest_is_written) {
  const ScratchFolder folder;
  write(folder.path(), known_trial());
  const Run bare = pgpost("tails " + folder.path().string(), "PATH=/nowhere ");
  BOOST_TEST(bare.code == 74);
  BOOST_TEST(contains(bare.err, "gnuplot was not found"));
  BOOST_TEST(fs::exists(folder / "tails.csv"));
  pg::write_file(pg::record::RunDirectory(folder.path()).metrics_file("broken"), "no HDF5");
  const Run damaged = pgpost("tails " + folder.path().string());
  BOOST_TEST(damaged.code == 65);
  BOOST_TEST(contains(damaged.err, "broken"), damaged.err);
  BOOST_TEST(contains(damaged.out, "known: 3 recorded steps"));
  const json out = json::parse(pg::read_file(folder / "tails.json"));
  BOOST_TEST(out.at("left_out").size() == 1U);
}

BOOST_AUTO_TEST_CASE(the_picture_shows_twelve_trials_and_says_so) {
  TrialTable table;
  for (int i = 1; i <= 14; ++i) {
    const pg::record::TrialRecord known = known_trial();
    TrialRow row;
    row.id = fmt::format("t{:02}", i);
    row.tails_step = known.tails_step;
    row.gradient_tails = known.gradient_tails;
    row.noise_tails = known.noise_tails;
    table.rows.push_back(row);
  }
  const TailAnalysis a = analyse_tails(table);
  const Picture picture = gradient_tails(a);
  BOOST_TEST(picture.data.rows.size() == 8 + 12 * kHills);
  BOOST_TEST(picture.data.rows.back()[1] == "t12");
  BOOST_TEST(contains(picture.script, "the first 12 of 14 trials"));
  BOOST_TEST(contains(tails_text(a), "shows the first 12 (t01, t02, "));
  BOOST_TEST(json::parse(tails_json(a)).at("in_picture").size() == 12U);
  const ScratchFolder folder;
  draw(folder.path(), picture);
  BOOST_TEST(contains(pg::read_file(folder / "gradient_tails.svg"), "t12"));
}
