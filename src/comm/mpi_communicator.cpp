#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <exception>
#include <limits>
#include <thread>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/communicator.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {
namespace {

int message_length(std::size_t count) {
  require(count <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
          "a message that MPI can count");
  return static_cast<int>(count);
}

}  // namespace

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

Communicator::Communicator() : handle_(std::make_unique<Handle>()) {}

Communicator Communicator::alone() {
  return {};
}

Communicator::~Communicator() {
  // Freeing is collective: not in the error path.
  if (handle_->owned && std::uncaught_exceptions() == 0) MPI_Comm_free(&handle_->mpi);
}

std::string Communicator::broadcast(const std::string& text) const {
  if (size_ == 1) return text;
  const Recorded recorded(*this, "broadcast", text.size());
  auto length = static_cast<std::int64_t>(text.size());
  check_mpi(MPI_Bcast(&length, 1, MPI_INT64_T, 0, handle_->mpi), "MPI_Bcast");
  std::string result = text;
  result.resize(static_cast<std::size_t>(length));
  check_mpi(MPI_Bcast(result.data(), message_length(result.size()), MPI_BYTE, 0, handle_->mpi),
            "MPI_Bcast");
  return result;
}

std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  if (size_ == 1) return {text};
  const Recorded recorded(*this, "all_gather", text.size());
  const int length = message_length(text.size());
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

std::vector<std::string> Communicator::all_to_all(const std::vector<std::string>& texts) const {
  require(texts.size() == static_cast<std::size_t>(size_), "a text for every rank");
  if (size_ == 1) return texts;
  const std::string all = join(texts, "");
  const Recorded recorded(*this, "all_to_all", all.size());
  struct Lengths {
    std::vector<int> counts;
    std::vector<int> offsets;
    int total = 0;
    explicit Lengths(std::size_t n) : counts(n), offsets(n) {}
    void add_offsets() {
      for (std::size_t i = 0; i < counts.size(); ++i) {
        offsets[i] = total;
        total =
            message_length(static_cast<std::size_t>(total) + static_cast<std::size_t>(counts[i]));
      }
    }
  };
  Lengths sent(texts.size());
  std::transform(texts.begin(), texts.end(), sent.counts.begin(),
                 [](const std::string& text) { return message_length(text.size()); });
  sent.add_offsets();
  Lengths received(texts.size());
  check_mpi(MPI_Alltoall(sent.counts.data(), 1, MPI_INT, received.counts.data(), 1, MPI_INT,
                         handle_->mpi),
            "MPI_Alltoall");
  received.add_offsets();
  std::string arrived(static_cast<std::size_t>(received.total), '\0');
  check_mpi(
      MPI_Alltoallv(all.data(), sent.counts.data(), sent.offsets.data(), MPI_BYTE, arrived.data(),
                    received.counts.data(), received.offsets.data(), MPI_BYTE, handle_->mpi),
      "MPI_Alltoallv");
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    parts.push_back(arrived.substr(static_cast<std::size_t>(received.offsets[i]),
                                   static_cast<std::size_t>(received.counts[i])));
  }
  return parts;
}

void Communicator::all_reduce(std::span<std::int64_t> words) const {
  if (size_ == 1) return;
  const Recorded recorded(*this, "all_reduce", words.size_bytes());
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, words.data(), message_length(words.size()), MPI_INT64_T,
                          MPI_SUM, handle_->mpi),
            "MPI_Allreduce");
}

std::unique_ptr<Communicator> Communicator::split(int color) const {
  if (size_ == 1) return std::unique_ptr<Communicator>(new Communicator(alone()));
  const Recorded recorded(*this, "split", 0);
  auto handle = std::make_unique<Handle>(*handle_);  // the recorder knows runs of ranks only
  handle->owned = true;
  check_mpi(MPI_Comm_split(handle_->mpi, color, rank_, &handle->mpi), "MPI_Comm_split");
  return std::make_unique<Communicator>(std::move(handle));
}

void Communicator::wait_for_all(const std::function<void()>& meanwhile) const {
  if (size_ == 1) return;
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

Teams::Teams(const Communicator& world) {
  const MPI_Comm mpi = world.handle().mpi;
  by_level_.emplace_back(new Communicator(Communicator::alone()));
  for (int size = 2; size <= world.size(); size *= 2) {
    const int block = world.rank() / size;
    const bool complete = (block + 1) * size <= world.size();
    auto handle = std::make_unique<Communicator::Handle>();
    handle->owned = true;
    handle->recorder = world.handle().recorder;
    handle->first_rank = block * size;
    handle->size = size;
    check_mpi(MPI_Comm_split(mpi, complete ? block : MPI_UNDEFINED, world.rank(), &handle->mpi),
              "MPI_Comm_split");
    by_level_.push_back(complete ? std::make_unique<Communicator>(std::move(handle)) : nullptr);
  }
}

Teams::~Teams() = default;

const Communicator& Teams::of_size(int size) const {
  const bool power = size > 0 && std::has_single_bit(static_cast<unsigned>(size));
  const auto level = power ? static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(size)))
                           : by_level_.size();
  if (level >= by_level_.size() || by_level_[level] == nullptr) {
    throw InternalError({fmt::format("this rank has no team of {} ranks", size), "", ""});
  }
  return *by_level_[level];
}

int Teams::largest(int n_ranks) {
  return static_cast<int>(std::bit_floor(static_cast<unsigned>(n_ranks)));
}

}  // namespace pg::comm
