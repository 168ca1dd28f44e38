#include "comm/failure_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace pg::comm {
namespace {

constexpr std::size_t kMaxText = 4000;
constexpr std::size_t kMaxPeerText = 2400;  // leaves room for the ring

std::string time_text(std::int64_t nanoseconds) {
  FixedText<32> text;
  text.add_time(nanoseconds);
  return std::string(text.view());
}

/// Whether both count the same collectives: those of one trial, or those outside of any.
bool comparable(const Snapshot& mine, const Snapshot& peer) {
  return peer.trial.view() == mine.trial.view() && peer.state != RankState::ended;
}

bool in_team(const Snapshot& mine, int rank) {
  const Collective* team = mine.inside();
  return team == nullptr || (rank >= team->first_rank && rank < team->first_rank + team->size);
}

bool behind(const Snapshot& mine, const Snapshot& peer) {
  return comparable(mine, peer) && in_team(mine, peer.rank) &&
         (peer.n_begun() < mine.n_begun() || peer.step < mine.step);
}

std::string peer_line(const Peer& peer) {
  std::string line = "    " + describe(peer.snapshot);
  if (peer.life == Life::stopped) line += "; its process is paused";
  if (peer.life == Life::dead) line += "; its process is gone";
  return line + "\n";
}

}  // namespace

std::string silence_text(const Snapshot& mine, std::int64_t silent_ns,
                         std::span<const Peer> peers) {
  const Collective* collective = mine.inside();
  const auto weight = [&](const Peer& peer) {  // the likelier the cause, the greater
    const Snapshot& at = peer.snapshot;
    if (at.rank == mine.rank || at.state == RankState::ended) return 0;
    if (peer.life == Life::dead || peer.life == Life::stopped) return 4;
    if (collective != nullptr && collective->waits_for == at.rank) return 3;
    if (behind(mine, at)) return 2;
    return at.silent_ns() >= silent_ns ? 1 : 0;
  };
  std::vector<const Peer*> named;
  for (const Peer& peer : peers) {
    if (weight(peer) > 0) named.push_back(&peer);
  }
  std::stable_sort(named.begin(), named.end(),
                   [&](const Peer* a, const Peer* b) { return weight(*a) > weight(*b); });
  std::string text =
      fmt::format("pgmpi: no progress for {} on rank {}: this launch ends here\n  {}\n",
                  time_text(silent_ns), mine.rank, describe(mine));
  if (!named.empty()) text += "  ranks that are behind it or make no progress either:\n";
  for (std::size_t i = 0; i < named.size(); ++i) {
    const std::string line = peer_line(*named[i]);
    if (text.size() + line.size() > kMaxPeerText) {
      text += fmt::format("    and {} more\n", named.size() - i);
      break;
    }
    text += line;
  }
  const std::string last_line =
      fmt::format("  try: {}; the same command goes on with what is finished\n",
                  named.empty() ? "a longer time-out, if this work is known to take that long"
                                : "look at the ranks named here first");
  std::string ring = fmt::format("  last collectives of rank {}, newest first:\n{}", mine.rank,
                                 describe_ring(mine));
  const std::size_t room = kMaxText - text.size() - last_line.size();
  if (ring.size() > room) ring.resize(ring.rfind('\n', room - 1) + 1);
  if (mine.n_ring > 0) text += ring;
  return text + last_line;
}

std::string loss_text(const Peer& peer) {
  const Snapshot& at = peer.snapshot;
  Line place;
  add_last_place(place, at);
  const bool dead = peer.life == Life::dead;
  const std::string what =
      dead ? "died without a word; it was"
           : fmt::format("makes no progress for {}{}; it is", time_text(at.silent_ns()),
                         peer.life == Life::stopped ? ", its process is paused" : "");
  return fmt::format(
      "pgmpi: rank {} of {} on {} (pid {}) {} {}\n"
      "  try: {}; the same command goes on with what is finished\n",
      at.rank, at.n_ranks, at.host.view(), at.pid, what, place.view(),
      dead ? "look for a kill for want of memory (dmesg, sacct)"
           : "look at that process (ps, gdb -p)");
}

std::string lost_text(std::span<const Snapshot> lost) {
  std::vector<const Snapshot*> named;
  const bool any_said = std::any_of(lost.begin(), lost.end(),
                                    [](const Snapshot& s) { return s.said == Said::failure; });
  for (const Snapshot& snapshot : lost) {
    // Once one has told of a failure, the others were ended because of it.
    if (!any_said || snapshot.said == Said::failure) named.push_back(&snapshot);
  }
  // The first one that fell silent is the likeliest cause.
  std::stable_sort(named.begin(), named.end(), [](const Snapshot* a, const Snapshot* b) {
    return a->silent_ns() > b->silent_ns();
  });
  constexpr std::size_t kMaxLines = 4;
  std::string text;
  for (std::size_t i = 0; i < named.size() && i < kMaxLines; ++i) {
    Line place;
    add_last_place(place, *named[i]);
    text += fmt::format("the last launch ended {} rank {} ({}): it was {}\n",
                        any_said ? "with a failure of" : "without a word on", named[i]->rank,
                        named[i]->host.view(), place.view());
  }
  if (named.size() > kMaxLines) {
    text += fmt::format("and so on {} more ranks\n", named.size() - kMaxLines);
  }
  return text;
}

}  // namespace pg::comm
