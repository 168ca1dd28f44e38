// pgmpi: plans and trains a study on all ranks. Only the command line is here.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "comm/crash_handler.hpp"
#include "comm/failure_text.hpp"
#include "comm/lost_ranks.hpp"
#include "comm/session.hpp"
#include "comm/watchdog.hpp"
#include "config/command_line.hpp"
#include "config/study.hpp"
#include "ledger/device.hpp"
#include "record/run_directory.hpp"
#include "study/attention_maps.hpp"
#include "study/device.hpp"
#include "study/device_plan.hpp"
#include "study/export_weights.hpp"
#include "study/plan.hpp"
#include "study/prove.hpp"
#include "study/runner.hpp"

namespace {

struct Arguments {
  std::string grid;
  std::string plan;
  std::string prove;
  std::string export_weights;
  std::string attention_maps;
  std::string output;
  std::string run_directory;
  std::string format = "text";
  pg::config::LoadOptions load;
  pg::study::DeviceChoice device;
  int ranks = 0;  // to plan for
  std::int64_t steps = 200;
  double max_time_s = 0;
  double hang_timeout_s = 600;
  bool restart_damaged = false;
  bool has_grid = false;
  bool has_plan = false;
  bool has_prove = false;
  bool has_device = false;
  bool print_config = false;
};

std::filesystem::path study_file(const Arguments& arguments) {
  for (const std::string* named : {&arguments.plan, &arguments.prove, &arguments.grid}) {
    if (!named->empty()) return *named;
  }
  return pg::config::config_folder() / "studies" / "batch_scaling.yaml";
}

/// A launcher started several of these, so there is an MPI world to ask.
bool under_launcher() {
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr;
}

void print_plan(const pg::study::Plan& plan, const std::string& format) {
  fmt::print("{}", format == "json" ? pg::study::plan_json(plan) : pg::study::plan_text(plan));
}

/// For a failure that is being handled: the other ranks may be inside a collective or a trial, so
/// they are ended without another collective. Returns only where there are no others.
void end_all_ranks(pg::comm::Session& session) {
  if (session.world().size() == 1) return;
  const pg::Failure failure = pg::describe_current_exception();
  session.recorder().said(pg::comm::Said::failure);
  fmt::print(stderr, "pgmpi: {}\n  by {}\n", failure.message,
             pg::comm::describe(session.recorder().snapshot()));
  std::fflush(nullptr);
  pg::comm::Session::abort(static_cast<int>(failure.code));
}

void plan(const Arguments& arguments, const pg::config::Study& study) {
  if (arguments.has_device) {
    const auto result =
        pg::study::plan_for_device(study, std::max(1, arguments.ranks), arguments.device.kind);
    fmt::print("{}", arguments.format == "json" ? pg::study::device_plan_json(result)
                                                : pg::study::device_plan_text(result));
    return;
  }
  if (arguments.ranks == 0) return print_plan(pg::study::make_plan(study), arguments.format);
  const auto on = [&](const pg::comm::Communicator& world) {
    const pg::comm::Teams teams(world);
    const auto result = pg::study::make_plan(study, arguments.ranks, world, teams);
    if (world.rank() == 0) print_plan(result, arguments.format);
  };
  if (!under_launcher()) return on(pg::comm::Communicator::alone());
  pg::comm::Session session;
  try {
    on(session.world());
  } catch (...) {
    end_all_ranks(session);
    throw;
  }
}

std::filesystem::path folder_of(const Arguments& arguments, const pg::config::Study& study) {
  return arguments.run_directory.empty() ? "runs/" + study.name : arguments.run_directory;
}

pg::ExitCode prove(const Arguments& arguments, const pg::config::Study& study,
                   const pg::study::Crew::Ranks& ranks) {
  const pg::study::Proof proof =
      pg::study::prove(study, arguments.steps, folder_of(arguments, study) / "prove", ranks);
  // Every rank has all cases, and so the same verdict.
  if (ranks.world.rank() == 0) {
    fmt::print("{}", arguments.format == "json" ? pg::study::proof_json(proof)
                                                : pg::study::proof_text(proof));
  }
  return proof.holds() && proof.control_differs() ? pg::ExitCode::done : pg::ExitCode::internal;
}

/// When the allocation or --max-time ends, whichever comes first.
std::optional<std::chrono::steady_clock::time_point> deadline(const Arguments& arguments) {
  const auto now = std::chrono::steady_clock::now();
  std::optional<double> left_s;
  if (arguments.max_time_s > 0) left_s = arguments.max_time_s;
  const char* end = std::getenv("SLURM_JOB_END_TIME");  // seconds since 1970
  if (const auto end_s = end != nullptr ? pg::parse_integer(end) : std::nullopt) {
    const auto job_left_s = static_cast<double>(*end_s - std::time(nullptr));
    left_s = std::min(left_s.value_or(job_left_s), job_left_s);
  }
  if (!left_s) return std::nullopt;
  return now + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                   std::chrono::duration<double>(std::max(0.0, *left_s)));
}

