#include "postprocess/results/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "base/csv.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace pg::post {
namespace {

// Points this near to each other are likely one setting written with different precision.
constexpr double kSuspiciouslyNear = 0.01;

bool is_missing(const std::string& cell) {
  std::string word(trim(cell));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word.empty() || word == "na" || word == "n/a" || word == "nan";
}

/// One condition on a column: numbers compare as numbers, anything else as text.
struct Condition {
  std::size_t column;
  std::string relation;
  std::string value;

  [[nodiscard]] bool holds(const std::string& cell) const {
    const auto a = parse_real(trim(cell));
    const auto b = parse_real(value);
    const bool numbers = a && b;
    const bool equal = numbers ? *a == *b : trim(cell) == value;
    if (relation == "=") return equal;
    if (relation == "!=") return !equal;
    if (!numbers) return false;
    if (relation == "<") return *a < *b;
    if (relation == "<=") return *a <= *b;
    if (relation == ">") return *a > *b;
    return *a >= *b;
  }
};

Condition parse_condition(const std::string& text, const CsvTable& table) {
  // The longest relation at the first place wins: "a<=3" is no "a<" with "=3".
  static constexpr std::array<const char*, 6> kRelations = {"!=", "<=", ">=", "=", "<", ">"};
  const std::size_t at = text.find_first_of("!=<>", 1);
  if (at != std::string::npos) {
    for (const std::string relation : kRelations) {
      if (text.compare(at, relation.size(), relation) != 0) continue;
      const std::string column(trim(text.substr(0, at)));
      const std::string value(trim(text.substr(at + relation.size())));
      if (relation.front() != '=' && relation != "!=" && !parse_real(value)) break;
      return {table.column(column), relation, value};
    }
  }
  throw_settings("the condition '" + text + "' cannot be read",
                 "COLUMN=VALUE, or with !=, <, <=, >, >= and a number", "quote it: 'loss<5'");
}

/// A row on its way: its cells, line and file, for messages.
struct Cells {
  const std::string& file;
  std::size_t line;
  const std::vector<std::string>& cells;
};

double number(const Cells& row, std::size_t column, const std::string& name) {
  const std::string word(trim(row.cells[column]));
  const auto value = parse_real(word);
  if (!value || !std::isfinite(*value)) {
    throw_data(fmt::format("{}:{}: {} is '{}'", row.file, row.line, name, word),
               "a finite number, or nothing, NA or nan where it is missing",
               "correct the cell, or leave the row out with --where");
  }
  return *value;
}

std::string beginning(const std::vector<std::string>& cells) {
  std::vector<std::string> first(cells.begin(),
                                 cells.begin() + std::min<std::ptrdiff_t>(3, std::ssize(cells)));
  return join(first, ",") + (cells.size() > 3 ? ",..." : "");
}

/// Refuses ragged rows, or lists them among the excluded ones.
void judge_ragged(const CsvTable& ragged, std::size_t n_columns, bool skip, Table& table) {
  for (std::size_t i = 0; i < ragged.rows.size(); ++i) {
    const std::string found = fmt::format("{} cells instead of {}: {}", ragged.rows[i].size(),
                                          n_columns, beginning(ragged.rows[i]));
    if (!skip) {
      throw_data(fmt::format("{}:{}: {}", table.file, ragged.lines[i], found),
                 "as many cells as the header has: nobody knows which one is missing",
                 "repair the row, or leave it out with --skip-ragged");
    }
    table.excluded.push_back({ragged.lines[i], found});
  }
}

bool near(const TableRow& a, const TableRow& b, double tolerance) {
  for (std::size_t v = 0; v < a.x.size(); ++v) {
    const double size = std::max(std::abs(a.x[v]), std::abs(b.x[v]));
    if (std::abs(a.x[v] - b.x[v]) > tolerance * size) return false;
  }
  return true;
}

std::string describe(const TableRow& row) {
  std::vector<std::string> words;
  for (const double x : row.x) words.push_back(shortest(x));
  return join(words, ", ");
}

/// Rows that agree become their mean in the place of the first; weights are averaged as well, so
/// that merging says nothing about errors.
void merge_rows(double tolerance, TableGroup& group, std::vector<std::string>& notes) {
  std::vector<std::vector<TableRow>> sets;
  for (const TableRow& row : group.rows) {
    const auto set = std::find_if(sets.begin(), sets.end(), [&](const auto& candidate) {
      return near(candidate.front(), row, tolerance);
    });
    if (set == sets.end()) {
      sets.push_back({row});
    } else {
      set->push_back(row);
    }
  }
  group.rows.clear();
  for (const auto& set : sets) {
    TableRow mean = set.front();
    if (set.size() > 1) {
      const double n = static_cast<double>(set.size());
      mean.x.assign(mean.x.size(), 0.0);
      mean.y = mean.weight = 0;
      std::vector<std::string> lines;
      for (const TableRow& row : set) {
        for (std::size_t v = 0; v < row.x.size(); ++v) mean.x[v] += row.x[v] / n;
        mean.y += row.y / n;
        mean.weight += row.weight / n;
        lines.push_back(std::to_string(row.line));
      }
      mean.n_merged = set.size();
      notes.push_back(fmt::format("merged {} points near ({}) into their mean: lines {}",
                                  set.size(), describe(mean), join(lines, ", ")));
    }
    group.rows.push_back(std::move(mean));
  }
}

void note_near_rows(const TableGroup& group, std::vector<std::string>& notes) {
  for (std::size_t i = 0; i < group.rows.size(); ++i) {
    for (std::size_t j = i + 1; j < group.rows.size(); ++j) {
      const TableRow& a = group.rows[i];
      const TableRow& b = group.rows[j];
      if (a.x == b.x || !near(a, b, kSuspiciouslyNear)) continue;
      notes.push_back(
          fmt::format("lines {} and {} differ by less than 1 % in x ({} and {}) and count as two "
                      "points; --merge 0.01 makes them one",
                      a.line, b.line, describe(a), describe(b)));
      return;  // one example is enough
    }
  }
}

/// Where the columns of a request are.
struct Columns {
  std::vector<std::pair<std::size_t, std::string>> numbers;  ///< x..., y, weights
  std::optional<std::size_t> group;
  std::optional<std::size_t> cluster;
  std::vector<Condition> conditions;
};

Columns find_columns(const CsvTable& csv, const TableRequest& request) {
  Columns columns;
  std::vector<std::string> names = request.x;
  names.push_back(request.y);
  if (!request.weights.empty()) names.push_back(request.weights);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::count(names.begin(), names.end(), names[i]) > 1) {
      throw_settings("the column '" + names[i] + "' is asked for twice",
                     "different columns for --x, --y and --weights", "");
    }
    columns.numbers.emplace_back(csv.column(names[i]), names[i]);
  }
  if (!request.group.empty()) columns.group = csv.column(request.group);
  if (!request.cluster.empty()) columns.cluster = csv.column(request.cluster);
  for (const std::string& text : request.where) {
    columns.conditions.push_back(parse_condition(text, csv));
  }
  return columns;
}

