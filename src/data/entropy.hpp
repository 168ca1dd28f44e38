#pragma once

#include <cstdint>
#include <span>

// Plug-in entropies of a text in nats per token: reference points for a loss, before any model.

namespace pg::data {

/// H(X_t) from the counts of the tokens; 0 for an empty text.
double unigram_entropy(std::span<const std::uint16_t> tokens);

/// H(X_t | X_{t-1}) from the counts of adjacent pairs. Biased low where pairs are rare (by about
/// (pairs seen - tokens seen) / (2 n), Miller 1955). 0 below two tokens.
double bigram_entropy(std::span<const std::uint16_t> tokens);

}  // namespace pg::data
