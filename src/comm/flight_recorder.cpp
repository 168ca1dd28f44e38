#include "comm/flight_recorder.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "base/files.hpp"
#include "comm/snapshot_codec.hpp"

namespace pg::comm {
namespace {

using Word = std::atomic_ref<std::uint64_t>;
static_assert(Word::is_always_lock_free, "other processes and signal handlers read the words");

using Words = std::span<const std::uint64_t, layout::kWords>;

/// Shared and writable; null with errno set when the system refuses or the file is too short.
std::uint64_t* map_file(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return nullptr;
  struct stat info = {};
  void* mapped = MAP_FAILED;
  if (::fstat(file, &info) == 0) {
    errno = EINVAL;
    if (info.st_size >= static_cast<off_t>(layout::kBytes)) {
      mapped = ::mmap(nullptr, layout::kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
  }
  const int failure = errno;
  ::close(file);
  errno = failure;
  return mapped == MAP_FAILED ? nullptr : static_cast<std::uint64_t*>(mapped);
}

constexpr const char* kHint = "the run goes on without it, but a lost rank will not be named";

}  // namespace

// Stores are releases and loads acquires, not relaxed ones between two fences: the cost on x86 is
// the same, and a thread sanitizer understands them. A reader that saw any word of a change sees
// afterwards that its generation, or the entry's sequence number, is another one.
std::uint64_t FlightRecorder::load(std::size_t word) const {
  return Word(words_[word]).load(std::memory_order_acquire);
}

void FlightRecorder::store(std::size_t word, std::uint64_t value) {
  Word(words_[word]).store(value, std::memory_order_release);
}

void FlightRecorder::store_text(std::size_t first, std::size_t n_words, std::string_view text) {
  for (std::size_t i = 0; i < n_words; ++i) {
    std::uint64_t word = 0;
    if (8 * i < text.size()) {
      const auto part = text.substr(8 * i, 8);
      std::memcpy(&word, part.data(), part.size());
    }
    store(first + i, word);
  }
}

/// The generation is odd while one of these lives.
struct FlightRecorder::Change {
  explicit Change(FlightRecorder& of)
      : recorder(of), generation(recorder.load(layout::kGeneration)) {
    recorder.store(layout::kGeneration, generation + 1);
  }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;
  ~Change() { recorder.store(layout::kGeneration, generation + 2); }
  FlightRecorder& recorder;
  std::uint64_t generation;
};

FlightRecorder::FlightRecorder(int rank, int n_ranks)
    : private_(std::make_unique<std::uint64_t[]>(layout::kWords)), words_(private_.get()) {
  require(rank >= 0 && rank < n_ranks, "a recorder's rank lies in the world");
  const std::int64_t now = monotonic_ns();
  store(layout::kMagic, layout::kMagicValue);
  store(layout::kVersion, layout::kVersionValue);
  store(layout::kRank, static_cast<std::uint64_t>(rank));
  store(layout::kRanks, static_cast<std::uint64_t>(n_ranks));
  store(layout::kPid, static_cast<std::uint64_t>(::getpid()));
  store(layout::kProcessStart, process_start(::getpid()));
  store(layout::kBoot, boot_number());
  store(layout::kNamespace, process_namespace());
  store(layout::kWallOffset, static_cast<std::uint64_t>(wall_ns() - now));
  store(layout::kStarted, static_cast<std::uint64_t>(wall_ns()));
  store_text(layout::kHost, layout::kHostWords, host_name());
  store(layout::kIdentityHash, layout::identity_hash(Words(words_, layout::kWords)));
  store(layout::kLastProgress, static_cast<std::uint64_t>(now));
}

FlightRecorder::~FlightRecorder() {
  unmap();
}

void FlightRecorder::unmap() {
  if (words_ != private_.get()) ::munmap(words_, layout::kBytes);
  words_ = private_.get();
}

void FlightRecorder::attach(const std::filesystem::path& file, std::string_view launch) {
  require(words_ == private_.get(), "a recorder is attached once");
  store_text(layout::kLaunch, layout::kLaunchWords, launch);
  store(layout::kIdentityHash, layout::identity_hash(Words(words_, layout::kWords)));
  // Written and synced before it gets its name: a reader never meets half a file, and a full disk
  // is an error here instead of a SIGBUS later.
  PendingFile pending(file);
  write_in_place(pending.path(),
                 std::string_view(reinterpret_cast<const char*>(words_), layout::kBytes));
  std::uint64_t* mapped = map_file(pending.path());
  if (mapped == nullptr) throw_io("cannot map " + file.string() + " into memory", errno, kHint);
  words_ = mapped;
  try {
    pending.commit();
  } catch (...) {
    unmap();
    throw;
  }
}

void FlightRecorder::progress() {
  store(layout::kLastProgress, static_cast<std::uint64_t>(monotonic_ns()));
}

void FlightRecorder::enter_trial(std::string_view id, std::int64_t steps) {
  const Change change(*this);
  store_text(layout::kTrial, layout::kTrialWords, id);
  store(layout::kStep, 0);
  store(layout::kSteps, static_cast<std::uint64_t>(steps));
  store(layout::kPhaseStart, load(layout::kNewest));
  store(layout::kState, static_cast<std::uint64_t>(RankState::training));
  progress();
}

void FlightRecorder::leave_trial() {
  const Change change(*this);
  store_text(layout::kTrial, layout::kTrialWords, {});
  store(layout::kStep, 0);
  store(layout::kSteps, 0);
  store(layout::kPhaseStart, load(layout::kNewest));
  store(layout::kState, static_cast<std::uint64_t>(RankState::idle));
  progress();
}

void FlightRecorder::step(std::int64_t step) {
  store(layout::kStep, static_cast<std::uint64_t>(step));
  progress();
}

void FlightRecorder::begin(std::string_view operation, std::int64_t bytes, int first_rank,
                           int size) {
  const auto now = static_cast<std::uint64_t>(monotonic_ns());
  const std::uint64_t sequence = load(layout::kNewest) + 1;
  const std::size_t entry = layout::entry_of(sequence);
  store(entry + layout::kSequence, 0);  // a reader drops this entry until it is whole
  store(entry + layout::kCollectiveBytes, static_cast<std::uint64_t>(bytes));
  store(entry + layout::kFirstRank, static_cast<std::uint64_t>(first_rank));
  store(entry + layout::kTeamSize, static_cast<std::uint64_t>(size));
  store(entry + layout::kWaitsFor, static_cast<std::uint64_t>(-1));
  store(entry + layout::kStart, now);
  store(entry + layout::kEnd, 0);
  store_text(entry + layout::kOperation, layout::kOperationWords, operation);
  store(entry + layout::kSequence, sequence);
  store(layout::kNewest, sequence);
  store(layout::kLastProgress, now);
}

void FlightRecorder::waits_for(int rank) {
  const std::uint64_t newest = load(layout::kNewest);
  if (newest == 0) return;
  store(layout::entry_of(newest) + layout::kWaitsFor,
        static_cast<std::uint64_t>(std::int64_t{rank}));
  progress();
}

void FlightRecorder::end() {
  const std::uint64_t newest = load(layout::kNewest);
  if (newest == 0) return;
  const auto now = static_cast<std::uint64_t>(monotonic_ns());
  store(layout::entry_of(newest) + layout::kEnd, now);
  store(layout::kLastProgress, now);
}

void FlightRecorder::state(RankState state) {
  store(layout::kState, static_cast<std::uint64_t>(state));
  progress();
}

void FlightRecorder::ended() {
  state(RankState::ended);
}

void FlightRecorder::said(Said what) {
  store(layout::kSaid, static_cast<std::uint64_t>(what));
}

Snapshot FlightRecorder::snapshot() const noexcept {
  std::array<std::uint64_t, layout::kWords> words{};
  // Not for ever: if this is a signal handler, it may have interrupted the writer. Then the words
  // are taken as they are; each of them is whole.
  constexpr int kAttempts = 400;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    for (std::size_t i = 0; i < layout::kUsedWords; ++i) words[i] = load(i);
    if (settle(words, [&](std::size_t word) { return load(word); })) break;
    if (attempt % 4 == 3) ::poll(nullptr, 0, 1);  // the writer may have been put to sleep
  }
  auto snapshot = decode(words);
  if (!snapshot) return {};  // not reached while the words are this class's own
  snapshot->taken_ns = std::max(monotonic_ns(), snapshot->last_progress_ns);
  return *snapshot;
}

bool claim_message(const std::filesystem::path& file, const Snapshot& peer) {
  std::uint64_t* words = map_file(file);
  if (words == nullptr) return true;
  bool claimed = false;
  // Another launch may have put its own file there.
  if (words[layout::kPid] == static_cast<std::uint64_t>(peer.pid) &&
      words[layout::kProcessStart] == peer.process_start) {
    auto expected = static_cast<std::uint64_t>(Said::nothing);
    claimed = Word(words[layout::kSaid])
                  .compare_exchange_strong(expected, static_cast<std::uint64_t>(Said::failure));
  }
  ::munmap(words, layout::kBytes);
  return claimed;
}

}  // namespace pg::comm
