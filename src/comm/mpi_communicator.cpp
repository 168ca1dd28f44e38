#include <fmt/format.h>
#include <mpi.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/communicator.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  text.resize(static_cast<std::size_t>(length));
  throw IoError({fmt::format("{} failed: {}", call, text), "",
                 "look for a dead rank or node in the launcher's output"});
}

Communicator::Communicator(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {
  check_mpi(MPI_Comm_rank(handle_->mpi, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(handle_->mpi, &size_), "MPI_Comm_size");
}

Communicator::~Communicator() = default;

std::string Communicator::broadcast(const std::string& text) const {
  auto length = static_cast<std::int64_t>(text.size());
  check_mpi(MPI_Bcast(&length, 1, MPI_INT64_T, 0, handle_->mpi), "MPI_Bcast");
  std::string result = text;
  result.resize(static_cast<std::size_t>(length));
  check_mpi(MPI_Bcast(result.data(), static_cast<int>(length), MPI_BYTE, 0, handle_->mpi),
            "MPI_Bcast");
  return result;
}

std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  const int length = static_cast<int>(text.size());
  std::vector<int> lengths(static_cast<std::size_t>(size_));
  check_mpi(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, handle_->mpi),
            "MPI_Allgather");
  std::vector<int> offsets(lengths.size());
  int total = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    offsets[i] = total;
    total += lengths[i];
  }
  std::string all(static_cast<std::size_t>(total), '\0');
  check_mpi(MPI_Allgatherv(text.data(), length, MPI_BYTE, all.data(), lengths.data(),
                           offsets.data(), MPI_BYTE, handle_->mpi),
            "MPI_Allgatherv");
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    parts.push_back(
        all.substr(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(lengths[i])));
  }
  return parts;
}

void Communicator::wait_for_all(const std::function<void()>& meanwhile) const {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(handle_->mpi, &request), "MPI_Ibarrier");
  for (;;) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return;
    meanwhile();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Session::Session() {
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    throw IoError({"MPI does not start", "", "start the program under mpirun or srun"});
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  auto handle = std::make_unique<Communicator::Handle>();
  handle->mpi = MPI_COMM_WORLD;
  world_ = std::make_unique<Communicator>(std::move(handle));
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  const auto expected = tasks != nullptr ? parse_integer(tasks) : std::optional<long long>();
  if (world_->size() == 1 && expected && *expected > 1) {
    throw_settings(fmt::format("this is rank 0 of 1, but the job step has {} tasks", *expected),
                   "one MPI world over all tasks",
                   "srun --mpi=pmix, or mpirun inside the allocation");
  }
}

Session::~Session() {
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
