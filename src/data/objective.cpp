#include "data/objective.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/random.hpp"

namespace pg::data {
namespace {

// Validation samples stand far from those of any training.
constexpr std::uint64_t kValidation = std::uint64_t{1} << 63;
// Within a sample, the cuts between gaps follow the cuts between spans.
constexpr std::uint64_t kGaps = std::uint64_t{1} << 32;

/// Lengths >= 1 of `n_parts` parts of `total`, all ways alike likely: a random choice of
/// n_parts - 1 of the total - 1 places between neighbours.
std::vector<std::int64_t> random_parts(std::int64_t total, std::int64_t n_parts,
                                       const random::Stream& stream, std::uint64_t first_index) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(total - 1));
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<std::int64_t>(i) + 1;
  // The first n_parts - 1 of a shuffle by Fisher and Yates.
  const auto n_cuts = static_cast<std::size_t>(n_parts - 1);
  for (std::size_t i = 0; i < n_cuts; ++i) {
    const auto j = i + stream.below(places.size() - i, first_index + i);
    std::swap(places[i], places[j]);
  }
  places.resize(n_cuts);
  std::sort(places.begin(), places.end());
  places.push_back(total);
  std::vector<std::int64_t> lengths;
  std::int64_t before = 0;
  for (const std::int64_t place : places) {
    lengths.push_back(place - before);
    before = place;
  }
  return lengths;
}

}  // namespace

Objective Objective::next_token(std::int64_t sequence_length) {
  Objective o;
  o.sequence_length_ = o.n_targets_ = sequence_length;
  return o;
}

Objective Objective::prefix(std::int64_t sequence_length) {
  require(sequence_length >= 2, "a window with two halves");
  Objective o;
  o.sequence_length_ = sequence_length;
  o.n_encoder_ = sequence_length / 2;
  o.n_targets_ = sequence_length + 1 - o.n_encoder_;
  return o;
}

Objective Objective::span_corruption(std::int64_t sequence_length, double density, double mean_span,
                                     std::uint64_t seed) {
  require(sequence_length >= 4 && density > 0 && density <= 0.5 && mean_span >= 1,
          "a window of four tokens, a density up to a half and spans of one token");
  Objective o;
  o.sequence_length_ = sequence_length;
  o.seed_ = seed;
  const auto length = static_cast<double>(sequence_length);
  o.n_noise_ =
      std::clamp<std::int64_t>(std::llround(length * density), 1, (sequence_length - 1) / 2);
  const auto spans = std::llround(static_cast<double>(o.n_noise_) / mean_span);
  // Every span and every gap has a token, and the targets fit into sequence_length.
  o.n_spans_ = std::clamp<std::int64_t>(spans, 1, o.n_noise_);
  o.n_encoder_ = sequence_length - o.n_noise_ + o.n_spans_;
  o.n_targets_ = o.n_noise_ + o.n_spans_ + 1;
  o.n_extra_ = o.n_spans_ + 2;
  return o;
}

void Objective::cut(std::span<const std::uint16_t> window, std::int64_t vocabulary, Split split,
                    std::int64_t sample, std::span<std::int64_t> encoder,
                    std::span<std::int64_t> inputs, std::span<std::int64_t> targets) const {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  require(window.size() == size(sequence_length_) + 1 && encoder.size() == size(n_encoder_) &&
              inputs.size() == size(n_targets_) && targets.size() == size(n_targets_),
          "buffers of the objective's lengths");
  if (n_spans_ > 0) {
    cut_spans(window, vocabulary, split, sample, encoder, inputs, targets);
    return;
  }
  std::copy_n(window.begin(), encoder.size(), encoder.begin());
  const std::size_t first = encoder.empty() ? 0 : encoder.size() - 1;  // the last one that was read
  std::copy_n(window.begin() + static_cast<std::ptrdiff_t>(first), inputs.size(), inputs.begin());
  std::copy_n(window.begin() + static_cast<std::ptrdiff_t>(first) + 1, targets.size(),
              targets.begin());
}

void Objective::cut_spans(std::span<const std::uint16_t> window, std::int64_t vocabulary,
                          Split split, std::int64_t sample, std::span<std::int64_t> encoder,
                          std::span<std::int64_t> inputs, std::span<std::int64_t> targets) const {
  const std::int64_t start = vocabulary;
  const std::int64_t first_sentinel = vocabulary + 1;
  const random::Stream stream(
      seed_, random::Purpose::span_corruption,
      static_cast<std::uint64_t>(sample) | (split == Split::validation ? kValidation : 0));
  const auto spans = random_parts(n_noise_, n_spans_, stream, 0);
  const auto gaps = random_parts(sequence_length_ - n_noise_, n_spans_, stream, kGaps);
  auto token = window.begin();
  auto read = encoder.begin();
  auto target = targets.begin();
  for (std::int64_t i = 0; i < n_spans_; ++i) {
    const auto n = static_cast<std::size_t>(i);
    read = std::copy_n(token, gaps[n], read);
    token += gaps[n];
    *read++ = *target++ = first_sentinel + i;
    target = std::copy_n(token, spans[n], target);
    token += spans[n];
  }
  *target = first_sentinel + n_spans_;
  inputs[0] = start;
  std::copy(targets.begin(), targets.end() - 1, inputs.begin() + 1);
}

}  // namespace pg::data
