#include "data/synthetic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/random.hpp"
#include "base/text.hpp"

namespace pg::data {
namespace {

using random::Purpose;
using random::Stream;

constexpr std::u32string_view kLetters = U"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// -p ln p, continued by 0.
double surprise(double p) {
  return p > 0 ? -p * std::log(p) : 0;
}

double entropy(std::span<const double> distribution) {
  return std::accumulate(distribution.begin(), distribution.end(), 0.0,
                         [](double sum, double p) { return sum + surprise(p); });
}

void normalise(std::span<double> row) {
  const double total = std::accumulate(row.begin(), row.end(), 0.0);
  for (double& value : row) value /= total;
}

/// Position of `u` in a cumulative row; the last position takes what rounding leaves above it.
std::size_t draw(std::span<const double> cumulative, double u) {
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end() - 1, u);
  return static_cast<std::size_t>(found - cumulative.begin());
}

}  // namespace

MarkovChain::MarkovChain(std::size_t symbols, std::vector<double> law)
    : symbols_(symbols), law_(std::move(law)) {
  require(symbols_ >= 2 && law_.size() == symbols_ * symbols_ * symbols_, "a law of V^3 values");
  for (std::size_t row = 0; row < symbols_ * symbols_; ++row) {
    const auto begin = law_.begin() + static_cast<std::ptrdiff_t>(row * symbols_);
    const double total = std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(symbols_), 0.0);
    require(std::abs(total - 1) < 1e-12, "rows of probabilities");
  }
  find_stationary_pairs();
}

void MarkovChain::find_stationary_pairs() {
  constexpr int kMaxRounds = 100'000;
  constexpr double kTolerance = 1e-14;
  const std::size_t n_pairs = symbols_ * symbols_;
  pairs_.assign(n_pairs, 1.0 / static_cast<double>(n_pairs));
  std::vector<double> next(n_pairs);
  double change = 1;
  for (int round = 0; round < kMaxRounds && change > kTolerance; ++round) {
    std::fill(next.begin(), next.end(), 0.0);
    for (std::size_t a = 0; a < symbols_; ++a) {
      for (std::size_t b = 0; b < symbols_; ++b) {
        for (std::size_t c = 0; c < symbols_; ++c) {
          next[b * symbols_ + c] += pairs_[a * symbols_ + b] * probability(a, b, c);
        }
      }
    }
    normalise(next);
    change = 0;
    for (std::size_t i = 0; i < n_pairs; ++i) change += std::abs(next[i] - pairs_[i]);
    pairs_.swap(next);
  }
  if (change > kTolerance) {
    throw NumericalError({"the pair distribution of the synthetic language does not settle",
                          "a law that mixes", "another seed"});
  }
  letters_.assign(symbols_, 0.0);
  for (std::size_t i = 0; i < n_pairs; ++i) letters_[i % symbols_] += pairs_[i];
}

double MarkovChain::unigram_entropy() const {
  return entropy(letters_);
}

double MarkovChain::bigram_entropy() const {
  return entropy(pairs_) - entropy(letters_);  // chain rule
}

double MarkovChain::entropy_rate() const {
  double rate = 0;
  for (std::size_t pair = 0; pair < pairs_.size(); ++pair) {
    rate += pairs_[pair] * entropy(std::span(law_).subspan(pair * symbols_, symbols_));
  }
  return rate;
}

double MarkovChain::window_floor(std::int64_t sequence_length) const {
  require(sequence_length >= 1, "a window of one target at least");
  const auto length = static_cast<double>(sequence_length);
  return (bigram_entropy() + (length - 1) * entropy_rate()) / length;
}

double MarkovChain::window_loss(std::span<const std::uint16_t> tokens,
                                std::span<const std::int64_t> positions,
                                std::int64_t sequence_length) const {
  require(!positions.empty() && sequence_length >= 1, "one window at least");
  double total = 0;
  for (const std::int64_t position : positions) {
    require(position >= 0 && position + sequence_length < std::ssize(tokens),
            "a window inside the split");
    const auto window = tokens.subspan(static_cast<std::size_t>(position),
                                       static_cast<std::size_t>(sequence_length) + 1);
    total -= std::log(pairs_[window[0] * symbols_ + window[1]] / letters_[window[0]]);
    for (std::size_t t = 2; t < window.size(); ++t) {
      total -= std::log(probability(window[t - 2], window[t - 1], window[t]));
    }
  }
  return total / (static_cast<double>(positions.size()) * static_cast<double>(sequence_length));
}

