#include <mpi.h>

#include <cstring>

#include "comm/communicator.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {
namespace {

// Layout of rank 0's window, in 64-bit words: the next ticket, the stop flag, then one status a
// rank.
constexpr MPI_Aint kTicketWord = 0;
constexpr MPI_Aint kStopWord = 1;
constexpr MPI_Aint kStatusWord = 2;
constexpr int kStatusWords = sizeof(RankStatus) / sizeof(std::int64_t);
static_assert(sizeof(RankStatus) == 7 * sizeof(std::int64_t), "a status is words without padding");

}  // namespace

struct TicketBoard::State {
  const Communicator& communicator;
  MPI_Win window = MPI_WIN_NULL;
  std::int64_t* words = nullptr;

  std::int64_t fetch(MPI_Aint word, std::int64_t add, MPI_Op operation) {
    std::int64_t before = 0;
    check_mpi(MPI_Fetch_and_op(&add, &before, MPI_INT64_T, 0, word, operation, window),
              "MPI_Fetch_and_op");
    check_mpi(MPI_Win_flush(0, window), "MPI_Win_flush");
    return before;
  }
};

TicketBoard::TicketBoard(const Communicator& communicator)
    : state_(std::make_unique<State>(State{communicator})) {
  const MPI_Comm mpi = communicator.handle().mpi;
  const MPI_Aint count =
      communicator.rank() == 0 ? kStatusWord + MPI_Aint{kStatusWords} * communicator.size() : 0;
  const MPI_Aint bytes = count * static_cast<MPI_Aint>(sizeof(std::int64_t));
  check_mpi(MPI_Win_allocate(bytes, sizeof(std::int64_t), MPI_INFO_NULL, mpi,
                             static_cast<void*>(&state_->words), &state_->window),
            "MPI_Win_allocate");
  check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, state_->window), "MPI_Win_lock_all");
  if (communicator.rank() == 0) {
    std::memset(state_->words, 0, static_cast<std::size_t>(bytes));
    for (int rank = 0; rank < communicator.size(); ++rank) {
      state_->words[kStatusWord + MPI_Aint{kStatusWords} * rank] = -1;  // no job yet
    }
    MPI_Win_sync(state_->window);
  }
  check_mpi(MPI_Barrier(mpi), "MPI_Barrier");  // nobody takes a ticket before the zeros are there
}

TicketBoard::~TicketBoard() {
  MPI_Win_unlock_all(state_->window);
  MPI_Win_free(&state_->window);
}

void TicketBoard::progress() {
  int waiting = 0;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, state_->communicator.handle().mpi, &waiting,
                       MPI_STATUS_IGNORE),
            "MPI_Iprobe");
}

std::int64_t TicketBoard::take() {
  return state_->fetch(kTicketWord, 1, MPI_SUM);
}

void TicketBoard::request_stop() {
  state_->fetch(kStopWord, 1, MPI_REPLACE);
}

bool TicketBoard::stop_requested() {
  return state_->fetch(kStopWord, 0, MPI_NO_OP) != 0;
}

void TicketBoard::post(const RankStatus& status) {
  const MPI_Aint word = kStatusWord + MPI_Aint{kStatusWords} * state_->communicator.rank();
  check_mpi(MPI_Accumulate(&status, kStatusWords, MPI_INT64_T, 0, word, kStatusWords, MPI_INT64_T,
                           MPI_REPLACE, state_->window),
            "MPI_Accumulate");
  check_mpi(MPI_Win_flush(0, state_->window), "MPI_Win_flush");
}

std::vector<RankStatus> TicketBoard::statuses() {
  const int count = kStatusWords * state_->communicator.size();
  std::vector<std::int64_t> words(static_cast<std::size_t>(count));
  const std::int64_t unused = 0;
  check_mpi(MPI_Get_accumulate(&unused, 0, MPI_INT64_T, words.data(), count, MPI_INT64_T, 0,
                               kStatusWord, count, MPI_INT64_T, MPI_NO_OP, state_->window),
            "MPI_Get_accumulate");
  check_mpi(MPI_Win_flush(0, state_->window), "MPI_Win_flush");
  std::vector<RankStatus> statuses(static_cast<std::size_t>(state_->communicator.size()));
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const std::int64_t* status = &words[i * kStatusWords];
    statuses[i] = {status[0], status[1], status[2], status[3], status[4], status[5], status[6]};
  }
  return statuses;
}

}  // namespace pg::comm
