// pgmpi: plans and trains a study on all ranks. Only the command line is here.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "comm/communicator.hpp"
#include "config/command_line.hpp"
#include "config/study.hpp"
#include "study/plan.hpp"
#include "study/runner.hpp"

namespace {

struct Arguments {
  std::string grid;
  std::string plan;
  std::string run_directory;
  std::string format = "text";
  pg::config::LoadOptions load;
  bool has_grid = false;
  bool has_plan = false;
  bool print_config = false;
};

std::filesystem::path study_file(const std::string& named) {
  if (!named.empty()) return named;
  return pg::config::config_folder() / "studies" / "batch_scaling.yaml";
}

pg::ExitCode act(const Arguments& arguments, const std::string& command_line) {
  const pg::config::Study study = pg::config::load_study(
      study_file(arguments.has_plan ? arguments.plan : arguments.grid), arguments.load);
  if (arguments.print_config) {
    fmt::print("{}", pg::config::print_study(study));
    return pg::ExitCode::done;
  }
  if (arguments.has_plan) {
    const pg::study::Plan plan = pg::study::make_plan(study);
    fmt::print(
        "{}", arguments.format == "json" ? pg::study::plan_json(plan) : pg::study::plan_text(plan));
    return pg::ExitCode::done;
  }
  const pg::comm::Session session;
  try {
    const std::string folder =
        arguments.run_directory.empty() ? "runs/" + study.name : arguments.run_directory;
    return pg::study::run_study(study, {folder, command_line}, session.world());
  } catch (...) {
    // The other ranks may be inside a collective or a trial: end them without another collective.
    const pg::Failure failure = pg::describe_current_exception();
    if (session.world().size() == 1) throw;
    fmt::print(stderr, "pgmpi, rank {} of {}: {}\n", session.world().rank(), session.world().size(),
               failure.message);
    std::fflush(nullptr);
    pg::comm::Session::abort(static_cast<int>(failure.code));
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "pgmpi trains grids of language models under MPI.\n"
      "  mpirun -n 2 pgmpi --grid --quick      a small real study, minutes\n"
      "  mpirun -n 32 pgmpi --grid STUDY       any study; the same command goes on after a stop\n"
      "  pgpost fit RUN_DIR                    what the runs show",
      "pgmpi"};
  Arguments arguments;
  auto* grid = app.add_option("--grid", arguments.grid,
                              "train a study (default: configs/studies/batch_scaling.yaml)");
  grid->expected(0, 1)->type_name("[STUDY]");
  auto* plan = app.add_option("--plan", arguments.plan,
                              "no training: trials, parameters, tokens, FLOPs; needs no mpirun");
  plan->expected(0, 1)->type_name("[STUDY]")->excludes(grid);
  app.add_option("--set", arguments.load.overrides,
                 "path=value, over the study and its preset; may be repeated")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--quick", arguments.load.quick, "the study's own small version");
  app.add_option("--run-dir", arguments.run_directory, "default: runs/<name of the study>")
      ->type_name("DIR");
  app.add_flag("--print-config", arguments.print_config,
               "print every resolved setting with its meaning, and stop");
  app.add_option("--format", arguments.format, "of --plan: text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->needs(plan);
  app.set_version_flag("--version", std::string("pgmpi ") + pg::kVersion);

  try {
    app.parse(argc, argv);
    arguments.has_grid = grid->count() > 0;
    arguments.has_plan = plan->count() > 0;
    if (!arguments.has_grid && !arguments.has_plan && !arguments.print_config) {
      pg::throw_settings("nothing to do", "--grid, --plan or --print-config", "pgmpi --help");
    }
    return static_cast<int>(
        act(arguments, pg::join(std::vector<std::string>(argv, argv + argc), " ")));
  } catch (const CLI::ParseError& error) {
    return pg::config::end_parse(app, error);
  } catch (...) {
    return pg::config::end_failure("pgmpi");
  }
}
