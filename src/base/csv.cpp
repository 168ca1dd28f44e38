#include "base/csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"

namespace pg {
namespace {

void append_cell(std::string& out, const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) {
    out += cell;
    return;
  }
  out += '"';
  for (const char c : cell) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

void append_row(std::string& out, const std::vector<std::string>& row) {
  if (row.size() == 1 && trim(row[0]).empty()) {  // unquoted it would read as a blank line
    out += '"' + row[0] + "\"\n";
    return;
  }
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i > 0) out += ',';
    append_cell(out, row[i]);
  }
  out += '\n';
}

struct Line {
  std::size_t number;  // of the first line of the record, from 1
  std::vector<std::string> cells;
};

std::vector<Line> split_records(std::string_view text, const std::string& origin) {
  std::vector<Line> lines;
  std::vector<std::string> cells(1);
  bool quoted = false;
  bool cell_was_quoted = false;
  std::size_t number = 1;
  std::size_t start = 1;
  const auto end_record = [&] {
    const bool blank = cells.size() == 1 && trim(cells[0]).empty() && !cell_was_quoted;
    if (!blank) lines.push_back({start, cells});
    cells.assign(1, {});
    cell_was_quoted = false;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++number;
    if (quoted) {
      if (c != '"') {
        cells.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        cells.back() += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"' && cells.back().empty()) {
      quoted = cell_was_quoted = true;
    } else if (c == ',') {
      cells.emplace_back();
    } else if (c == '\n') {
      end_record();
      start = number;
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  if (quoted) {
    throw_data(fmt::format("{}:{}: a quote is never closed", origin, start), "a closing \"",
               "the file may be cut short");
  }
  end_record();
  return lines;
}

}  // namespace

std::size_t CsvTable::column(const std::string& name) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found != columns.end()) return static_cast<std::size_t>(found - columns.begin());
  const auto near = nearest_word(name, columns);
  throw_data("there is no column '" + name + "'", "one of: " + join(columns, ", "),
             near ? "'" + *near + "'" : "another column name");
}

std::string to_csv(const CsvTable& table) {
  std::string out;
  append_row(out, table.columns);
  for (const auto& row : table.rows) append_row(out, row);
  return out;
}

CsvTable parse_csv(const std::string& text, const std::string& origin, CsvTable* ragged) {
  std::string_view view = text;
  if (view.starts_with("\xEF\xBB\xBF")) view.remove_prefix(3);
  std::vector<Line> lines = split_records(view, origin);
  if (lines.empty()) throw_data(origin + " has no header row", "column names in its first row", "");
  CsvTable table;
  std::set<std::string> seen;
  for (const std::string& cell : lines[0].cells) {
    table.columns.emplace_back(trim(cell));
    if (!seen.insert(table.columns.back()).second) {
      throw_data(origin + ": the column '" + table.columns.back() + "' appears twice",
                 "distinct column names", "");
    }
  }
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].cells.size() != table.columns.size()) {
      if (ragged != nullptr) {
        ragged->rows.push_back(std::move(lines[i].cells));
        ragged->lines.push_back(lines[i].number);
        continue;
      }
      throw_data(fmt::format("{}:{}: {} cells", origin, lines[i].number, lines[i].cells.size()),
                 fmt::format("{}, as in the header", table.columns.size()),
                 "repair or remove the row");
    }
    table.rows.push_back(std::move(lines[i].cells));
    table.lines.push_back(lines[i].number);
  }
  return table;
}

}  // namespace pg
