#define BOOST_TEST_MODULE record
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <limits>
#include <string>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/h5_file.hpp"
#include "base/hash.hpp"
#include "record/run_directory.hpp"
#include "record/trial_record.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::record;
using pg::testing::check_error;
using pg::testing::FullDisk;
using pg::testing::ScratchFolder;

namespace {

/// A record in which every field differs from its default and from its neighbours.
TrialRecord sample_record() {
  TrialRecord record;
  TrialSummary& s = record.summary;
  s.id = "b0064_lr0.001_s42";
  s.stage = "refine";
  s.status = TrialStatus::finished;
  s.reason = "α, \"quoted\"\nand a second line";
  s.varied = {{"train.batch", "64"}, {"optimizer.lr", "0.001"}, {"gate.kind", "paGELU, ½"}};
  s.batch = 64;
  s.lr = 0.001;
  s.seed = 0xFFFFFFFFFFFFFFFFULL;
  s.n_parameters = 135'808;
  s.steps = 5000;
  s.tokens = 5000LL * 64 * 256;
  s.epochs = 81.6;
  s.final_val_loss = 0.1 + 0.2;
  s.final_val_loss_se = 1e-3 / 3;
  s.n_tail_evals = 11;
  s.best_val_loss = 0.29;
  s.final_train_loss = 0.28;
  s.train_loss_sd = 0.011;
  s.drift_per_step = -1.5e-7;
  s.drift_p = 0.4;
  s.converged = true;
  s.clip_fraction = 0.125;
  s.seconds = 321.5;
  s.forward_flops = 123456;
  s.peak_fraction = 0.47;
  s.peak_memory_mb = 312.5;
  s.predicted_memory_mb = 298.25;
  s.plain_operators = "gate 8; linear 24";
  s.inference_s = 1.5e-3;
  s.parameter_hash = std::string(64, 'f');
  s.launch = "launch-2";
  s.team_size = 4;
  s.reproducible = "fast";
  record.event_step = {17, 90};
  record.event_kind = {0, 1};
  record.event_target = {0, 80};
  record.tails_step = {100, 200};
  record.gradient_tails = std::vector<double>(2 * pg::record::kGradientTails, 3.5);
  record.noise_tails = std::vector<double>(2 * pg::record::kNoiseTails, 1.9);
  record.settings_yaml = "train:\n  batch: 64\n";
  record.corpus_sha256 = std::string(64, '8');
  for (std::int64_t step = 1; step <= 200; ++step) {
    record.train_step.push_back(step);
    record.train_loss.push_back(4.0 / static_cast<double>(step));
    record.grad_norm.push_back(1.0 + 1.0 / static_cast<double>(step));
    record.lr.push_back(1e-5 * static_cast<double>(step));
    if (step % 10 == 0) {
      record.val_step.push_back(step);
      record.val_loss.push_back(5.0 / static_cast<double>(step));
      record.alpha.insert(record.alpha.end(), {0.25, 0.75});
    }
  }
  return record;
}

void check_same(const TrialRecord& a, const TrialRecord& b) {
  const TrialSummary& s = a.summary;
  const TrialSummary& t = b.summary;
  BOOST_TEST(s.id == t.id);
  BOOST_TEST(s.stage == t.stage);
  BOOST_TEST(to_string(s.status) == to_string(t.status));
  BOOST_TEST(s.reason == t.reason);
  BOOST_TEST((s.varied == t.varied));
  BOOST_TEST(s.batch == t.batch);
  BOOST_TEST(s.lr == t.lr);
  BOOST_TEST(s.seed == t.seed);
  BOOST_TEST(s.n_parameters == t.n_parameters);
  BOOST_TEST(s.steps == t.steps);
  BOOST_TEST(s.tokens == t.tokens);
  BOOST_TEST(s.epochs == t.epochs);
  BOOST_TEST(s.final_val_loss == t.final_val_loss);
  BOOST_TEST(s.final_val_loss_se == t.final_val_loss_se);
  BOOST_TEST(s.n_tail_evals == t.n_tail_evals);
  BOOST_TEST(s.best_val_loss == t.best_val_loss);
  BOOST_TEST(s.final_train_loss == t.final_train_loss);
  BOOST_TEST(s.train_loss_sd == t.train_loss_sd);
  BOOST_TEST(s.drift_per_step == t.drift_per_step);
  BOOST_TEST(s.drift_p == t.drift_p);
  BOOST_TEST(s.converged == t.converged);
  BOOST_TEST(s.clip_fraction == t.clip_fraction);
  BOOST_TEST(s.seconds == t.seconds);
  BOOST_TEST(s.forward_flops == t.forward_flops);
  BOOST_TEST(s.peak_fraction == t.peak_fraction);
  BOOST_TEST(s.peak_memory_mb == t.peak_memory_mb);
  BOOST_TEST(s.predicted_memory_mb == t.predicted_memory_mb);
  BOOST_TEST(s.plain_operators == t.plain_operators);
  BOOST_TEST(s.inference_s == t.inference_s);
  BOOST_TEST(a.alpha == b.alpha, boost::test_tools::per_element());
  BOOST_TEST(a.tails_step == b.tails_step, boost::test_tools::per_element());
  BOOST_TEST(a.gradient_tails == b.gradient_tails, boost::test_tools::per_element());
  BOOST_TEST(a.noise_tails == b.noise_tails, boost::test_tools::per_element());
  BOOST_TEST(s.parameter_hash == t.parameter_hash);
  BOOST_TEST(s.launch == t.launch);
  BOOST_TEST(s.team_size == t.team_size);
  BOOST_TEST(s.reproducible == t.reproducible);
  BOOST_TEST(a.event_step == b.event_step, boost::test_tools::per_element());
  BOOST_TEST(a.event_kind == b.event_kind, boost::test_tools::per_element());
  BOOST_TEST(a.event_target == b.event_target, boost::test_tools::per_element());
  BOOST_TEST(a.settings_yaml == b.settings_yaml);
  BOOST_TEST(a.corpus_sha256 == b.corpus_sha256);
  BOOST_TEST(a.train_step == b.train_step, boost::test_tools::per_element());
  BOOST_TEST(a.train_loss == b.train_loss, boost::test_tools::per_element());
  BOOST_TEST(a.grad_norm == b.grad_norm, boost::test_tools::per_element());
  BOOST_TEST(a.lr == b.lr, boost::test_tools::per_element());
  BOOST_TEST(a.val_step == b.val_step, boost::test_tools::per_element());
  BOOST_TEST(a.val_loss == b.val_loss, boost::test_tools::per_element());
}

/// The same file, saying that it is of another version.
void set_version(const std::filesystem::path& file, char version) {
  constexpr std::size_t kBlock = 512;
  const std::string bytes = pg::read_file(file);
  std::string image = bytes.substr(kBlock);
  const std::string current =
      std::string(1, static_cast<char>(kTrialFormatVersion)) + std::string(7, '\0');
  const std::size_t place = image.find(current, image.find("format_version"));
  BOOST_REQUIRE(place != std::string::npos);
  image[place] = version;
  std::string mark = "pgmpi sha256 " + pg::sha256_hex(image);
  mark.resize(kBlock, '\n');
  pg::write_in_place(file, mark + image);
}

void check_damaged(const std::filesystem::path& file) {
  check_error([&] { (void)read_trial(file); }, ExitCode::bad_data, {file.string()});
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_record_comes_back_as_it_was) {
  const ScratchFolder folder;
  const TrialRecord record = sample_record();
  write_trial(folder / "trials/a/metrics.h5", record);
  check_same(read_trial(folder / "trials/a/metrics.h5"), record);

  TrialRecord diverged = record;
  diverged.summary.status = TrialStatus::diverged;
  diverged.summary.converged = false;
  diverged.val_step.clear();
  diverged.val_loss.clear();
  write_trial(folder / "trials/a/metrics.h5", diverged);  // replaces
  check_same(read_trial(folder / "trials/a/metrics.h5"), diverged);
}

BOOST_AUTO_TEST_CASE(a_record_whose_series_disagree_is_not_written) {
  const ScratchFolder folder;
  TrialRecord record = sample_record();
  write_trial(folder / "metrics.h5", record);
  record.grad_norm.pop_back();
  BOOST_CHECK_THROW(write_trial(folder / "metrics.h5", record), Error);
  check_same(read_trial(folder / "metrics.h5"), sample_record());
  BOOST_TEST(folder.n_entries() == 1U);
}

BOOST_AUTO_TEST_CASE(a_full_disk_keeps_the_old_record) {
  const ScratchFolder folder;
  write_trial(folder / "metrics.h5", sample_record());
  TrialRecord longer = sample_record();
  longer.settings_yaml += "more: true\n";
  {
    const FullDisk limit(2000);
    check_error([&] { write_trial(folder / "metrics.h5", longer); }, ExitCode::input_output,
                {"metrics.h5", "free space"});
  }
  check_same(read_trial(folder / "metrics.h5"), sample_record());
  BOOST_TEST(folder.n_entries() == 1U);
}

BOOST_AUTO_TEST_CASE(a_file_cut_short_anywhere_is_refused) {
  const ScratchFolder folder;
  write_trial(folder / "whole.h5", sample_record());
  const std::string bytes = read_file(folder / "whole.h5");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{12}, std::size_t{77}, std::size_t{511},
        std::size_t{512}, std::size_t{513}, bytes.size() / 2, bytes.size() - 1}) {
    write_file(folder / "cut.h5", bytes.substr(0, size));
    check_damaged(folder / "cut.h5");
  }
  write_file(folder / "cut.h5", bytes + '\0');
  check_damaged(folder / "cut.h5");
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_anywhere_is_refused) {
  const ScratchFolder folder;
  write_trial(folder / "whole.h5", sample_record());
  std::string bytes = read_file(folder / "whole.h5");
  for (std::size_t i = 0; i < bytes.size(); i += i < 600 ? 1 : 17) {
    const char flip = static_cast<char>(1 << (i % 8));
    bytes[i] = static_cast<char>(bytes[i] ^ flip);
    write_in_place(folder / "flipped.h5", bytes);
    BOOST_REQUIRE_THROW((void)read_trial(folder / "flipped.h5"), InvalidInput);
    bytes[i] = static_cast<char>(bytes[i] ^ flip);
  }
  check_damaged([&] {
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    write_file(folder / "flipped.h5", bytes);
    return folder / "flipped.h5";
  }());
}

