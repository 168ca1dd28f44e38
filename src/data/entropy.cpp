#include "data/entropy.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace pg::data {
namespace {

/// Entropy of the frequencies of equal values. Sorting instead of a table: pairs of 65,535 symbols
/// would need 2^32 counters.
double entropy_of_values(std::vector<std::uint32_t> values) {
  std::sort(values.begin(), values.end());
  const auto total = static_cast<double>(values.size());
  double entropy = 0;
  for (auto begin = values.begin(); begin != values.end();) {
    const auto end = std::upper_bound(begin, values.end(), *begin);
    const double p = static_cast<double>(end - begin) / total;
    entropy -= p * std::log(p);
    begin = end;
  }
  return entropy;
}

}  // namespace

double unigram_entropy(std::span<const std::uint16_t> tokens) {
  return entropy_of_values({tokens.begin(), tokens.end()});
}

double bigram_entropy(std::span<const std::uint16_t> tokens) {
  if (tokens.size() < 2) return 0;
  std::vector<std::uint32_t> pairs(tokens.size() - 1);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i] = (static_cast<std::uint32_t>(tokens[i]) << 16) | tokens[i + 1];
  }
  // H(X_{t-1}, X_t) - H(X_{t-1}); the last token begins no pair.
  return entropy_of_values(std::move(pairs)) - unigram_entropy(tokens.first(tokens.size() - 1));
}

}  // namespace pg::data