std::vector<std::uint16_t> MarkovChain::generate(std::size_t length, std::uint64_t seed) const {
  const Stream stream(seed, Purpose::synthetic_text);
  std::vector<double> cumulative(law_.size());
  for (std::size_t begin = 0; begin < law_.size(); begin += symbols_) {
    const auto at = static_cast<std::ptrdiff_t>(begin);
    const auto width = static_cast<std::ptrdiff_t>(symbols_);
    std::partial_sum(law_.begin() + at, law_.begin() + at + width, cumulative.begin() + at);
  }
  std::vector<double> cumulative_pairs(pairs_.size());
  std::partial_sum(pairs_.begin(), pairs_.end(), cumulative_pairs.begin());

  // One draw gives the first two tokens: together they have the stationary law of pairs.
  std::size_t pair = draw(cumulative_pairs, stream.uniform(1));
  std::vector<std::uint16_t> text(length);
  for (std::size_t i = 0; i < length; ++i) {
    if (i == 0) {
      text[i] = static_cast<std::uint16_t>(pair / symbols_);
    } else if (i == 1) {
      text[i] = static_cast<std::uint16_t>(pair % symbols_);
    } else {
      const auto row = std::span(cumulative).subspan(pair * symbols_, symbols_);
      const std::size_t symbol = draw(row, stream.uniform(i));
      text[i] = static_cast<std::uint16_t>(symbol);
      pair = pair % symbols_ * symbols_ + symbol;
    }
  }
  return text;
}

MarkovChain synthetic_language(const SyntheticSettings& settings) {
  if (settings.symbols < 2 || settings.symbols > std::ssize(kLetters)) {
    throw_settings(fmt::format("the synthetic language has {} symbols", settings.symbols),
                   fmt::format("2 to {}", kLetters.size()), "32");
  }
  const auto v = static_cast<std::size_t>(settings.symbols);
  constexpr double kSecondOrderShare = 0.5;
  constexpr double kSuccessorWeights[] = {0.6, 0.3, 0.1};
  const Stream first_order(settings.seed, Purpose::synthetic_rule, 0);
  const Stream second_order(settings.seed, Purpose::synthetic_rule, 1);

  // Letter weights fall like 1 / (rank + 2); cubed uniforms make some pairs common and some rare.
  // Squared ones let the successors prefer the frequent letters too.
  std::vector<double> first(v * v);
  for (std::size_t b = 0; b < v; ++b) {
    const auto row = std::span(first).subspan(b * v, v);
    for (std::size_t c = 0; c < v; ++c) {
      const double u = first_order.uniform(b * v + c);
      row[c] = (0.001 + u * u * u) / static_cast<double>(c + 2);
    }
    normalise(row);
  }
  std::vector<double> law(v * v * v);
  std::uint64_t index = 0;
  for (std::size_t pair = 0; pair < v * v; ++pair) {
    const auto row = std::span(law).subspan(pair * v, v);
    for (std::size_t c = 0; c < v; ++c) {
      row[c] = (1 - kSecondOrderShare) * first[pair % v * v + c];
    }
    for (const double weight : kSuccessorWeights) {
      const double u = second_order.uniform(index++);
      const auto successor = static_cast<std::size_t>(u * u * static_cast<double>(v));
      row[successor] += kSecondOrderShare * weight;
    }
    normalise(row);
  }
  return {v, std::move(law)};
}

Corpus synthetic_corpus(const SyntheticSettings& settings, double held_out_fraction) {
  const MarkovChain language = synthetic_language(settings);
  constexpr std::int64_t kMaxLength = 1'000'000'000;
  if (settings.length < 2 || settings.length > kMaxLength) {
    throw_settings(fmt::format("the synthetic text has {} characters", grouped(settings.length)),
                   "2 to " + grouped(kMaxLength), "1000000");
  }
  std::u32string alphabet(kLetters.substr(0, language.symbols()));
  std::sort(alphabet.begin(), alphabet.end());
  const auto ids = language.generate(static_cast<std::size_t>(settings.length), settings.seed);
  Corpus corpus = split_corpus(ids, std::move(alphabet), held_out_fraction);
  corpus.sha256 = sha256_hex(text_of(corpus, ids));
  corpus.name = "synthetic";
  corpus.description = fmt::format(
      "synthetic language of {} symbols, {} characters, seed {}, entropy rate {:.4f} nats",
      settings.symbols, grouped(settings.length), settings.seed, language.entropy_rate());
  return corpus;
}

}  // namespace pg::data
