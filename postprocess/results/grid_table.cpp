#include "postprocess/results/grid_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/csv.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace pg::post {
namespace {

using record::TrialStatus;
using record::TrialSummary;

std::string lower(std::string_view text) {
  std::string out(trim(text));
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

void set_loss(const std::string& cell, const std::string& place, TrialSummary& s) {
  const std::string word = lower(cell);
  if (word.empty() || word == "na" || word == "n/a" || word == "missing") {
    s.status = TrialStatus::failed;
    s.reason = "the table has no loss here";
    return;
  }
  if (word == "nan" || word == "inf" || word == "+inf" || word == "infinity" ||
      word == "diverged") {
    s.status = TrialStatus::diverged;
    s.reason = "the table says " + word;
    return;
  }
  const auto loss = parse_real(word);
  if (!loss) {
    throw_data(fmt::format("{}: the loss is \"{}\"", place, cell),
               "a number; nothing or NA for a missing run; nan, inf or diverged for a diverged one",
               "correct that cell");
  }
  s.final_val_loss = *loss;
  s.best_val_loss = *loss;
}

constexpr std::size_t kNoColumn = static_cast<std::size_t>(-1);

/// Where the columns are.
struct Places {
  std::size_t batch = 0;
  std::size_t lr = 0;
  std::size_t loss = kNoColumn;
  std::size_t seed = kNoColumn;
};

[[noreturn]] void refuse(const std::string& place, const std::string& column,
                         const std::string& cell, const std::string& expected) {
  throw_data(fmt::format("{}: {} is \"{}\"", place, column, cell), expected,
             "correct that cell, or name another column");
}

TrialSummary read_row(const std::vector<std::string>& row, const Places& at,
                      const GridColumns& columns, const std::string& place) {
  TrialSummary s;
  const auto batch = parse_real(trim(row[at.batch]));
  if (!batch || *batch < 1 || *batch != std::floor(*batch) || *batch > 1e15) {
    refuse(place, columns.batch, row[at.batch], "a whole number of 1 or more");
  }
  const auto lr = parse_real(trim(row[at.lr]));
  if (!lr || !(*lr > 0)) refuse(place, columns.lr, row[at.lr], "a number above zero");
  if (at.seed != kNoColumn) {
    const auto seed = parse_integer(trim(row[at.seed]));
    if (!seed || *seed < 0) {
      refuse(place, columns.seed, row[at.seed], "a whole number of 0 or more");
    }
    s.seed = static_cast<std::uint64_t>(*seed);
  }
  s.batch = static_cast<std::int64_t>(*batch);
  s.lr = *lr;
  s.stage = "grid";
  s.converged = true;  // a table does not say; nothing is warned of
  s.varied = {{"train.batch", std::to_string(s.batch)}, {"optimizer.lr", shortest(s.lr)}};
  if (at.loss != kNoColumn) set_loss(row[at.loss], place, s);
  return s;
}

void refuse_repeated(const RunResults& results, const TrialSummary& s, bool has_seed) {
  for (const record::TrialRecord& earlier : results.trials) {
    const TrialSummary& e = earlier.summary;
    if (e.batch != s.batch || e.seed != s.seed || !same_lr(e.lr, s.lr)) continue;
    throw_data(
        fmt::format("{} repeats {}", s.id, e.id),
        has_seed ? "one row for each batch, learning rate and seed"
                 : "one row for each batch and learning rate",
        has_seed ? "remove one of them" : "name the column that tells them apart: --seed-column");
  }
}

RunResults empty_results(const std::filesystem::path& csv, const std::string& text) {
  RunResults results;
  results.table = csv;
  results.table_sha256 = sha256_hex(text);
  results.study.name = csv.stem().string();
  results.study.question.clear();
  return results;
}

}  // namespace

RunResults read_grid(const std::filesystem::path& csv, const GridColumns& columns) {
  const std::string text = read_file(csv);
  const CsvTable table = parse_csv(text, csv.string());
  Places at;
  at.batch = table.column(columns.batch);
  at.lr = table.column(columns.lr);
  at.loss = table.column(columns.loss);
  const bool has_seed = !columns.seed.empty();
  if (has_seed) at.seed = table.column(columns.seed);
  RunResults results = empty_results(csv, text);
  bool any = false;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    record::TrialRecord trial;
    TrialSummary& s = trial.summary;
    s = read_row(table.rows[i], at, columns, fmt::format("{}:{}", csv.string(), table.lines[i]));
    s.id = fmt::format("line {} (batch {}, learning rate {})", table.lines[i], s.batch,
                       shortest(s.lr));
    refuse_repeated(results, s, has_seed);
    any = any || s.status == TrialStatus::finished;
    trial.corpus_sha256 = results.table_sha256;
    results.trials.push_back(std::move(trial));
  }
  if (!any) {
    throw_data(csv.string() + " has no row with a loss", "at least one run that finished",
               "check the name of the loss column: " + columns.loss);
  }
  results.planned_grid_trials = count_planned_trials(results);
  return results;
}

RunResults read_optima(const std::filesystem::path& csv, const std::string& batch_column,
                       const std::string& lr_column, const std::vector<double>& rates) {
  const std::string text = read_file(csv);
  const CsvTable table = parse_csv(text, csv.string());
  Places at;
  at.batch = table.column(batch_column);
  at.lr = table.column(lr_column);
  const GridColumns columns{batch_column, lr_column, "", ""};
  RunResults results = empty_results(csv, text);
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::string place = fmt::format("{}:{}", csv.string(), table.lines[i]);
    record::TrialRecord trial;
    TrialSummary& s = trial.summary;
    s = read_row(table.rows[i], at, columns, place);
    s.id = fmt::format("line {} (batch {})", table.lines[i], s.batch);
    for (const record::TrialRecord& earlier : results.trials) {
      if (earlier.summary.batch != s.batch) continue;
      throw_data(fmt::format("{} repeats {}", s.id, earlier.summary.id),
                 "one best learning rate for each batch",
                 "give the table of all losses with --x BATCH,LR --y LOSS");
    }
    const bool on_grid =
        std::any_of(rates.begin(), rates.end(), [&](double rate) { return same_lr(rate, s.lr); });
    if (!rates.empty() && !on_grid) {
      throw_data(fmt::format("{}: the learning rate {} is not on the grid", place, shortest(s.lr)),
                 "one of the rates given with --grid", "correct --grid, or leave it out");
    }
    trial.corpus_sha256 = results.table_sha256;
    results.trials.push_back(std::move(trial));
  }
  if (results.trials.empty()) {
    throw_data(csv.string() + " has a header and no row", "one row for each batch size",
               "check that this is the right file");
  }
  results.planned_grid_trials = 0;  // the trials behind the optima are not in the table
  return results;
}

}  // namespace pg::post