BOOST_AUTO_TEST_CASE(older_versions_are_read_without_what_they_lacked) {
  const ScratchFolder folder;
  const auto file = folder / "metrics.h5";
  for (const char version : {1, 2, 3, 4, 5}) {
    TrialRecord record = sample_record();
    write_trial(file, record);
    set_version(file, version);
    record.summary.plain_operators.clear();
    if (version < 5) record.summary.predicted_memory_mb = 0;
    if (version >= 4) {
      check_same(read_trial(file), record);
      continue;
    }
    if (version < 3) record.event_step = record.event_kind = record.event_target = {};
    record.alpha = record.gradient_tails = record.noise_tails = {};
    record.tails_step = {};
    record.summary.forward_flops = record.summary.peak_fraction = 0;
    record.summary.peak_memory_mb = record.summary.inference_s = 0;
    if (version == 1) {
      record.summary.team_size = 1;
      record.summary.reproducible = "strict";
    }
    check_same(read_trial(file), record);
  }
}

BOOST_AUTO_TEST_CASE(foreign_files_are_refused_by_name) {
  const ScratchFolder folder;
  check_error([&] { (void)read_trial(folder / "missing.h5"); }, ExitCode::input_output,
              {"missing.h5"});
  write_file(folder / "text.h5", "this is no HDF5 file\n");
  check_damaged(folder / "text.h5");
  const auto write = [&](const std::string& name, const std::string& format, std::int64_t version) {
    h5::Writer out(folder / name);
    out.attribute("format", format);
    out.attribute("format_version", version);
    out.close();
    return folder / name;
  };
  check_damaged(write("other.h5", "pgmpi generation", kTrialFormatVersion));
  check_damaged(write("bare.h5", "pgmpi trial", kTrialFormatVersion));  // and nothing else in it
  check_damaged(write("zero.h5", "pgmpi trial", 0));
  const auto future = write("future.h5", "pgmpi trial", kTrialFormatVersion + 1);
  check_error([&] { (void)read_trial(future); }, ExitCode::bad_data,
              {future.string(), "format version", "newer"});
  {
    h5::Writer out(folder / "unmarked.h5");
    out.dataset("data", std::vector<double>{1, 2, 3});
    out.close();
  }
  check_damaged(folder / "unmarked.h5");
}