/// The name of the first used column whose cell is missing.
std::optional<std::string> missing_column(const std::vector<std::string>& cells,
                                          const Columns& columns, const TableRequest& request) {
  for (const auto& [column, name] : columns.numbers) {
    if (is_missing(cells[column])) return name;
  }
  if (columns.group && is_missing(cells[*columns.group])) return request.group;
  if (columns.cluster && is_missing(cells[*columns.cluster])) return request.cluster;
  return std::nullopt;
}

TableRow read_row(const Cells& row, const Columns& columns, const TableRequest& request) {
  TableRow result;
  result.line = row.line;
  for (std::size_t v = 0; v < request.x.size(); ++v) {
    result.x.push_back(number(row, columns.numbers[v].first, request.x[v]));
  }
  result.y = number(row, columns.numbers[request.x.size()].first, request.y);
  if (!request.weights.empty()) {
    result.weight = number(row, columns.numbers.back().first, request.weights);
    if (!(result.weight > 0)) {
      throw_data(fmt::format("{}:{}: the weight {} is {}", row.file, row.line, request.weights,
                             shortest(result.weight)),
                 "a number above zero (1 / variance)",
                 "leave the row out with --where to give it no weight");
    }
  }
  if (columns.cluster) result.cluster = trim(row.cells[*columns.cluster]);
  return result;
}

}  // namespace

Table read_table(const std::filesystem::path& file, const TableRequest& request) {
  require(!request.x.empty() && !request.y.empty(), "a table is read for x and y");
  const std::string text = read_file(file);
  Table table;
  table.file = file.string();
  table.sha256 = sha256_hex(text);
  CsvTable ragged;
  const CsvTable csv = parse_csv(text, table.file, &ragged);
  judge_ragged(ragged, csv.columns.size(), request.skip_ragged, table);
  table.n_rows = csv.rows.size() + ragged.rows.size();
  const Columns columns = find_columns(csv, request);

  for (std::size_t i = 0; i < csv.rows.size(); ++i) {
    const std::vector<std::string>& cells = csv.rows[i];
    const bool selected = std::all_of(columns.conditions.begin(), columns.conditions.end(),
                                      [&](const Condition& c) { return c.holds(cells[c.column]); });
    if (!selected) {
      ++table.n_deselected;
      continue;
    }
    if (const auto name = missing_column(cells, columns, request)) {
      table.excluded.push_back({csv.lines[i], *name + " is missing"});
      continue;
    }
    TableRow row = read_row({table.file, csv.lines[i], cells}, columns, request);
    const std::string name =
        columns.group ? request.group + "=" + std::string(trim(cells[*columns.group])) : "";
    auto group = std::find_if(table.groups.begin(), table.groups.end(),
                              [&](const TableGroup& g) { return g.name == name; });
    if (group == table.groups.end()) {
      group = table.groups.insert(group, {name, {}});
    }
    group->rows.push_back(std::move(row));
  }
  if (table.groups.empty()) {
    throw_data(fmt::format("{}: no row is left of {}", table.file, table.n_rows),
               "rows with numbers in the columns that are used",
               table.n_deselected > 0 ? "look at --where" : "look at the columns' cells");
  }
  std::sort(table.excluded.begin(), table.excluded.end(),
            [](const ExcludedRow& a, const ExcludedRow& b) { return a.line < b.line; });
  for (TableGroup& group : table.groups) {
    if (request.merge > 0) {
      merge_rows(request.merge, group, table.notes);
    } else {
      note_near_rows(group, table.notes);
    }
  }
  return table;
}

}  // namespace pg::post
