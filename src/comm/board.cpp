#include "comm/board.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "base/error.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {
namespace {

// Layout of rank 0's window, in 64-bit words: the number of places taken in the log, the stop flag,
// one status a rank, then the places. A place is an entry and a word that says it is complete.
constexpr MPI_Aint kTakenWord = 0;
constexpr MPI_Aint kStopWord = 1;
constexpr MPI_Aint kStatusWord = 2;
constexpr int kStatusWords = sizeof(RankStatus) / sizeof(std::int64_t);
static_assert(sizeof(RankStatus) == 7 * sizeof(std::int64_t), "a status is words without padding");
constexpr int kEntryWords = std::tuple_size_v<Board::Entry>;
constexpr int kPlaceWords = kEntryWords + 1;
/// Places fetched at a time: a rank that waits looks at few, one that was long away asks again.
constexpr std::int64_t kPlacesAtOnce = 16;

}  // namespace

struct Board::State {
  const Communicator& communicator;
  std::int64_t capacity = 0;
  MPI_Win window = MPI_WIN_NULL;
  std::int64_t* words = nullptr;

  [[nodiscard]] MPI_Aint place_word(std::int64_t place) const {
    return kStatusWord + MPI_Aint{kStatusWords} * communicator.size() +
           MPI_Aint{kPlaceWords} * place;
  }
  std::int64_t fetch(MPI_Aint word, std::int64_t add, MPI_Op operation) {
    std::int64_t before = 0;
    check_mpi(MPI_Fetch_and_op(&add, &before, MPI_INT64_T, 0, word, operation, window),
              "MPI_Fetch_and_op");
    check_mpi(MPI_Win_flush(0, window), "MPI_Win_flush");
    return before;
  }
  void write(MPI_Aint word, const void* from, int count) {
    check_mpi(
        MPI_Accumulate(from, count, MPI_INT64_T, 0, word, count, MPI_INT64_T, MPI_REPLACE, window),
        "MPI_Accumulate");
    check_mpi(MPI_Win_flush(0, window), "MPI_Win_flush");
  }
  std::vector<std::int64_t> read(MPI_Aint word, int count) {
    std::vector<std::int64_t> result(static_cast<std::size_t>(count));
    const std::int64_t unused = 0;
    check_mpi(MPI_Get_accumulate(&unused, 0, MPI_INT64_T, result.data(), count, MPI_INT64_T, 0,
                                 word, count, MPI_INT64_T, MPI_NO_OP, window),
              "MPI_Get_accumulate");
    check_mpi(MPI_Win_flush(0, window), "MPI_Win_flush");
    return result;
  }
};

Board::Board(const Communicator& communicator, std::int64_t capacity)
    : state_(std::make_unique<State>(State{communicator, capacity})) {
  const MPI_Comm mpi = communicator.handle().mpi;
  const MPI_Aint count = communicator.rank() == 0 ? state_->place_word(capacity) : 0;
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
  check_mpi(MPI_Barrier(mpi), "MPI_Barrier");  // nobody writes before the zeros are there
}

Board::~Board() {
  // Freeing is collective, and the error path must not wait for ranks that know nothing of it.
  if (std::uncaught_exceptions() > 0 && state_->communicator.size() > 1) return;
  MPI_Win_unlock_all(state_->window);
  MPI_Win_free(&state_->window);
}

void Board::progress() {
  int waiting = 0;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, state_->communicator.handle().mpi, &waiting,
                       MPI_STATUS_IGNORE),
            "MPI_Iprobe");
}

void Board::append(const Entry& entry) {
  const std::int64_t place = state_->fetch(kTakenWord, 1, MPI_SUM);
  require(place < state_->capacity, "a log with a place for every entry");
  const MPI_Aint word = state_->place_word(place);
  state_->write(word, entry.data(), kEntryWords);
  state_->fetch(word + kEntryWords, 1, MPI_REPLACE);  // complete: after the flush of the entry
}

std::vector<Board::Entry> Board::entries_from(std::int64_t first) {
  std::vector<Entry> entries;
  for (;;) {
    const std::int64_t count = std::min(kPlacesAtOnce, state_->capacity - first);
    if (count <= 0) return entries;
    const auto words =
        state_->read(state_->place_word(first), static_cast<int>(count) * kPlaceWords);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto place = words.begin() + i * kPlaceWords;
      if (place[kEntryWords] == 0) return entries;
      Entry entry;
      std::copy_n(place, kEntryWords, entry.begin());
      entries.push_back(entry);
    }
    first += count;
  }
}

void Board::request_stop() {
  state_->fetch(kStopWord, 1, MPI_REPLACE);
}

bool Board::stop_requested() {
  return state_->fetch(kStopWord, 0, MPI_NO_OP) != 0;
}

void Board::post(const RankStatus& status) {
  const MPI_Aint word = kStatusWord + MPI_Aint{kStatusWords} * state_->communicator.rank();
  state_->write(word, &status, kStatusWords);
}

std::vector<RankStatus> Board::statuses() {
  const auto words = state_->read(kStatusWord, kStatusWords * state_->communicator.size());
  std::vector<RankStatus> statuses(static_cast<std::size_t>(state_->communicator.size()));
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const std::int64_t* status = &words[i * kStatusWords];
    statuses[i] = {status[0], status[1], status[2], status[3], status[4], status[5], status[6]};
  }
  return statuses;
}

}  // namespace pg::comm
