#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pg::post {

/// What is read from anybody's table, and what becomes of rows that are not plain.
struct TableRequest {
  std::vector<std::string> x;
  std::string y;
  std::string weights;             ///< empty: none
  std::string group;               ///< empty: one group
  std::string cluster;             ///< rows that were not drawn on their own; empty: each was
  std::vector<std::string> where;  ///< "COL=VAL", also !=, <, <=, >, >=; all must hold
  /// Points of a group whose x all agree to this relative difference become their mean; 0: repeated
  /// points stay, and near ones are said in a note.
  double merge = 0;
  bool skip_ragged = false;  ///< leave out rows of a wrong length instead of refusing the file
};

struct TableRow {
  std::size_t line = 0;  ///< of the file, from 1
  std::vector<double> x;
  double y = 0;
  double weight = 1;
  std::string cluster;
  std::size_t n_merged = 1;
};

/// The rows of one group, in the order of the file.
struct TableGroup {
  std::string name;  ///< "COL=VAL", or empty
  std::vector<TableRow> rows;
};

struct ExcludedRow {
  std::size_t line = 0;
  std::string reason;
};

struct Table {
  std::string file;
  std::string sha256;  ///< of the file's bytes
  std::size_t n_rows = 0;
  std::vector<TableGroup> groups;
  std::vector<ExcludedRow> excluded;  ///< missing cells and, where allowed, ragged rows
  std::size_t n_deselected = 0;       ///< by `where`
  std::vector<std::string> notes;     ///< merged and nearly equal points
};

/// Reads a comma-separated table with a header (byte-order mark, CRLF and quotes accepted). An
/// empty cell, "NA", "N/A" or "nan" in a column that is used is missing: its row is left out and
/// listed. Throws InvalidInput: settings for a condition that cannot be read or a column that is
/// asked for twice; data, by line, for an unknown column (with the nearest name), a ragged row, a
/// cell that is no number or infinite, a weight <= 0, and when no row is left.
Table read_table(const std::filesystem::path& file, const TableRequest& request);

}  // namespace pg::post
