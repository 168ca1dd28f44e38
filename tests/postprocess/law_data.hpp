#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "postprocess/fits/law.hpp"
#include "support/support.hpp"

// Public data that may not be distributed here: tests that need them say so and pass where they are
// absent.

namespace pg::test {

/// The content of a file under the data folder beside the repository; says when it is absent.
inline std::optional<std::string> read_data(const std::string& name) {
  const auto file = pg::testing::shared_data(name);
  if (!file) return std::nullopt;
  return read_file(*file);
}

inline double number_at(const CsvTable& table, std::size_t row, const std::string& column) {
  return parse_real(table.rows[row][table.column(column)]).value();
}

/// The 245 points of Besiroglu et al. 2024, or the 240 that they fit: all but the five largest
/// losses, as "below the fifth largest".
inline std::optional<post::LawData> chinchilla_points(bool all) {
  const auto text = read_data("chinchilla/svg_extracted_data.csv");
  if (!text) return std::nullopt;
  const CsvTable table = parse_csv(*text, "svg_extracted_data.csv");
  std::vector<double> losses;
  for (std::size_t i = 0; i < table.rows.size(); ++i) losses.push_back(number_at(table, i, "loss"));
  std::vector<double> sorted = losses;
  std::sort(sorted.rbegin(), sorted.rend());
  post::LawData data;
  data.x.resize(2);
  for (std::size_t i = 0; i < losses.size(); ++i) {
    if (!all && losses[i] >= sorted[4]) continue;
    const double n = number_at(table, i, "Model Size");
    data.x[0].push_back(n);
    data.x[1].push_back(number_at(table, i, "Training FLOP") / (6 * n));
    data.y.push_back(losses[i]);
  }
  return data;
}

}  // namespace pg::test
