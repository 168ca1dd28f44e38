#include "comm/session.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <cstdlib>
#include <optional>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {

std::string lone_rank_contradiction(const char* (*get)(const char* name)) {
  const auto number = [&](const char* name) {
    const char* text = get(name);
    return text != nullptr ? parse_integer(text) : std::optional<long long>();
  };
  const auto open_mpi = number("OMPI_COMM_WORLD_SIZE");
  if (open_mpi == 1) return {};  // mpirun -n 1: meant so, whatever the allocation holds
  if (open_mpi) {
    return fmt::format("this is rank 0 of 1, but mpirun started {} ranks (OMPI_COMM_WORLD_SIZE)",
                       *open_mpi);
  }
  const auto pmi = number("PMI_SIZE");
  if (pmi && *pmi > 1) {
    return fmt::format("this is rank 0 of 1, but the launcher started {} ranks (PMI_SIZE)", *pmi);
  }
  const auto step = number("SLURM_STEP_NUM_TASKS");
  if (step && *step > 1) {
    return fmt::format("this is rank 0 of 1, but the job step has {} tasks (SLURM_STEP_NUM_TASKS)",
                       *step);
  }
  const auto job = number("SLURM_NTASKS");
  if (!step && !pmi && job && *job > 1) {
    return fmt::format(
        "this is rank 0 of 1 without a launcher, but the job has {} tasks "
        "(SLURM_NTASKS)",
        *job);
  }
  return {};
}

Session::Session() {
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    throw IoError({"MPI does not start", "", "start the program under mpirun or srun"});
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  auto handle = std::make_unique<Communicator::Handle>();
  handle->mpi = MPI_COMM_WORLD;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &handle->size);
  recorder_ = std::make_unique<FlightRecorder>(rank, handle->size);
  handle->recorder = recorder_.get();
  world_ = std::make_unique<Communicator>(std::move(handle));
  if (world_->size() == 1) {
    const std::string contradiction =
        lone_rank_contradiction([](const char* name) -> const char* { return std::getenv(name); });
    if (!contradiction.empty()) {
      throw_settings(contradiction, "one MPI world over all tasks",
                     "srun --mpi=pmix, or mpirun inside the allocation; mpirun -n 1 for one rank");
    }
  }
}

Session::~Session() {
  recorder_->ended();
  world_.reset();
  MPI_Finalize();
}

std::string Session::library() {
  std::string text(MPI_MAX_LIBRARY_VERSION_STRING, '\0');
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  text.resize(static_cast<std::size_t>(length));
  return text.substr(0, text.find(','));
}

void Session::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace pg::comm
