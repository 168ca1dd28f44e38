#pragma once

#include <cstdint>
#include <span>
#include <vector>

// What a model is to predict of a window of a corpus.

namespace pg::data {

/// Cuts a window of sequence_length + 1 tokens into what is read and what is predicted. Lengths and
/// the number of extra tokens are the same for every window.
class Objective {
 public:
  /// Every token from those before it.
  static Objective next_token(std::int64_t sequence_length);
  /// The second half from the first, which an encoder reads.
  static Objective prefix(std::int64_t sequence_length);
  /// T5's: random spans, `density` of the first sequence_length tokens in spans of `mean_span` on
  /// average, are cut out and an extra token (sentinel) stands for each; the decoder, which starts
  /// from another extra token, predicts each sentinel and its span, and a last sentinel. Number and
  /// total length of the spans are fixed, where they are is random. Raffel et al., 2020, 3.1.4.
  static Objective span_corruption(std::int64_t sequence_length, double density, double mean_span,
                                   std::uint64_t seed);

  [[nodiscard]] std::int64_t n_encoder() const { return n_encoder_; }  ///< 0: no encoder
  [[nodiscard]] std::int64_t n_targets() const { return n_targets_; }  ///< and decoder's inputs
  /// Tokens beside the corpus's; they follow its vocabulary.
  [[nodiscard]] std::int64_t n_extra_tokens() const { return n_extra_; }

  /// Which windows a random number belongs to.
  enum class Split { train, validation };
  /// `window` has sequence_length + 1 tokens below `vocabulary`; it is sample number `sample` of
  /// its split, which with the seed decides where spans are.
  void cut(std::span<const std::uint16_t> window, std::int64_t vocabulary, Split split,
           std::int64_t sample, std::span<std::int64_t> encoder, std::span<std::int64_t> inputs,
           std::span<std::int64_t> targets) const;

 private:
  Objective() = default;
  void cut_spans(std::span<const std::uint16_t> window, std::int64_t vocabulary, Split split,
                 std::int64_t sample, std::span<std::int64_t> encoder,
                 std::span<std::int64_t> inputs, std::span<std::int64_t> targets) const;

  std::int64_t sequence_length_ = 0;
  std::int64_t n_encoder_ = 0;
  std::int64_t n_targets_ = 0;
  std::int64_t n_extra_ = 0;
  std::int64_t n_noise_ = 0;
  std::int64_t n_spans_ = 0;  ///< 0: no span corruption
  std::uint64_t seed_ = 0;
};

}  // namespace pg::data
