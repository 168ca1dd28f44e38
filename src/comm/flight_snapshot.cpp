#include "comm/flight_snapshot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "comm/snapshot_codec.hpp"

namespace pg::comm {
namespace {

using Words = std::span<const std::uint64_t, layout::kWords>;

/// The text of these words up to the first zero byte; what does not print becomes '?', so that a
/// damaged file cannot garble a terminal.
template <std::size_t kCapacity>
void decode_text(Words words, std::size_t first, FixedText<kCapacity>& text) {
  for (std::size_t i = 0; i < kCapacity; ++i) {
    const auto byte = static_cast<char>(words[first + i / 8] >> (8 * (i % 8)));
    if (byte == '\0') return;
    const char shown = byte >= ' ' && byte <= '~' ? byte : '?';
    text.add(std::string_view(&shown, 1));
  }
}

bool is_rank(std::uint64_t word) {
  return word < static_cast<std::uint64_t>(std::numeric_limits<int>::max());
}

std::optional<Collective> decode_entry(Words words, std::uint64_t sequence) {
  const auto entry = words.subspan(layout::entry_of(sequence), layout::kEntryWords);
  if (entry[layout::kSequence] != sequence) return std::nullopt;
  if (!is_rank(entry[layout::kFirstRank]) || !is_rank(entry[layout::kTeamSize])) {
    return std::nullopt;
  }
  Collective collective;
  collective.sequence = sequence;
  decode_text(words, layout::entry_of(sequence) + layout::kOperation, collective.operation);
  collective.bytes =
      std::max(std::int64_t{0}, static_cast<std::int64_t>(entry[layout::kCollectiveBytes]));
  collective.first_rank = static_cast<int>(entry[layout::kFirstRank]);
  collective.size = static_cast<int>(entry[layout::kTeamSize]);
  const std::uint64_t waits_for = entry[layout::kWaitsFor];
  collective.waits_for = is_rank(waits_for) ? static_cast<int>(waits_for) : -1;
  collective.start_ns = static_cast<std::int64_t>(entry[layout::kStart]);
  collective.end_ns = static_cast<std::int64_t>(entry[layout::kEnd]);
  return collective;
}

void add_collective(Line& line, const Collective& collective) {
  line.add(collective.operation.view()).add(" #");
  line.add(static_cast<std::int64_t>(collective.sequence)).add(" (");
  line.add_bytes(collective.bytes).add(", team ").add(std::int64_t{collective.first_rank});
  if (collective.size > 1) {
    line.add("-").add(std::int64_t{collective.first_rank} + collective.size - 1);
  }
  if (collective.waits_for >= 0) {
    line.add(", waiting for rank ").add(std::int64_t{collective.waits_for});
  }
  line.add(")");
}

std::string_view activity(RankState state) {
  switch (state) {
    case RankState::starting: return "starting";
    case RankState::idle: return "waiting for work";
    case RankState::training: return "computing";
    case RankState::saving: return "saving";
    case RankState::ended: return "ended";
  }
  return "in an unknown state";
}

void add_trial(Line& line, const Snapshot& snapshot) {
  if (snapshot.trial.empty()) {
    line.add("no trial, ");
    return;
  }
  line.add("trial ").add(snapshot.trial.view()).add(", step ").add(snapshot.step);
  line.add(" of ").add(snapshot.steps).add(", ");
}

void add_last_collective(Line& line, const Snapshot& snapshot) {
  if (snapshot.n_ring == 0) return;
  line.add("; last collective: ").add(snapshot.ring[0].operation.view()).add(" #");
  line.add(static_cast<std::int64_t>(snapshot.ring[0].sequence));
}

bool from_this_machine(const Snapshot& snapshot) {
  return snapshot.host.view() == std::string_view(host_name()).substr(0, 64);
}

/// The words of a file, whole or not at all.
bool read_words(int file, std::array<std::uint64_t, layout::kWords>& words) {
  return ::pread(file, words.data(), layout::kBytes, 0) == static_cast<ssize_t>(layout::kBytes);
}

}  // namespace

std::optional<Snapshot> decode(Words words) {
  if (words[layout::kMagic] != layout::kMagicValue ||
      words[layout::kVersion] != layout::kVersionValue ||
      words[layout::kIdentityHash] != layout::identity_hash(words)) {
    return std::nullopt;
  }
  if (!is_rank(words[layout::kRanks]) || words[layout::kRank] >= words[layout::kRanks] ||
      words[layout::kState] > static_cast<std::uint64_t>(RankState::ended) ||
      words[layout::kSaid] > static_cast<std::uint64_t>(Said::followed)) {
    return std::nullopt;
  }
  Snapshot snapshot;
  snapshot.rank = static_cast<int>(words[layout::kRank]);
  snapshot.n_ranks = static_cast<int>(words[layout::kRanks]);
  snapshot.pid = static_cast<std::int64_t>(words[layout::kPid]);
  snapshot.process_start = words[layout::kProcessStart];
  snapshot.boot = words[layout::kBoot];
  snapshot.process_namespace = words[layout::kNamespace];
  snapshot.started_wall_ns = static_cast<std::int64_t>(words[layout::kStarted]);
  decode_text(words, layout::kHost, snapshot.host);
  decode_text(words, layout::kLaunch, snapshot.launch);
  snapshot.state = static_cast<RankState>(words[layout::kState]);
  snapshot.said = static_cast<Said>(words[layout::kSaid]);
  decode_text(words, layout::kTrial, snapshot.trial);
  snapshot.step = static_cast<std::int64_t>(words[layout::kStep]);
  snapshot.steps = static_cast<std::int64_t>(words[layout::kSteps]);
  snapshot.last_progress_ns = static_cast<std::int64_t>(words[layout::kLastProgress]);
  snapshot.phase_start = words[layout::kPhaseStart];
  const std::uint64_t newest = words[layout::kNewest];
  for (std::uint64_t back = 0; back < layout::kRingEntries && back < newest; ++back) {
    const auto collective = decode_entry(words, newest - back);
    if (!collective) break;
    snapshot.ring[snapshot.n_ring++] = *collective;
  }
  return snapshot;
}

std::optional<Snapshot> read_snapshot(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return std::nullopt;
  std::array<std::uint64_t, layout::kWords> words{};
  bool whole = false;
  // A writer is done within microseconds, or milliseconds if it was put to sleep. One that died
  // inside a change never is: then the words are taken as they are, each of them is whole.
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::array<std::uint64_t, layout::kWords> later{};
    whole = read_words(file, words) && read_words(file, later);
    if (!whole || settle(words, [&](std::size_t word) { return later[word]; })) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::close(file);
  if (!whole) return std::nullopt;
  auto snapshot = decode(words);
  if (!snapshot) return std::nullopt;
  // Of another machine, or of this one before it was booted, only the wall clocks have a common
  // start.
  const bool same_clock = from_this_machine(*snapshot) && snapshot->boot == boot_number();
  snapshot->taken_ns = same_clock
                           ? monotonic_ns()
                           : wall_ns() - static_cast<std::int64_t>(words[layout::kWallOffset]);
  return snapshot;
}

std::string recorder_file_name(int rank) {
  return fmt::format("rank_{:05}.flight", rank);
}

std::vector<Snapshot> read_snapshots(const std::filesystem::path& folder) {
  std::vector<Snapshot> snapshots;
  std::error_code failure;
  std::filesystem::directory_iterator entry(folder, failure);
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    if (entry->path().extension() != ".flight") continue;
    if (auto snapshot = read_snapshot(entry->path())) snapshots.push_back(*snapshot);
  }
  std::sort(snapshots.begin(), snapshots.end(),
            [](const Snapshot& a, const Snapshot& b) { return a.rank < b.rank; });
  return snapshots;
}

