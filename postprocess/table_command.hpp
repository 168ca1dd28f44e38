#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "postprocess/results/table.hpp"

namespace CLI {
class App;
}

namespace pg::post {

/// `pgpost fit --model LAW --csv FILE --x ... --y ...`
struct TableArguments {
  std::string model;
  std::string csv;
  std::string x;         ///< "COL" or "COL,COL"
  TableRequest columns;  ///< without x; `where` is the command's own
  std::size_t bootstrap = 0;
  std::uint64_t seed = 1;
  std::size_t threads = 0;
  std::vector<std::string> predict;  ///< "X" or "X1,X2", one per point
  std::vector<std::string> tests;    ///< "PARAMETER=VALUE"
  double margin = 0;
  std::string grid;         ///< batch_scaling, a table of optima: the learning rates tried
  std::string seed_column;  ///< batch_scaling, a table of losses
  std::string plots;        ///< folder for the pictures of a law's fit; or empty
  bool strict = false;
  bool json = false;
};

/// Adds the options of a table to `fit`, which has --where, --strict and --allow-mixed already;
/// each is refused without --model. `run_directory` is the name of the option that --model
/// excludes.
void add_table_options(CLI::App& fit, TableArguments& arguments, const std::string& run_directory);

/// Prints the fit of a table, or the registry for the model "list". bad_data under `strict` unless
/// the fit is clean: a status that is not ok, a warning, a row left out.
ExitCode fit_table_command(const TableArguments& arguments);

/// The model "batch_scaling": no law but the analysis of a run, from a table of losses (x: batch
/// and learning rate) or of optima (x: batch, y: the best learning rate). Prints; writes no files.
ExitCode fit_grid_command(const TableArguments& arguments);

}  // namespace pg::post
