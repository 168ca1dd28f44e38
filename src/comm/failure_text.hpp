#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "comm/flight_snapshot.hpp"

// The words for a rank that died or hangs. Each text fits one write into a pipe (4096 bytes), so
// that what several ranks print does not mix.

namespace pg::comm {

struct Peer {
  Snapshot snapshot;
  Life life = Life::unknown;
};

/// For the rank that made no progress for `silent_ns`: where it is, who keeps it waiting (peers
/// behind it in its team or trial, and those that make no progress either), its last collectives.
std::string silence_text(const Snapshot& mine, std::int64_t silent_ns, std::span<const Peer> peers);

/// On behalf of a rank of this machine that cannot speak any more: dead, or alive but silent for
/// longer than its own watchdog would allow.
std::string loss_text(const Peer& peer);

/// For the next launch and for status commands: which ranks of the last launch ended without a
/// word; if one of them left a word, only those that did. Empty for no ranks.
std::string lost_text(std::span<const Snapshot> lost);

}  // namespace pg::comm
