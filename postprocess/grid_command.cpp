// pgpost fit --model batch_scaling: the analysis of a run, from anybody's table.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/text.hpp"
#include "postprocess/fits/scaling_fit.hpp"
#include "postprocess/report/assessment.hpp"
#include "postprocess/report/written.hpp"
#include "postprocess/results/grid_table.hpp"
#include "postprocess/table_command.hpp"

namespace pg::post {
namespace {

std::vector<double> parse_rates(const std::string& text) {
  std::vector<double> rates;
  if (text.empty()) return rates;
  for (const std::string& part : split(text, ',')) {
    const auto rate = parse_real(trim(part));
    if (!rate || !(*rate > 0)) {
      throw_settings("--grid has \"" + part + "\"", "learning rates above zero, comma-separated",
                     "--grid 1e-4,3e-4,1e-3");
    }
    rates.push_back(*rate);
  }
  std::sort(rates.begin(), rates.end());
  const auto twice = std::adjacent_find(rates.begin(), rates.end(), same_lr);
  if (twice != rates.end()) {
    throw_settings("--grid names " + shortest(*twice) + " twice", "each learning rate once",
                   "leave one out");
  }
  return rates;
}

/// Options that mean something for a law only: none is ignored silently.
void refuse_law_options(const TableArguments& a) {
  const TableRequest& c = a.columns;
  const std::pair<bool, const char*> given[] = {
      {!c.weights.empty(), "--weights"}, {!c.group.empty(), "--group"},
      {!c.cluster.empty(), "--cluster"}, {!c.where.empty(), "--where"},
      {c.merge != 0, "--merge"},         {c.skip_ragged, "--skip-ragged"},
      {!a.plots.empty(), "--plots"},     {!a.predict.empty(), "--predict"},
      {!a.tests.empty(), "--test"}};
  for (const auto& [is_given, option] : given) {
    if (!is_given) continue;
    throw_settings(std::string(option) + " with --model batch_scaling",
                   "--csv, --x, --y, --seed-column, --grid, --bootstrap, --seed, --threads, "
                   "--strict and --format",
                   "leave it out");
  }
}

}  // namespace

ExitCode fit_grid_command(const TableArguments& arguments) {
  refuse_law_options(arguments);
  std::vector<std::string> x;
  for (const std::string& name : split(arguments.x, ',')) x.emplace_back(trim(name));
  if (arguments.csv.empty() || arguments.x.empty() || arguments.columns.y.empty() || x.size() > 2) {
    throw_settings("--model batch_scaling needs a table of losses or a table of optima",
                   "--csv FILE --x BATCH,LR --y LOSS, or --csv FILE --x BATCH --y BEST_LR",
                   "name the columns of the file's header");
  }
  const bool losses = x.size() == 2;
  if (losses && !arguments.grid.empty()) {
    throw_settings("--grid with a table of losses", "--grid for a table of optima only",
                   "leave it out: the table shows its learning rates");
  }
  if (!losses && !arguments.seed_column.empty()) {
    throw_settings("--seed-column with a table of optima", "one optimum for each batch",
                   "leave it out");
  }
  const std::vector<double> rates = parse_rates(arguments.grid);
  const RunResults results =
      losses ? read_grid(arguments.csv, {x[0], x[1], arguments.columns.y, arguments.seed_column})
             : read_optima(arguments.csv, x[0], arguments.columns.y, rates);
  ScalingFit fit = losses ? fit_scaling(results) : fit_optima(results, rates);
  ResamplingPlan plan;
  if (arguments.bootstrap > 0) plan.n_replicates = arguments.bootstrap;
  plan.seed = arguments.seed;
  plan.threads = arguments.threads;
  weigh_exponent(results, plan, fit);
  const Assessment assessment = assess(results, fit);
  fmt::print("{}", arguments.json ? fit_json(results, fit, assessment) : fit_text(fit, assessment));
  return arguments.strict && !nothing_in_doubt(fit, assessment) ? ExitCode::bad_data
                                                                : ExitCode::done;
}

}  // namespace pg::post
