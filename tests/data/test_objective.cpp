// What a window becomes: every token once, in order, and nothing that gives a target away.
#include "data/objective.hpp"

#include <boost/test/unit_test.hpp>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.hpp"

using pg::data::Objective;

BOOST_AUTO_TEST_SUITE(objective)

namespace {

struct Cut {
  std::vector<std::int64_t> encoder, inputs, targets;
};

std::vector<std::uint16_t> window(std::int64_t sequence_length) {
  std::vector<std::uint16_t> tokens(static_cast<std::size_t>(sequence_length) + 1);
  std::iota(tokens.begin(), tokens.end(), std::uint16_t{100});
  return tokens;
}

constexpr std::int64_t kVocabulary = 5000;

Cut cut(const Objective& objective, std::int64_t sequence_length, std::int64_t sample = 0,
        Objective::Split split = Objective::Split::train) {
  Cut c;
  c.encoder.resize(static_cast<std::size_t>(objective.n_encoder()));
  c.inputs.resize(static_cast<std::size_t>(objective.n_targets()));
  c.targets = c.inputs;
  objective.cut(window(sequence_length), kVocabulary, split, sample, c.encoder, c.inputs,
                c.targets);
  return c;
}

std::vector<std::int64_t> range(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(last - first));
  std::iota(values.begin(), values.end(), first);
  return values;
}

}  // namespace

BOOST_AUTO_TEST_CASE(next_token_shifts_by_one) {
  const Cut c = cut(Objective::next_token(5), 5);
  BOOST_TEST(c.encoder.empty());
  BOOST_TEST(c.inputs == range(100, 105), boost::test_tools::per_element());
  BOOST_TEST(c.targets == range(101, 106), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(prefix_gives_the_first_half_to_the_encoder) {
  for (const std::int64_t t : {2, 7, 8}) {
    const Objective objective = Objective::prefix(t);
    const Cut c = cut(objective, t);
    const std::int64_t half = t / 2;
    BOOST_TEST(objective.n_extra_tokens() == 0);
    BOOST_TEST(c.encoder == range(100, 100 + half), boost::test_tools::per_element());
    BOOST_TEST(c.targets == range(100 + half, 101 + t), boost::test_tools::per_element());
    // The decoder starts from the last token that was read.
    BOOST_TEST(c.inputs == range(99 + half, 100 + t), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(span_corruption_loses_no_token) {
  for (const auto& [t, density, span] :
       std::vector<std::tuple<std::int64_t, double, double>>{{512, 0.15, 3},
                                                             {64, 0.15, 3},
                                                             {64, 0.5, 3},
                                                             {63, 0.5, 1},
                                                             {17, 0.3, 8},
                                                             {4, 0.15, 3},
                                                             {5, 0.5, 1}}) {
    const Objective objective = Objective::span_corruption(t, density, span, 7);
    for (std::int64_t sample = 0; sample < 50; ++sample) {
      const Cut c = cut(objective, t, sample);
      // Put the spans back where their sentinels stand.
      std::map<std::int64_t, std::vector<std::int64_t>> spans;
      std::int64_t sentinel = -1;
      for (const std::int64_t token : c.targets) {
        if (token > kVocabulary) {
          BOOST_TEST(token == (sentinel < 0 ? kVocabulary + 1 : sentinel + 1));
          sentinel = token;
        } else {
          spans[sentinel].push_back(token);
        }
      }
      BOOST_TEST(sentinel == c.targets.back());  // the last one ends the targets
      std::vector<std::int64_t> restored;
      for (const std::int64_t token : c.encoder) {
        if (token > kVocabulary) {
          BOOST_TEST(!spans[token].empty());
          restored.insert(restored.end(), spans[token].begin(), spans[token].end());
        } else {
          restored.push_back(token);
        }
      }
      BOOST_TEST(restored == range(100, 100 + t), boost::test_tools::per_element());
      BOOST_TEST(c.inputs.front() == kVocabulary);  // the start token
      for (std::size_t i = 1; i < c.inputs.size(); ++i) BOOST_TEST(c.inputs[i] == c.targets[i - 1]);
      BOOST_TEST(sentinel - kVocabulary < objective.n_extra_tokens());
    }
    BOOST_TEST(objective.n_encoder() <= t);
    BOOST_TEST(objective.n_targets() <= t);
  }
}

BOOST_AUTO_TEST_CASE(span_corruption_has_the_published_sizes) {
  // 512 tokens, 15 %, spans of 3: 77 tokens in 26 spans.
  const Objective objective = Objective::span_corruption(512, 0.15, 3, 1);
  BOOST_TEST(objective.n_encoder() == 512 - 77 + 26);
  BOOST_TEST(objective.n_targets() == 77 + 26 + 1);
  BOOST_TEST(objective.n_extra_tokens() == 26 + 2);
}

BOOST_AUTO_TEST_CASE(spans_depend_on_seed_split_and_sample_alone_and_cover_the_window_evenly) {
  const Objective objective = Objective::span_corruption(64, 0.15, 3, 7);
  BOOST_TEST(cut(objective, 64, 3).encoder == cut(objective, 64, 3).encoder,
             boost::test_tools::per_element());
  BOOST_TEST((cut(objective, 64, 3).encoder != cut(objective, 64, 4).encoder));
  BOOST_TEST((cut(objective, 64, 3).encoder !=
              cut(Objective::span_corruption(64, 0.15, 3, 8), 64, 3).encoder));
  BOOST_TEST((cut(objective, 64, 3).encoder !=
              cut(objective, 64, 3, Objective::Split::validation).encoder));
  // A gap comes first, a span last; in between every place is cut equally often, about.
  std::map<std::int64_t, int> times;
  constexpr int kSamples = 4000;
  for (std::int64_t sample = 0; sample < kSamples; ++sample) {
    for (const std::int64_t token : cut(objective, 64, sample).targets) ++times[token];
  }
  BOOST_TEST(times[100] == 0);
  BOOST_TEST(times[163] == kSamples);
  for (std::int64_t token = 120; token < 145; ++token) {
    BOOST_TEST(times[token] > 0.08 * kSamples);
    BOOST_TEST(times[token] < 0.22 * kSamples);
  }
}

BOOST_AUTO_TEST_CASE(wrong_buffers_are_refused) {
  const Objective objective = Objective::prefix(8);
  std::vector<std::int64_t> encoder(4);
  std::vector<std::int64_t> inputs(4);  // one short
  BOOST_CHECK_THROW(
      objective.cut(window(8), 300, Objective::Split::train, 0, encoder, inputs, inputs),
      pg::InternalError);
  BOOST_CHECK_THROW(Objective::span_corruption(8, 0.9, 3, 1), pg::InternalError);
}

BOOST_AUTO_TEST_SUITE_END()
