#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <vector>

#include "base/hash.hpp"
#include "data/entropy.hpp"
#include "data/sampler.hpp"
#include "data/synthetic.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::data;
using boost::test_tools::tolerance;
using pg::testing::check_error;

namespace {

double h(double p) {
  return -p * std::log(p) - (1 - p) * std::log(1 - p);
}

/// P(c | a, b) over two symbols from P(1 | a, b).
MarkovChain binary_chain(double p00, double p01, double p10, double p11) {
  return {2, {1 - p00, p00, 1 - p01, p01, 1 - p10, p10, 1 - p11, p11}};
}

struct Estimate {
  double mean;
  double standard_error;
};

/// Mean of -ln P(token | two before) and its standard error from 100 batch means.
Estimate monte_carlo_rate(const MarkovChain& chain, std::span<const std::uint16_t> tokens) {
  constexpr std::size_t kBatches = 100;
  const std::size_t length = (tokens.size() - 2) / kBatches;
  double sum = 0;
  double sum_of_squares = 0;
  for (std::size_t batch = 0; batch < kBatches; ++batch) {
    double total = 0;
    for (std::size_t i = 0; i < length; ++i) {
      const auto at = tokens.subspan(batch * length + i, 3);
      total -= std::log(chain.probability(at[0], at[1], at[2]));
    }
    const double mean = total / static_cast<double>(length);
    sum += mean;
    sum_of_squares += mean * mean;
  }
  const double mean = sum / kBatches;
  return {mean, std::sqrt((sum_of_squares / kBatches - mean * mean) / (kBatches - 1))};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(markov_chains)

// A first-order chain in second-order clothes: stationary weights q/(p+q), p/(p+q).
BOOST_AUTO_TEST_CASE(two_symbols_of_first_order) {
  const double p = 0.3;  // 0 -> 1
  const double q = 0.1;  // 1 -> 0
  const MarkovChain chain = binary_chain(p, 1 - q, p, 1 - q);
  const double one = p / (p + q);
  BOOST_TEST(chain.unigram_entropy() == h(one), tolerance(1e-12));
  BOOST_TEST(chain.bigram_entropy() == (1 - one) * h(p) + one * h(q), tolerance(1e-12));
  BOOST_TEST(chain.entropy_rate() == (1 - one) * h(p) + one * h(q), tolerance(1e-12));
}

// Balance of the four pairs: pi(00) p00 = pi(10) (1 - p10), pi(11) (1 - p11) = pi(01) p01 and
// pi(01) = pi(10).
BOOST_AUTO_TEST_CASE(two_symbols_of_second_order) {
  const double p00 = 0.2;
  const double p01 = 0.7;
  const double p10 = 0.4;
  const double p11 = 0.9;
  const MarkovChain chain = binary_chain(p00, p01, p10, p11);
  const double weights[4] = {(1 - p10) / p00, 1, 1, p01 / (1 - p11)};
  const double total = weights[0] + weights[1] + weights[2] + weights[3];
  for (std::size_t i = 0; i < 4; ++i) {
    BOOST_TEST(chain.pairs()[i] == weights[i] / total, tolerance(1e-12));
  }
  const double rate =
      (weights[0] * h(p00) + weights[1] * h(p01) + weights[2] * h(p10) + weights[3] * h(p11)) /
      total;
  BOOST_TEST(chain.entropy_rate() == rate, tolerance(1e-12));
  const double one = (weights[1] + weights[3]) / total;
  const double after_zero = weights[1] / (weights[0] + weights[1]);
  const double after_one = weights[3] / (weights[2] + weights[3]);
  BOOST_TEST(chain.bigram_entropy() == (1 - one) * h(after_zero) + one * h(after_one),
             tolerance(1e-12));
}

// The token two back is repeated, or one of the two others follows: neighbours are independent, so
// one token of context tells nothing, and two tell all there is.
BOOST_AUTO_TEST_CASE(three_symbols_that_only_the_second_order_explains) {
  constexpr double kOther = 0.05;
  std::vector<double> law(27, kOther);
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = 0; b < 3; ++b) law[(a * 3 + b) * 3 + a] = 1 - 2 * kOther;
  }
  const MarkovChain chain(3, law);
  const double rate = -(1 - 2 * kOther) * std::log(1 - 2 * kOther) - 2 * kOther * std::log(kOther);
  BOOST_TEST(chain.unigram_entropy() == std::log(3.0), tolerance(1e-12));
  BOOST_TEST(chain.bigram_entropy() == std::log(3.0), tolerance(1e-12));
  BOOST_TEST(chain.entropy_rate() == rate, tolerance(1e-12));
  BOOST_TEST(chain.window_floor(1) == std::log(3.0), tolerance(1e-12));
  BOOST_TEST(chain.window_floor(4) == (std::log(3.0) + 3 * rate) / 4, tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(laws_that_are_none_or_never_settle_are_refused) {
  BOOST_CHECK_THROW(MarkovChain(2, std::vector<double>(8, 0.4)), InternalError);
  BOOST_CHECK_THROW(MarkovChain(2, std::vector<double>(4, 0.5)), InternalError);
  // The cycle 00, 01, 11, 10 with a leak at 11 so small that it never leaves the cycle's rhythm.
  BOOST_CHECK_THROW(binary_chain(1, 1, 0, 1e-9), NumericalError);
}

BOOST_AUTO_TEST_CASE(the_loss_of_a_window_by_hand) {
  const MarkovChain chain = binary_chain(0.2, 0.7, 0.4, 0.9);
  const std::vector<std::uint16_t> tokens = {1, 0, 0, 1, 1};
  const auto pairs = chain.pairs();
  // Window at 1 with two targets: P(0 | 0), then P(1 | 0, 0).
  const double first = pairs[0] / (pairs[0] + pairs[1]);
  BOOST_TEST(chain.window_loss(tokens, std::vector<std::int64_t>{1}, 2) ==
                 -(std::log(first) + std::log(0.2)) / 2,
             tolerance(1e-12));
  // And one at 2: P(1 | 0), then P(1 | 0, 1).
  BOOST_TEST(chain.window_loss(tokens, std::vector<std::int64_t>{1, 2}, 2) ==
                 -(std::log(first) + std::log(0.2) + std::log(1 - first) + std::log(0.7)) / 4,
             tolerance(1e-12));
  BOOST_CHECK_THROW((void)chain.window_loss(tokens, std::vector<std::int64_t>{3}, 2),
                    InternalError);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(synthetic)

BOOST_AUTO_TEST_CASE(the_text_follows_its_law) {
  for (const std::uint64_t seed : {1ULL, 2ULL}) {
    SyntheticSettings settings;
    settings.seed = seed;
    const MarkovChain language = synthetic_language(settings);
    const auto tokens = language.generate(400'000, seed);
    const Estimate rate = monte_carlo_rate(language, tokens);
    BOOST_TEST(rate.standard_error < 0.004);
    BOOST_TEST(std::abs(rate.mean - language.entropy_rate()) < 4 * rate.standard_error);
    // Counting, which knows nothing of the law, gives the same two lower entropies.
    BOOST_TEST(std::abs(unigram_entropy(tokens) - language.unigram_entropy()) < 0.004);
    BOOST_TEST(std::abs(bigram_entropy(tokens) - language.bigram_entropy()) < 0.008);
  }
}

// With four symbols there are enough triples to estimate the rate without the law.
BOOST_AUTO_TEST_CASE(counting_triples_gives_the_entropy_rate) {
  const MarkovChain language = synthetic_language({4, 0, 9});
  const auto tokens = language.generate(400'000, 9);
  double triples[64] = {};
  double pairs[16] = {};
  for (std::size_t i = 2; i < tokens.size(); ++i) {
    const std::size_t pair = tokens[i - 2] * 4U + tokens[i - 1];
    ++pairs[pair];
    ++triples[pair * 4 + tokens[i]];
  }
  double rate = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    if (triples[i] > 0) rate -= triples[i] * std::log(triples[i] / pairs[i / 4]);
  }
  rate /= static_cast<double>(tokens.size() - 2);
  BOOST_TEST(std::abs(rate - language.entropy_rate()) < 0.005);
}

BOOST_AUTO_TEST_CASE(each_token_of_context_pays) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SyntheticSettings settings;
    settings.seed = seed;
    const MarkovChain language = synthetic_language(settings);
    BOOST_TEST(language.unigram_entropy() < std::log(32.0) - 0.2);
    BOOST_TEST(language.bigram_entropy() < language.unigram_entropy() - 0.2);
    BOOST_TEST(language.entropy_rate() < language.bigram_entropy() - 0.5);
    BOOST_TEST(language.entropy_rate() > 1.5);
    BOOST_TEST(language.window_floor(1) == language.bigram_entropy());
    BOOST_TEST(language.window_floor(256) > language.entropy_rate());
  }
}

BOOST_AUTO_TEST_CASE(the_floor_of_windows_is_met_on_average) {
  const Corpus corpus = synthetic_corpus({}, 0.5);
  const MarkovChain language = synthetic_language({});
  for (const std::int64_t length : {2, 32}) {
    const auto windows = validation_positions(std::ssize(corpus.validation), length, 0);
    const double loss = language.window_loss(corpus.validation, windows, length);
    BOOST_TEST(std::abs(loss - language.window_floor(length)) < 0.008);
  }
}

BOOST_AUTO_TEST_CASE(the_default_corpus_is_the_same_everywhere) {
  const auto begin = std::chrono::steady_clock::now();
  const Corpus corpus = synthetic_corpus({}, 0.1);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  BOOST_TEST_MESSAGE("1,000,000 symbols in " << seconds.count() << " s");
  BOOST_TEST(corpus.train.size() == 900'000U);
  BOOST_TEST(corpus.validation.size() == 100'000U);
  BOOST_TEST(corpus.vocabulary() == 32);
  BOOST_TEST(corpus.sha256 ==
             sha256_hex(text_of(corpus, corpus.train) + text_of(corpus, corpus.validation)));
  // A change here changes every published number on this corpus.
  BOOST_TEST(corpus.sha256 == "80299347e808b549daba7b88b5bb2dc7d327e24b6cd799b5198262e8669e2d07");
  BOOST_TEST(corpus.description.find("synthetic language of 32 symbols, 1,000,000 characters") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_longer_text_begins_with_the_shorter) {
  const MarkovChain language = synthetic_language({});
  const auto shorter = language.generate(1000, 5);
  const auto longer = language.generate(5000, 5);
  BOOST_TEST(std::equal(shorter.begin(), shorter.end(), longer.begin()));
  BOOST_TEST((language.generate(1000, 6) != shorter));
}

BOOST_AUTO_TEST_CASE(impossible_settings_are_refused) {
  check_error(
      [] {
        (void)synthetic_corpus({1, 1000, 1}, 0.1);
      },
      ExitCode::usage, {"1 symbols", "2 to 52"});
  check_error([] { (void)synthetic_corpus({53, 1000, 1}, 0.1); }, ExitCode::usage, {"53 symbols"});
  check_error([] { (void)synthetic_corpus({32, 1, 1}, 0.1); }, ExitCode::usage, {"1 characters"});
  check_error([] { (void)synthetic_corpus({32, -5, 1}, 0.1); }, ExitCode::usage, {"-5"});
  check_error([] { (void)synthetic_corpus({32, 1000, 1}, 1.5); }, ExitCode::usage, {"1.5"});
  for (const std::int64_t symbols : {2, 52}) {
    BOOST_TEST(synthetic_corpus({symbols, 1000, 1}, 0.1).vocabulary() == symbols);
  }
}

BOOST_AUTO_TEST_SUITE_END()