/// Puts where this rank is into the run directory, where it outlives the process, after rank 0 has
/// said who was lost in the launch before. Collective.
void attach_recorder(pg::comm::Session& session, const pg::record::RunDirectory& run) {
  const pg::comm::Communicator& world = session.world();
  if (world.rank() == 0) {
    const auto lost = pg::comm::lost_ranks(run.ranks_folder(), pg::comm::Elsewhere::count);
    if (!lost.empty()) fmt::print(stderr, "{}\n", pg::comm::lost_text(lost));
    pg::make_writable_folder(run.ranks_folder());
    for (const auto& entry : std::filesystem::directory_iterator(run.ranks_folder())) {
      std::filesystem::remove(entry.path());  // of a launch with more ranks
    }
  }
  const std::string launch = world.broadcast(fmt::format("{}-{}", ::getpid(), std::time(nullptr)));
  session.recorder().attach(run.ranks_folder() / pg::comm::recorder_file_name(world.rank()),
                            launch);
}

pg::ExitCode run(const Arguments& arguments, const pg::config::Study& study,
                 const std::string& command_line, pg::comm::Session& session,
                 std::optional<pg::comm::Watchdog>& watchdog) {
  const pg::comm::Communicator& world = session.world();
  const at::Device device = pg::study::device_of_rank(arguments.device, world);
  const std::filesystem::path folder = folder_of(arguments, study);
  pg::comm::WatchdogOptions options{.timeout_s = arguments.hang_timeout_s};
  if (arguments.has_grid) {
    const pg::record::RunDirectory run(folder);
    attach_recorder(session, run);
    options.folder = run.ranks_folder();
  }
  watchdog.emplace(session.recorder(), options);
  const pg::comm::Teams teams(world);
  const pg::study::Crew::Ranks ranks{
      world,
      teams,
      session.recorder(),
      {.device = device,
       .shard = study.shard,
       .make_exchange = pg::study::exchange_on(device, arguments.hang_timeout_s)}};
  if (arguments.has_prove) return prove(arguments, study, ranks);
  return pg::study::run_study(
      study, {folder, command_line, deadline(arguments), arguments.restart_damaged, &*watchdog},
      ranks);
}