Life life(const Snapshot& snapshot) {
  if (!from_this_machine(snapshot)) return Life::unknown;
  if (snapshot.boot != boot_number()) return Life::dead;
  if (snapshot.process_namespace != process_namespace()) return Life::unknown;
  return process_life(snapshot.pid, snapshot.process_start);
}

void add_description(Line& line, const Snapshot& snapshot) {
  line.add("rank ").add(std::int64_t{snapshot.rank}).add(" of ");
  line.add(std::int64_t{snapshot.n_ranks}).add(" on ").add(snapshot.host.view());
  line.add(" (pid ").add(snapshot.pid).add("): ");
  add_trial(line, snapshot);
  if (snapshot.state == RankState::ended) {
    line.add("ended");
  } else if (const Collective* collective = snapshot.inside()) {
    line.add("in ");
    add_collective(line, *collective);
    line.add(" for ").add_time(snapshot.taken_ns - collective->start_ns);
  } else {
    line.add(activity(snapshot.state)).add(", no progress for ").add_time(snapshot.silent_ns());
    add_last_collective(line, snapshot);
  }
}

void add_last_place(Line& line, const Snapshot& snapshot) {
  line.add("in ");
  add_trial(line, snapshot);
  if (const Collective* collective = snapshot.inside()) {
    line.add("in ");
    add_collective(line, *collective);
  } else {
    line.add(activity(snapshot.state));
    add_last_collective(line, snapshot);
  }
}

std::string describe(const Snapshot& snapshot) {
  Line line;
  add_description(line, snapshot);
  return std::string(line.view());
}

std::string describe_ring(const Snapshot& snapshot) {
  std::string text;
  for (std::size_t i = 0; i < snapshot.n_ring; ++i) {
    const Collective& collective = snapshot.ring[i];
    Line line;
    line.add("    ");
    add_collective(line, collective);
    line.add(" begun ").add_time(snapshot.taken_ns - collective.start_ns).add(" ago, ");
    if (collective.end_ns == 0) {
      line.add("not ended\n");
    } else {
      line.add("took ").add_time(collective.end_ns - collective.start_ns).add("\n");
    }
    text += line.view();
  }
  return text;
}

}  // namespace pg::comm
