#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"

// NIST's Statistical Reference Datasets (public domain), as NIST prints them: a header with the
// certified values, data from line 61 on (nonlinear, linear) or after "Data: Y" (univariate).

namespace pg::test {

/// The numbers among the words of a line; "Infinity" is one.
inline std::vector<double> numbers(std::string_view line) {
  std::istringstream stream{std::string(line)};
  std::vector<double> values;
  for (std::string word; stream >> word;) {
    if (word == "Infinity") {
      values.push_back(std::numeric_limits<double>::infinity());
    } else if (const auto value = parse_real(word)) {
      values.push_back(*value);
    }
  }
  return values;
}

struct NistSet {
  std::vector<double> estimates;
  std::vector<double> errors;               ///< standard errors of the estimates
  std::vector<std::vector<double>> starts;  ///< nonlinear: two
  double s = 0;
  double rss = 0;
  double r2 = 0;                          ///< linear
  double f = 0;                           ///< linear
  double mean = 0;                        ///< univariate
  double sd = 0;                          ///< univariate
  double autocorrelation = 0;             ///< univariate, lag 1
  std::vector<std::vector<double>> rows;  ///< y, x...
};

inline NistSet read_nist(const std::string& name) {
  NistSet set;
  set.starts.resize(2);
  std::istringstream text(
      read_file(std::string(PG_SOURCE_DIR) + "/tests/reference/nist/" + name + ".dat"));
  bool in_data = false;
  std::string line;
  for (int number = 1; std::getline(text, line); ++number) {
    const std::string_view words = trim(line);
    const std::vector<double> values = numbers(line);
    const auto last = [&] {
      const std::vector<double> after = numbers(line.substr(line.rfind(':') + 1));
      if (after.size() != 1) throw std::runtime_error(name + ": no number in '" + line + "'");
      return after[0];
    };
    if (in_data) {
      if (!values.empty()) set.rows.push_back(values);
    } else if (words.starts_with("Data:") && (number >= 60 || words.ends_with(" Y"))) {
      in_data = true;
    } else if (words.starts_with("Sample Mean")) {
      set.mean = last();
    } else if (words.starts_with("Sample Standard Deviation")) {
      set.sd = last();
    } else if (words.starts_with("Sample Autocorrelation")) {
      set.autocorrelation = last();
    } else if (words.starts_with("Residual Sum of Squares:")) {
      set.rss = last();
    } else if (words.starts_with("Residual Standard Deviation:")) {
      set.s = last();
    } else if (words.starts_with("Standard Deviation") && values.size() == 1) {
      set.s = values[0];
    } else if (words.starts_with("R-Squared")) {
      set.r2 = values.at(0);
    } else if (words.starts_with("Regression") && values.size() == 4) {
      set.f = values[3];
    } else if (words.starts_with("Residual") && values.size() == 3) {
      set.rss = values[1];
    } else if (words.starts_with("B") && values.size() == 2) {
      set.estimates.push_back(values[0]);
      set.errors.push_back(values[1]);
    } else if (words.starts_with("b") && values.size() == 4 && words.find('=') != words.npos) {
      set.starts[0].push_back(values[0]);
      set.starts[1].push_back(values[1]);
      set.estimates.push_back(values[2]);
      set.errors.push_back(values[3]);
    }
  }
  return set;
}

/// Correct significant digits, -log10 of the relative error (NIST's LRE), at most 15.
inline double correct_digits(double value, double certified) {
  if (!std::isfinite(value)) return 0;
  const double error = std::abs(value - certified) / (certified == 0 ? 1 : std::abs(certified));
  return error == 0 ? 15 : std::min(15.0, -std::log10(error));
}

inline double worst_digits(const std::vector<double>& values,
                           const std::vector<double>& certified) {
  if (values.size() != certified.size() || values.empty()) return 0;
  double worst = 15;
  for (std::size_t i = 0; i < values.size(); ++i) {
    worst = std::min(worst, correct_digits(values[i], certified[i]));
  }
  return worst;
}

}  // namespace pg::test
