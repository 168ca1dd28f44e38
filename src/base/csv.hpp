#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pg {

/// A rectangular table of text cells with named columns.
struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::size_t> lines = {};  ///< of a table that was read: each row's first line, from 1

  /// Index of a column. Throws InvalidInput naming the nearest column.
  [[nodiscard]] std::size_t column(const std::string& name) const;
};

/// RFC 4180 with LF; quotes where a cell needs them.
std::string to_csv(const CsvTable& table);

/// Reads RFC 4180; accepts a byte-order mark, CRLF and blank lines. `origin` names the text in
/// messages. Throws InvalidInput (data) on an unclosed quote, a repeated column, and on a ragged
/// row (more or fewer cells than the header has) unless `ragged` is given to put such rows into.
CsvTable parse_csv(const std::string& text, const std::string& origin, CsvTable* ragged = nullptr);

}  // namespace pg
