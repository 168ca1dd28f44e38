// pgpost: fits, plots and reports run directories and tables; one process, no MPI.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/version.hpp"
#include "config/command_line.hpp"
#include "postprocess/report/checkpoints.hpp"
#include "postprocess/report/run_status.hpp"
#include "postprocess/run_command.hpp"
#include "postprocess/table_command.hpp"
#include "postprocess/tails_command.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;

struct Arguments {
  std::string run_directory = ".";
  std::string format = "text";
  RunRequest runs;
  std::vector<std::string> places;
  TableArguments table;
};

/// A law, or the analysis of a run, fitted to a table.
pg::ExitCode fit_table(const Arguments& arguments) {
  TableArguments table = arguments.table;
  table.columns.where = arguments.runs.where;
  table.strict = arguments.runs.strict;
  table.json = arguments.format == "json";
  return fit_table_command(table);
}

pg::ExitCode status_command(const Arguments& arguments) {
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const RunStatus status = read_status(arguments.run_directory, now);
  fmt::print("{}", arguments.format == "json" ? status_json(status) : status_text(status));
  return status.damaged.empty() ? pg::ExitCode::done : pg::ExitCode::bad_data;
}

/// `deep`: verify, not only list.
pg::ExitCode list_generations(const Arguments& arguments, bool deep) {
  const auto found = find_generations({arguments.places.begin(), arguments.places.end()}, deep);
  fmt::print("{}",
             arguments.format == "json" ? generations_json(found) : generations_text(found, deep));
  const bool good =
      std::all_of(found.begin(), found.end(), [](const auto& f) { return f.problem.empty(); });
  return good ? pg::ExitCode::done : pg::ExitCode::bad_data;
}

/// 1 where they differ, as of diff(1).
int diff_command(const Arguments& arguments) {
  const GenerationDiff diff = diff_generations(arguments.places[0], arguments.places[1]);
  fmt::print("{}", arguments.format == "json" ? diff_json(diff) : diff_text(diff));
  return diff.same() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Fits, plots and reports what a pgmpi run proves.", "pgpost");
  app.set_version_flag("--version", std::string("pgpost ") + pg::kVersion);
  app.require_subcommand(1);
  const auto command = [&](const char* name, const char* help) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->add_option("RUN_DIR", arguments.run_directory, "the run directory")->capture_default_str();
    return sub;
  };
  const auto add_format = [&](CLI::App* sub) {
    sub->add_option("--format", arguments.format, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
  };
  const auto add_where = [&](CLI::App* sub) {
    sub->add_option("--where", arguments.runs.where,
                    "only trials with this setting; may be repeated; results go to a folder of "
                    "their own")
        ->type_name("PATH=VALUE")
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false);
  };
  const auto add_output = [&](CLI::App* sub, const char* help) {
    sub->add_option("--output", arguments.runs.output, help)->type_name("DIR");
  };
  const auto add_run_options = [&](CLI::App* sub) {
    add_where(sub);
    sub->add_flag("--allow-mixed", arguments.runs.allow_mixed,
                  "accept trials of different programs, processors, corpora or modes");
    sub->add_flag("--strict", arguments.runs.strict,
                  "65 if anything is in doubt: a status, a warning, a row or trial left out");
  };
  CLI::App* fit =
      command("fit", "conclude as study.yaml asks; write JSON, plots, RESULTS.md, report.html");
  CLI::App* plot = command("plot", "draw the plots only");
  CLI::App* report = command("report", "write all but the plots");
  CLI::App* status = command("status", "how far a running or stopped run is");
  CLI::App* tails = command("tails",
                            "the gradient tails that trials recorded, beside the curves "
                            "of Laplace and Gaussian coordinates");
  CLI::App* checkpoint = app.add_subcommand("checkpoint", "look at generations (checkpoints)");
  checkpoint->require_subcommand(1);
  const auto on_places = [&](const char* name, const char* help, const char* what) {
    CLI::App* sub = checkpoint->add_subcommand(name, help);
    add_format(sub);
    sub->add_option(what, arguments.places, "generations, or folders that hold some")->required();
    return sub;
  };
  CLI::App* ls = on_places("ls", "what is there", "PLACE");
  CLI::App* verify = on_places("verify", "read every byte; 65 if one is damaged", "PLACE");
  CLI::App* diff = on_places("diff", "what differs between two; 1 if anything does", "FILE");
  diff->get_option("FILE")->expected(2);
  CLI::App* compare = app.add_subcommand(
      "compare", "the same for the arms of several runs, or by another kind of analysis");
  compare->add_option("RUN_DIR", arguments.runs.runs, "run directories, pooled")->required();
  compare->add_option("--kind", arguments.runs.kind, "default: that of the first study.yaml")
      ->check(CLI::IsMember({"gating", "arms", "model_size"}));
  add_output(compare, "the folder for the results");
  for (CLI::App* sub : {fit, plot, report, compare}) add_run_options(sub);
  add_where(tails);
  add_output(tails, "the folder for the results; default: the run directory");
  for (CLI::App* sub : {fit, status, tails, compare}) add_format(sub);
  add_table_options(*fit, arguments.table, "RUN_DIR");

  try {
    app.parse(argc, argv);
    pg::ExitCode code = pg::ExitCode::done;
    RunRequest& runs = arguments.runs;
    runs.json = arguments.format == "json";
    if (runs.runs.empty()) runs.runs = {arguments.run_directory};
    if (fit->parsed()) code = arguments.table.model.empty() ? fit_runs(runs) : fit_table(arguments);
    if (plot->parsed()) code = plot_runs(runs);
    if (report->parsed()) code = report_runs(runs);
    if (compare->parsed()) code = fit_runs(runs);
    if (status->parsed()) code = status_command(arguments);
    if (tails->parsed()) code = tails_command(runs);
    if (ls->parsed() || verify->parsed()) code = list_generations(arguments, verify->parsed());
    if (diff->parsed()) return diff_command(arguments);
    return static_cast<int>(code);
  } catch (const CLI::ParseError& error) {
    return pg::config::end_parse(app, error);
  } catch (...) {
    return pg::config::end_failure("pgpost");
  }
}
