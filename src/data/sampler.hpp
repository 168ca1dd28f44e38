#pragma once

#include <cstdint>
#include <vector>

// Which windows of a corpus a step reads. A window is sequence_length inputs and, one token later,
// their targets: sequence_length + 1 tokens.

namespace pg::data {

/// (step, slot) -> window of the training split: a pure function of the seed, the same on any rank
/// and in any order (promise P1).
///
/// Slot s of step t is sample i = t * batch + s; epoch e = i / n_windows. An epoch cuts the split
/// into n_windows adjacent windows from a random phase in [0, sequence_length) on, so that epochs
/// see other cuts, and reads them in the order of a keyed permutation: each exactly once. The
/// number of windows is that of the largest phase, (n_tokens - T) / T, so every epoch is equally
/// long; the up to 2T - 1 tokens outside an epoch's windows are inside another epoch's. A split
/// below 2T tokens has one window, with a phase from the room that is left.
class Sampler {
 public:
  /// n_tokens >= sequence_length + 1 (corpus.hpp: require_length), sequence_length >= 1.
  Sampler(std::int64_t n_tokens, std::int64_t sequence_length, std::uint64_t seed);

  [[nodiscard]] std::int64_t n_windows() const { return n_windows_; }
  /// First token of the window. step >= 0, 0 <= slot < batch.
  [[nodiscard]] std::int64_t position(std::int64_t step, std::int64_t slot,
                                      std::int64_t batch) const;
  /// How often `steps` steps read the training split.
  [[nodiscard]] double epochs(std::int64_t steps, std::int64_t batch) const;

 private:
  std::int64_t sequence_length_;
  std::int64_t n_windows_;
  std::int64_t n_phases_;
  std::uint64_t seed_;
};

/// First tokens of the fixed validation windows: adjacent, from the start of the held-out split, at
/// most max_sequences (0: all). Independent of batch and seed. n_tokens >= sequence_length + 1.
std::vector<std::int64_t> validation_positions(std::int64_t n_tokens, std::int64_t sequence_length,
                                               std::int64_t max_sequences);

}  // namespace pg::data