BOOST_AUTO_TEST_CASE(words_of_the_status) {
  for (const auto status : {TrialStatus::finished, TrialStatus::diverged, TrialStatus::failed}) {
    BOOST_TEST((trial_status(to_string(status)) == status));
  }
  check_error([] { (void)trial_status("done"); }, ExitCode::bad_data, {"done", "finished"});
}

BOOST_AUTO_TEST_CASE(a_scan_sorts_and_lists_the_damaged) {
  const ScratchFolder folder;
  const RunDirectory run(folder.path());
  BOOST_TEST(scan_trials(run).records.empty());  // no trials folder yet
  const auto put = [&](const std::string& id, const std::string& stage) {
    TrialRecord record = sample_record();
    record.summary.id = id;
    record.summary.stage = stage;
    write_trial(run.metrics_file(id), record);
  };
  put("b0001_t", "transfer");
  put("b0064_b", "grid");
  put("b0008_r", "refine");
  put("b0064_a", "grid");
  put("b0512_z", "grid");
  write_file(run.metrics_file("b0016_cut"), "short");
  write_file(run.metrics_file("b0008_cut"), "");
  std::filesystem::create_directories(run.trial_folder("b0032_not_begun"));
  write_file(run.trials_folder() / "stray file", "x");

  const Scan scan = scan_trials(run);
  std::vector<std::string> ids;
  for (const TrialRecord& record : scan.records) ids.push_back(record.summary.id);
  const std::vector<std::string> expected = {"b0064_a", "b0064_b", "b0512_z", "b0008_r", "b0001_t"};
  BOOST_TEST(ids == expected, boost::test_tools::per_element());
  BOOST_REQUIRE(scan.damaged.size() == 2U);
  BOOST_TEST(scan.damaged[0].id == "b0008_cut");
  BOOST_TEST(scan.damaged[1].id == "b0016_cut");
  BOOST_TEST(scan.damaged[1].file == run.metrics_file("b0016_cut"));
  BOOST_TEST(scan.damaged[1].reason.find("b0016_cut") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(results_csv_reads_back) {
  const ScratchFolder folder;
  const auto file = folder / "results.csv";
  TrialSummary finished = sample_record().summary;
  TrialSummary diverged = finished;
  diverged.id = "b0064_lr0.03_s42";
  diverged.status = TrialStatus::diverged;
  diverged.reason = "the loss of step 17 is nan, not a number";
  write_results_csv(file, {finished, diverged});
  const CsvTable table = parse_csv(read_file(file), file.string());
  BOOST_REQUIRE(table.rows.size() == 2U);
  const auto cell = [&](std::size_t row, const std::string& column) {
    return table.rows[row][table.column(column)];
  };
  BOOST_TEST(cell(0, "id") == finished.id);
  BOOST_TEST(cell(0, "stage") == "refine");
  BOOST_TEST(cell(0, "status") == "finished");
  BOOST_TEST(cell(0, "gate.kind") == "paGELU, ½");
  BOOST_TEST(cell(0, "seed") == "18446744073709551615");
  BOOST_TEST(cell(0, "batch") == "64");
  BOOST_TEST(std::stod(cell(0, "lr")) == finished.lr);
  BOOST_TEST(std::stod(cell(0, "final_val_loss")) == finished.final_val_loss);
  BOOST_TEST(std::stod(cell(0, "final_val_loss_se")) == finished.final_val_loss_se);
  BOOST_TEST(std::stod(cell(0, "drift_per_step")) == finished.drift_per_step);
  BOOST_TEST(cell(0, "converged") == "true");
  BOOST_TEST(cell(0, "reason") == finished.reason);
  BOOST_TEST(cell(1, "status") == "diverged");
  BOOST_TEST(cell(1, "final_val_loss").empty());
  BOOST_TEST(cell(1, "best_val_loss").empty());
  BOOST_TEST(cell(1, "reason") == diverged.reason);

  finished.final_train_loss = std::numeric_limits<double>::quiet_NaN();  // every step was skipped
  write_results_csv(file, {finished});
  const CsvTable skipped = parse_csv(read_file(file), file.string());
  BOOST_TEST(skipped.rows[0][skipped.column("final_train_loss")].empty());
  BOOST_TEST(!skipped.rows[0][skipped.column("final_val_loss")].empty());

  write_results_csv(file, {});
  BOOST_TEST(parse_csv(read_file(file), file.string()).rows.empty());

  diverged.varied.pop_back();
  BOOST_CHECK_THROW(write_results_csv(file, {finished, diverged}), InternalError);
}

BOOST_AUTO_TEST_CASE(what_a_killed_launch_left_half_written_is_removed) {
  const ScratchFolder folder;
  const RunDirectory run(folder.path());
  const auto half = run.progress_file().string() + ".pending-17";
  const auto half_trial = run.metrics_file("a").string() + ".pending-18";
  make_folder(run.generations_folder("a"));
  make_folder(run.ranks_folder());
  const auto rank = run.ranks_folder() / "rank_0.pending-19";
  const auto generation = run.generations_folder("a") / "step_000000001.h5.pending";
  for (const std::filesystem::path& file :
       {std::filesystem::path(half), std::filesystem::path(half_trial), rank, generation,
        run.progress_file(), run.metrics_file("a")}) {
    write_in_place(file, "x");
  }
  remove_unfinished(run);
  BOOST_TEST(!std::filesystem::exists(half));
  BOOST_TEST(!std::filesystem::exists(half_trial));
  BOOST_TEST(std::filesystem::exists(rank));
  BOOST_TEST(std::filesystem::exists(generation));
  BOOST_TEST(std::filesystem::exists(run.progress_file()));
  BOOST_TEST(std::filesystem::exists(run.metrics_file("a")));
  remove_unfinished(RunDirectory(folder / "absent"));
}
