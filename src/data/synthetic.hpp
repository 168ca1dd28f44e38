#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/corpus.hpp"

// The embedded corpus: a random language whose law is known, so that a loss has a known floor.

namespace pg::data {

/// A stationary second-order Markov chain over V symbols: P(c | a, b), a two back, b one back.
/// Entropies are exact for the law, in nats per token.
class MarkovChain {
 public:
  /// `law` is (V, V, V) row-major over (a, b, c); rows sum to 1. Throws NumericalError when the
  /// distribution of pairs does not settle (a periodic law, or one with several ergodic parts that
  /// mix too slowly).
  MarkovChain(std::size_t symbols, std::vector<double> law);

  [[nodiscard]] std::size_t symbols() const { return symbols_; }
  [[nodiscard]] double probability(std::size_t a, std::size_t b, std::size_t c) const {
    return law_[(a * symbols_ + b) * symbols_ + c];
  }
  /// Stationary P(a, b), row-major (V, V).
  [[nodiscard]] std::span<const double> pairs() const { return pairs_; }

  /// H(X_t): what a model that knows only letter frequencies pays.
  [[nodiscard]] double unigram_entropy() const;
  /// H(X_t | X_{t-1}): with one token of context.
  [[nodiscard]] double bigram_entropy() const;
  /// H(X_t | X_{t-1}, X_{t-2}): the entropy rate, which nothing beats.
  [[nodiscard]] double entropy_rate() const;
  /// The expected loss of the perfect model on windows of `sequence_length` targets that start
  /// without context: the first target is known from one token, the others from two.
  [[nodiscard]] double window_floor(std::int64_t sequence_length) const;
  /// The loss of that perfect model on given windows of `tokens` (sampler.hpp): the floor of a
  /// validation loss, with the luck of this very text in it.
  [[nodiscard]] double window_loss(std::span<const std::uint16_t> tokens,
                                   std::span<const std::int64_t> positions,
                                   std::int64_t sequence_length) const;

  /// `length` symbols from the stationary law; token i depends on (seed, i) and the two before.
  [[nodiscard]] std::vector<std::uint16_t> generate(std::size_t length, std::uint64_t seed) const;

 private:
  void find_stationary_pairs();

  std::size_t symbols_;
  std::vector<double> law_;
  std::vector<double> pairs_;
  std::vector<double> letters_;
};

struct SyntheticSettings {
  std::int64_t symbols = 32;        ///< 2 to 52, printed as letters
  std::int64_t length = 1'000'000;  ///< characters of both splits together
  std::uint64_t seed = 1;           ///< of the law and of the text
};

/// The law: an even mixture of a first-order part (uneven letter frequencies, uneven pairs) and a
/// sparse second-order part (three likely successors for each pair), so that a model gains first by
/// counting letters, then pairs, then by looking one token further back. Only sums and products of
/// uniform numbers: the same on every machine. Throws InvalidInput settings.
MarkovChain synthetic_language(const SyntheticSettings& settings);

/// A text in that language as a corpus. Throws InvalidInput settings.
Corpus synthetic_corpus(const SyntheticSettings& settings, double held_out_fraction);

}  // namespace pg::data