pg::ExitCode act(const Arguments& arguments, const std::string& command_line) {
  const pg::config::Study study = pg::config::load_study(study_file(arguments), arguments.load);
  if (arguments.print_config) {
    fmt::print("{}", pg::config::print_study(study));
    return pg::ExitCode::done;
  }
  if (arguments.has_plan) {
    plan(arguments, study);
    return pg::ExitCode::done;
  }
  pg::comm::Session session;
  const pg::comm::CrashHandler crash_handler(session.recorder());
  std::optional<pg::comm::Watchdog> watchdog;
  try {
    return run(arguments, study, command_line, session, watchdog);
  } catch (...) {
    end_all_ranks(session);
    throw;
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
  auto* prove = app.add_option("--prove", arguments.prove,
                               "show that the bits do not depend on the ranks; under mpirun");
  prove->expected(0, 1)->type_name("[STUDY]")->excludes(grid)->excludes(plan);
  auto* weights = app.add_option("--export-weights", arguments.export_weights,
                                 "the parameters of a checkpoint as a safetensors file with "
                                 "published names; needs no mpirun");
  weights->type_name("GENERATION")->excludes(grid)->excludes(plan)->excludes(prove);
  auto* maps = app.add_option("--attention-maps", arguments.attention_maps,
                              "the attention of a checkpoint on a validation window as an HDF5 "
                              "file; needs no mpirun");
  maps->type_name("GENERATION")->excludes(grid)->excludes(plan)->excludes(prove)->excludes(weights);
  auto* output =
      app.add_option("--output", arguments.output, "of --export-weights and --attention-maps");
  output->type_name("FILE");
  weights->needs(output);
  maps->needs(output);
  app.add_option("--steps", arguments.steps, "of --prove (default: 200)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}))
      ->needs(prove);
  app.add_option("--ranks", arguments.ranks,
                 "of --plan: also the schedule on this many ranks; with --device the ledger")
      ->check(CLI::Range(1, 1'000'000))
      ->needs(plan);
  app.add_option("--max-time", arguments.max_time_s,
                 "of --grid: save what runs and stop within these seconds")
      ->check(CLI::PositiveNumber)
      ->needs(grid)
      ->type_name("SECONDS");
  app.add_flag("--restart-damaged", arguments.restart_damaged,
               "of --grid: a trial whose generations are all damaged starts from zero")
      ->needs(grid);
  app.add_option("--hang-timeout", arguments.hang_timeout_s,
                 "end the program after this long without progress of a rank; 0: never "
                 "(default: 600)")
      ->check(CLI::NonNegativeNumber)
      ->excludes(plan)
      ->type_name("SECONDS");
  auto* device = app.add_option(
      "--device", arguments.device.kind,
      "cpu (default) or cuda; of --plan: memory, messages and time of a rank on such a device (" +
          pg::join(pg::ledger::known_devices(), ", ") + ")");
  app.add_option("--ranks-per-gpu", arguments.device.ranks_per_gpu,
                 "ranks that may share one GPU (default: 1)")
      ->check(CLI::Range(1, 64))
      ->needs(device)
      ->excludes(plan);
  app.add_option("--set", arguments.load.overrides,
                 "path=value, over the study and its preset; may be repeated")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--quick", arguments.load.quick, "the study's own small version");
  app.add_option("--run-dir", arguments.run_directory, "default: runs/<name of the study>")
      ->type_name("DIR");
  app.add_flag("--print-config", arguments.print_config,
               "print every resolved setting with its meaning, and stop");
  app.add_option("--format", arguments.format, "of --plan and --prove: text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->excludes(grid);
  // These two read one file and write one: what belongs to a study has no say.
  for (const char* name : {"--set", "--quick", "--run-dir", "--print-config", "--format",
                           "--hang-timeout", "--device"}) {
    weights->excludes(app.get_option(name));
    maps->excludes(app.get_option(name));
  }
  app.set_version_flag("--version", std::string("pgmpi ") + pg::kVersion);

  try {
    app.parse(argc, argv);
    arguments.has_grid = grid->count() > 0;
    arguments.has_plan = plan->count() > 0;
    arguments.has_prove = prove->count() > 0;
    arguments.has_device = device->count() > 0;
    const std::string& kind = arguments.device.kind;
    if (!arguments.has_plan && kind != "cpu" && kind != "cuda") {
      pg::throw_settings("--device " + kind, "cpu or cuda",
                         "--plan STUDY --device " + kind + " plans for one");
    }
    if (weights->count() > 0) {
      fmt::print("{}", pg::study::export_weights(arguments.export_weights, arguments.output));
      return static_cast<int>(pg::ExitCode::done);
    }
    if (maps->count() > 0) {
      fmt::print("{}", pg::study::write_attention_maps(arguments.attention_maps, arguments.output));
      return static_cast<int>(pg::ExitCode::done);
    }
    if (output->count() > 0) {
      pg::throw_settings("--output without what to write", "--export-weights or --attention-maps",
                         "pgmpi --help");
    }
    if (!arguments.has_grid && !arguments.has_plan && !arguments.has_prove &&
        !arguments.print_config) {
      pg::throw_settings(
          "nothing to do",
          "--grid, --plan, --prove, --export-weights, --attention-maps or --print-config",
          "pgmpi --help");
    }
    return static_cast<int>(
        act(arguments, pg::join(std::vector<std::string>(argv, argv + argc), " ")));
  } catch (const CLI::ParseError& error) {
    return pg::config::end_parse(app, error);
  } catch (...) {
    return pg::config::end_failure("pgmpi");
  }
}
