#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "comm/flight_layout.hpp"
#include "comm/flight_snapshot.hpp"

// Inside comm only: words of a recorder into a Snapshot.

namespace pg::comm {

/// Nothing if the words are none of a recorder of this layout. Every field is checked, because the
/// words may come from any file. `taken_ns` is left 0. Safe in a signal handler.
std::optional<Snapshot> decode(std::span<const std::uint64_t, layout::kWords> words);

/// After all words were copied while a writer may have been at work: drops the entries of the ring
/// that changed meanwhile. `again` loads a word anew. False if the trial or the newest entry is
/// among what changed, so that copying again is worth while. Safe in a signal handler.
template <typename Load>
bool settle(std::span<std::uint64_t, layout::kWords> words, const Load& again) {
  for (std::size_t i = 0; i < layout::kRingEntries; ++i) {
    std::uint64_t& sequence = words[layout::kRing + i * layout::kEntryWords + layout::kSequence];
    if (again(layout::kRing + i * layout::kEntryWords + layout::kSequence) != sequence) {
      sequence = 0;
    }
  }
  const std::uint64_t generation = words[layout::kGeneration];
  const std::uint64_t newest = words[layout::kNewest];
  return generation % 2 == 0 && again(layout::kGeneration) == generation &&
         (newest == 0 || words[layout::entry_of(newest) + layout::kSequence] == newest);
}

}  // namespace pg::comm
