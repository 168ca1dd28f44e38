#include "data/sampler.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/random.hpp"

namespace pg::data {
namespace {

// Far from the few indices that Permutation reads from the same stream.
constexpr std::uint64_t kPhaseIndex = std::uint64_t{1} << 63;

}  // namespace

Sampler::Sampler(std::int64_t n_tokens, std::int64_t sequence_length, std::uint64_t seed)
    : sequence_length_(sequence_length), n_windows_(0), n_phases_(0), seed_(seed) {
  require(sequence_length >= 1 && n_tokens > sequence_length, "a split of one window at least");
  n_windows_ = std::max<std::int64_t>(1, (n_tokens - sequence_length) / sequence_length);
  n_phases_ = std::min(sequence_length, n_tokens - n_windows_ * sequence_length);
}

std::int64_t Sampler::position(std::int64_t step, std::int64_t slot, std::int64_t batch) const {
  require(step >= 0 && slot >= 0 && slot < batch, "a slot inside the batch");
  const std::int64_t sample = step * batch + slot;
  const std::int64_t epoch = sample / n_windows_;
  const random::Stream stream(seed_, random::Purpose::sample_order,
                              static_cast<std::uint64_t>(epoch));
  const random::Permutation order(static_cast<std::uint64_t>(n_windows_), stream);
  const auto phase =
      static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(n_phases_), kPhaseIndex));
  const auto window =
      static_cast<std::int64_t>(order(static_cast<std::uint64_t>(sample % n_windows_)));
  return phase + window * sequence_length_;
}

double Sampler::epochs(std::int64_t steps, std::int64_t batch) const {
  return static_cast<double>(steps) * static_cast<double>(batch) / static_cast<double>(n_windows_);
}

std::vector<std::int64_t> validation_positions(std::int64_t n_tokens, std::int64_t sequence_length,
                                               std::int64_t max_sequences) {
  require(sequence_length >= 1 && n_tokens > sequence_length && max_sequences >= 0,
          "a validation split of one window at least");
  std::int64_t count = (n_tokens - 1) / sequence_length;
  if (max_sequences > 0) count = std::min(count, max_sequences);
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < count; ++i) positions.push_back(i * sequence_length);
  return positions;
}

}  // namespace pg::data
