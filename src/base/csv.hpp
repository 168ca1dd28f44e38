#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pg {

/// A rectangular table of text cells with named columns.
struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;

  /// Index of a column. Throws InvalidInput naming the nearest column.
  [[nodiscard]] std::size_t column(const std::string& name) const;
};

/// RFC 4180 with LF; quotes where a cell needs them.
std::string to_csv(const CsvTable& table);

/// Reads RFC 4180; accepts a byte-order mark, CRLF and blank lines. `origin` names the text in
/// messages. Throws InvalidInput (data) on a ragged row, an unclosed quote or a repeated column.
CsvTable parse_csv(const std::string& text, const std::string& origin);

}  // namespace pg
