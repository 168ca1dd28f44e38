// pgpost: fits, plots and reports a run directory; one process, no MPI.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/version.hpp"
#include "config/command_line.hpp"
#include "postprocess/analysis_command.hpp"
#include "postprocess/plots/plots.hpp"
#include "postprocess/report/checkpoints.hpp"
#include "postprocess/report/run_status.hpp"
#include "postprocess/report/written.hpp"
#include "postprocess/table_command.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;

struct Arguments {
  std::string run_directory = ".";
  std::string format = "text";
  std::vector<std::string> where;
  std::vector<std::string> places;
  TableArguments table;
};

/// One run, fitted and judged. Results of a selection go to a folder of their own.
struct Work {
  RunResults results;
  ScalingFit fit;
  Assessment assessment;
  fs::path output;
};

Work analyse(const Arguments& arguments) {
  Work work;
  work.results = load_results(arguments.run_directory, arguments.where);
  work.fit = fit_scaling(work.results);
  weigh_exponent(work.results, {}, work.fit);
  work.assessment = assess(work.results, work.fit);
  work.output = arguments.run_directory;
  if (!work.results.selection.empty()) {
    std::string folder = "where " + work.results.selection;
    std::replace(folder.begin(), folder.end(), '/', '-');  // a corpus path may be the value
    work.output /= folder;
  }
  return work;
}

/// Everything was written, but some input was damaged: said on stderr, and the exit code tells.
pg::ExitCode report_damage(const RunResults& results) {
  for (const pg::record::DamagedTrial& d : results.damaged) {
    fmt::print(stderr, "pgpost: left out {} ({}): {}\n", d.id, d.file.string(), d.reason);
  }
  return results.damaged.empty() ? pg::ExitCode::done : pg::ExitCode::bad_data;
}

/// Returns why there are no plots; empty when they are drawn.
std::string try_plots(const Work& work) {
  try {
    draw_plots(work.output / "plots", work.results, work.fit);
    return "";
  } catch (const pg::IoError& error) {
    return error.what();
  }
}

void write_report(const Work& work, const std::string& plot_problem) {
  pg::write_file(work.output / "scaling_fit.json",
                 fit_json(work.results, work.fit, work.assessment));
  const Document document = results_document(work.results, work.fit, work.assessment, plot_problem);
  pg::write_file(work.output / "RESULTS.md", to_markdown(document));
  pg::write_file(work.output / "report.html", to_html(document, work.output / "plots"));
}

pg::ExitCode fit_command(const Arguments& arguments) {
  const std::string kind = analysis_kind(arguments.run_directory);
  if (kind == "gating" || kind == "model_size") {
    if (!arguments.where.empty()) {
      pg::throw_settings("--where with analysis.kind: " + kind, "all arms of the run",
                         "leave --where out");
    }
    return compare_runs({.runs = {arguments.run_directory},
                         .kind = kind,
                         .allow_mixed = false,
                         .format = arguments.format});
  }
  const Work work = analyse(arguments);
  const std::string plot_problem = try_plots(work);
  write_report(work, plot_problem);
  fmt::print("{}", arguments.format == "json" ? fit_json(work.results, work.fit, work.assessment)
                                              : fit_text(work.fit, work.assessment));
  if (arguments.format == "text") {
    fmt::print("\nwritten to {}: scaling_fit.json, RESULTS.md, report.html{}\n",
               work.output.string(), plot_problem.empty() ? ", plots/" : "");
  }
  const pg::ExitCode damage = report_damage(work.results);
  if (!plot_problem.empty()) {
    fmt::print(stderr, "pgpost: {}\n", plot_problem);
    return damage == pg::ExitCode::done ? pg::ExitCode::input_output : damage;
  }
  return damage;
}

/// A law, or the analysis of a run, fitted to a table.
pg::ExitCode fit_table_command(const Arguments& arguments) {
  TableArguments table = arguments.table;
  table.columns.where = arguments.where;
  table.json = arguments.format == "json";
  return fit_table_command(table);
}

pg::ExitCode plot_command(const Arguments& arguments) {
  const Work work = analyse(arguments);
  draw_plots(work.output / "plots", work.results, work.fit);
  fmt::print("written to {}\n", (work.output / "plots").string());
  return report_damage(work.results);
}

pg::ExitCode report_command(const Arguments& arguments) {
  const Work work = analyse(arguments);
  const bool drawn = fs::exists(work.output / "plots" / "lr_vs_batch.png");
  write_report(work, drawn ? "" : "run pgpost plot");
  fmt::print("written to {}: scaling_fit.json, RESULTS.md, report.html\n", work.output.string());
  return report_damage(work.results);
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
    sub->add_option("--where", arguments.where,
                    "only trials with this setting; may be repeated; results go to a folder of "
                    "their own")
        ->type_name("PATH=VALUE")
        ->expected(1)
        ->take_all();
  };
  CLI::App* fit = command("fit", "fit the scaling law; write JSON, plots, RESULTS.md, report.html");
  CLI::App* plot = command("plot", "draw the plots only");
  CLI::App* report = command("report", "write scaling_fit.json, RESULTS.md and report.html only");
  CLI::App* status = command("status", "how far a running or stopped run is");
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
  ComparisonRequest comparison;
  CLI::App* compare =
      app.add_subcommand("compare", "compare the arms of one or more runs; write JSON and text");
  compare->add_option("RUN_DIR", comparison.runs, "run directories, pooled")->required();
  compare->add_option("--kind", comparison.kind, "default: analysis.kind of the first study.yaml")
      ->check(CLI::IsMember({"gating", "model_size"}));
  compare->add_flag("--allow-mixed", comparison.allow_mixed,
                    "accept trials of different programs, processors, corpora or modes");
  compare->add_option("--format", comparison.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  for (CLI::App* sub : {fit, plot, report}) add_where(sub);
  for (CLI::App* sub : {fit, status}) add_format(sub);
  add_table_options(*fit, arguments.table, "RUN_DIR");

  try {
    app.parse(argc, argv);
    pg::ExitCode code = pg::ExitCode::done;
    if (fit->parsed()) {
      code = arguments.table.model.empty() ? fit_command(arguments) : fit_table_command(arguments);
    }
    if (plot->parsed()) code = plot_command(arguments);
    if (report->parsed()) code = report_command(arguments);
    if (status->parsed()) code = status_command(arguments);
    if (compare->parsed()) code = compare_runs(comparison);
    if (ls->parsed() || verify->parsed()) code = list_generations(arguments, verify->parsed());
    if (diff->parsed()) return diff_command(arguments);
    return static_cast<int>(code);
  } catch (const CLI::ParseError& error) {
    return pg::config::end_parse(app, error);
  } catch (...) {
    return pg::config::end_failure("pgpost");
  }
}
