#include "postprocess/table_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/text.hpp"
#include "postprocess/plots/plots.hpp"
#include "postprocess/report/law_report.hpp"

namespace pg::post {
namespace {

std::vector<double> parse_point(const std::string& text) {
  std::vector<double> x;
  for (const std::string& word : split(text, ',')) {
    const auto value = parse_real(trim(word));
    if (!value) {
      throw_settings("--predict: '" + word + "' is no number", "X, or X1,X2 for two variables", "");
    }
    x.push_back(*value);
  }
  return x;
}

std::pair<std::string, double> parse_hypothesis(const std::string& text) {
  const std::size_t at = text.find('=');
  const auto value = at == std::string::npos ? std::nullopt : parse_real(trim(text.substr(at + 1)));
  if (!value) throw_settings("--test: '" + text + "'", "PARAMETER=VALUE, e.g. beta=0.5", "");
  return {std::string(trim(text.substr(0, at))), *value};
}

}  // namespace

void add_table_options(CLI::App& fit, TableArguments& arguments, const std::string& run_directory) {
  CLI::Option* model =
      fit.add_option("--model", arguments.model,
                     "fit this law (or batch_scaling) to a table instead of a run directory; "
                     "list: what there is")
          ->type_name("LAW");
  model->excludes(fit.get_option(run_directory));
  model->excludes(fit.get_option("--allow-mixed"));
  std::vector<CLI::Option*> options = {
      fit.add_option("--csv", arguments.csv, "the table, with a header row")->type_name("FILE"),
      fit.add_option("--x", arguments.x, "column of each variable, comma-separated")
          ->type_name("COL[,COL]"),
      fit.add_option("--y", arguments.columns.y, "column of the fitted quantity")->type_name("COL"),
      fit.add_option("--weights", arguments.columns.weights,
                     "column of relative weights, 1 / variance of the response")
          ->type_name("COL"),
      fit.add_option("--group", arguments.columns.group, "a fit for each value of this column")
          ->type_name("COL"),
      fit.add_option("--cluster", arguments.columns.cluster,
                     "bootstrap whole sets of rows with the same value here")
          ->type_name("COL"),
      fit.add_option("--merge", arguments.columns.merge,
                     "points whose x agree to this relative difference become their mean")
          ->type_name("REL")
          ->check(CLI::Range(0.0, 0.5)),
      fit.add_flag("--skip-ragged", arguments.columns.skip_ragged,
                   "leave out (and list) rows of a wrong length"),
      fit.add_option("--predict", arguments.predict, "print y here; may be repeated")
          ->type_name("X[,X2]")
          ->expected(1)
          ->take_all()
          ->allow_extra_args(false),
      fit.add_option("--test", arguments.tests, "test a parameter's value; may be repeated")
          ->type_name("PARAM=VALUE")
          ->expected(1)
          ->take_all()
          ->allow_extra_args(false),
      fit.add_option("--margin", arguments.margin, "of the equivalence tests of --test")
          ->check(CLI::PositiveNumber),
      fit.add_option("--bootstrap", arguments.bootstrap,
                     "replicates for bootstrap intervals beside the default ones")
          ->type_name("N")
          ->check(CLI::Range(100, 1000000)),
      fit.add_option("--seed", arguments.seed, "of the bootstrap")->capture_default_str(),
      fit.add_option("--threads", arguments.threads,
                     "0: all processors; the numbers do not depend on it")
          ->capture_default_str(),
      fit.add_option("--plots", arguments.plots, "draw the fit and its diagnostics there")
          ->type_name("DIR"),
      fit.add_option("--seed-column", arguments.seed_column,
                     "batch_scaling: the column that tells repeated runs apart")
          ->type_name("COL"),
      fit.add_option("--grid", arguments.grid,
                     "batch_scaling, a table of optima: the learning rates they were chosen from")
          ->type_name("LR,..."),
  };
  for (CLI::Option* option : options) option->needs(model);
  fit.get_option("--margin")->needs(fit.get_option("--test"));
}

ExitCode fit_table_command(const TableArguments& arguments) {
  if (arguments.model == "list") {
    fmt::print("{}", arguments.json ? laws_json() : laws_text());
    return ExitCode::done;
  }
  if (arguments.model == "batch_scaling") return fit_grid_command(arguments);
  const Law& law = find_law(arguments.model);
  if (!arguments.grid.empty() || !arguments.seed_column.empty()) {
    throw_settings("--grid or --seed-column with the law " + law.name,
                   "these belong to --model batch_scaling", "leave them out");
  }
  if (arguments.csv.empty() || arguments.x.empty() || arguments.columns.y.empty()) {
    throw_settings("a table's fit needs --csv, --x and --y",
                   "--csv FILE --x " + join(law.variables, ",") + " --y COLUMN",
                   "name the columns of the file's header");
  }
  TableRequest columns = arguments.columns;
  for (const std::string& name : split(arguments.x, ',')) columns.x.emplace_back(trim(name));
  TableFitOptions options;
  options.law = law.name;
  options.bootstrap = arguments.bootstrap;
  options.seed = arguments.seed;
  options.threads = arguments.threads;
  options.margin = arguments.margin;
  for (const std::string& text : arguments.predict) options.predict.push_back(parse_point(text));
  for (const std::string& text : arguments.tests) {
    options.hypotheses.push_back(parse_hypothesis(text));
  }
  if (!arguments.columns.cluster.empty() && arguments.bootstrap == 0 && law.name != "chinchilla" &&
      law.name != "chinchilla_lad") {
    throw_settings("--cluster without --bootstrap", "--bootstrap N: clusters are resampled there",
                   "");
  }
  const TableFit fit = fit_table(arguments.csv, columns, options);
  fmt::print("{}", arguments.json ? table_fit_json(fit) : table_fit_text(fit));
  if (!arguments.plots.empty()) {
    for (const Picture& picture : pictures_of(fit)) draw(arguments.plots, picture);
  }
  return arguments.strict && !fit.clean() ? ExitCode::bad_data : ExitCode::done;
}

}  // namespace pg::post
