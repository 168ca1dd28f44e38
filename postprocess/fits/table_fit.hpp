#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "postprocess/fits/breakpoint.hpp"
#include "postprocess/fits/law.hpp"
#include "postprocess/fits/law_bootstrap.hpp"
#include "postprocess/results/table.hpp"

namespace pg::post {

/// What is computed for each group of a table.
struct TableFitOptions {
  std::string law;
  std::size_t bootstrap = 0;  ///< replicates; 0: kOwnBootstrap for a law without other errors
  std::uint64_t seed = 1;
  std::size_t threads = 0;  ///< 0: as many as the machine has
  std::vector<std::vector<double>> predict;
  std::vector<std::pair<std::string, double>> hypotheses;  ///< parameter and its value
  double margin = 0;  ///< of the equivalence tests of the hypotheses; 0: none
};
inline constexpr std::size_t kOwnBootstrap = 1000;

struct LawPrediction {
  std::vector<double> x;
  LawBand band;
  bool extrapolated = false;  ///< a variable lies outside its range in the data
};

/// A parameter against a value.
struct LawHypothesis {
  std::string parameter;
  double value = 0;
  double t = 0;
  double p = 1;
  double p_holm = 1;  ///< over the hypotheses of the group
  bool in_ci95 = false;
  std::optional<double> equivalence_p;
};

struct GroupFit {
  std::string name;
  LawData data;
  std::vector<TableRow> rows;
  LawFit fit;
  std::optional<LawBootstrap> bootstrap;
  std::optional<BreakTest> break_test;  ///< of the broken power law only
  HeldOut held_out;
  std::vector<Rival> rivals;  ///< on the same points; empty where the law has none
  std::vector<LawPrediction> predictions;
  std::vector<LawHypothesis> hypotheses;
};

struct TableFit {
  Table table;
  TableRequest request;
  TableFitOptions options;
  std::vector<GroupFit> groups;
  /// Every group is determined, without a warning, and no row had to be left out.
  [[nodiscard]] bool clean() const;
};

/// Throws InvalidInput (settings) for an unknown law or parameter, or a number of variables that is
/// not the law's; (data) for values that the law cannot take, by line.
TableFit fit_table(const std::filesystem::path& file, const TableRequest& request,
                   const TableFitOptions& options);

}  // namespace pg::post
