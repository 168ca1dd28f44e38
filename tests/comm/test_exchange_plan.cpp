#define BOOST_TEST_MODULE exchange_plan
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "comm/exchange.hpp"
#include "comm/exchange_plan.hpp"
#include "support/support.hpp"

using pg::comm::Range;
using pg::comm::TreeStep;
using Join = TreeStep::Join;

namespace {

/// The definition: what is added to what, in words, over the ranks [first, last) that are present.
std::string tree_text(int first, int last, int n_present) {
  if (last - first == 1) return std::to_string(first);
  const int middle = first + (last - first) / 2;
  const std::string left = tree_text(first, middle, n_present);
  if (middle >= n_present) return left;
  return "(" + left + "+" + tree_text(middle, last, n_present) + ")";
}

/// Even, uneven and with empty parts, of no values and of one.
std::vector<std::vector<std::size_t>> bounds_for(int size) {
  const auto n_parts = static_cast<std::size_t>(size);
  const auto from_lengths = [&](auto length) {
    std::vector<std::size_t> bounds = {0};
    for (std::size_t k = 0; k < n_parts; ++k) bounds.push_back(bounds.back() + length(k));
    return bounds;
  };
  const pg::random::Stream stream(1, pg::random::Purpose::test, static_cast<std::uint64_t>(size));
  return {from_lengths([](std::size_t) { return std::size_t{2}; }),
          from_lengths([&](std::size_t k) { return 1 + stream.below(4, k); }),
          from_lengths([&](std::size_t k) { return 3 * stream.below(2, k); }),
          from_lengths([](std::size_t) { return std::size_t{0}; }),
          from_lengths([&](std::size_t k) { return k + 1 == n_parts ? std::size_t{1} : 0; })};
}

/// All ranks of a team in one process; a value is the text of the sum that it would be.
class Model {
 public:
  Model(int size, const std::vector<std::size_t>& bounds, int n_present) : size_(size) {
    for (int rank = 0; rank < size; ++rank) {
      steps_.push_back(pg::comm::tree_steps(rank, size, bounds, n_present));
      const std::string start = rank < n_present ? std::to_string(rank) : "rubbish";
      values_.emplace_back(bounds.back(), start);
    }
    const int n_levels = std::countr_zero(static_cast<unsigned>(size));
    for (int level = 0; level < n_levels; ++level) go(static_cast<std::size_t>(level));
  }

  [[nodiscard]] const std::string& value(int rank, std::size_t i) const {
    return values_[static_cast<std::size_t>(rank)][i];
  }
  [[nodiscard]] const std::vector<TreeStep>& steps(int rank) const {
    return steps_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] std::size_t n_sent(int rank) const {
    std::size_t n = 0;
    for (const TreeStep& step : steps(rank)) n += step.sent.count();
    return n;
  }

 private:
  void go(std::size_t level) {
    const auto before = values_;
    for (int rank = 0; rank < size_; ++rank) {
      const TreeStep& step = steps(rank)[level];
      const TreeStep& other = steps(step.partner)[level];
      BOOST_REQUIRE(other.partner == rank);
      // A message has two ends: what one sends is what the other expects.
      BOOST_REQUIRE(other.sent.empty() == (step.join == Join::keep));
      if (step.join == Join::keep) continue;
      BOOST_REQUIRE(other.sent.first == step.kept.first);
      BOOST_REQUIRE(other.sent.last == step.kept.last);
      for (std::size_t i = step.kept.first; i < step.kept.last; ++i) {
        std::string& mine = values_[static_cast<std::size_t>(rank)][i];
        const std::string& received = before[static_cast<std::size_t>(step.partner)][i];
        if (step.join == Join::take) mine = received;
        if (step.join == Join::mine_plus_received) mine = "(" + mine + "+" + received + ")";
        if (step.join == Join::received_plus_mine) mine = "(" + received + "+" + mine + ")";
      }
    }
  }

  int size_;
  std::vector<std::vector<TreeStep>> steps_;
  std::vector<std::vector<std::string>> values_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_part_is_the_sum_in_the_shape_of_the_tree_at_its_owner) {
  for (const int size : {1, 2, 4, 8, 16, 32}) {
    for (const auto& bounds : bounds_for(size)) {
      for (int n_present = 1; n_present <= size; ++n_present) {
        const Model model(size, bounds, n_present);
        const std::string expected = tree_text(0, size, n_present);
        for (int part = 0; part < size; ++part) {
          const int owner = pg::comm::owner_of_part(part, size);
          for (std::size_t i = bounds[static_cast<std::size_t>(part)];
               i < bounds[static_cast<std::size_t>(part) + 1]; ++i) {
            BOOST_REQUIRE_MESSAGE(model.value(owner, i) == expected, model.value(owner, i)
                                                                         << " is not " << expected);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_rank_sends_what_is_not_its_own_and_no_more) {
  for (const int size : {1, 2, 4, 8, 16, 32}) {
    const auto bounds = bounds_for(size).front();
    const Model model(size, bounds, size);
    for (int rank = 0; rank < size; ++rank) {
      BOOST_TEST(model.n_sent(rank) == bounds.back() - 2);  // parts of two values
      int distance = 1;
      for (const TreeStep& step : model.steps(rank)) {
        BOOST_TEST(step.partner == (rank ^ distance));
        distance *= 2;
      }
      BOOST_TEST(distance == size);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_plan_is_refused) {
  const auto refused = [](int rank, int size, const std::vector<std::size_t>& bounds,
                          int n_present) {
    pg::testing::check_error([&] { (void)pg::comm::tree_steps(rank, size, bounds, n_present); },
                             pg::ExitCode::internal, {"broken invariant"});
  };
  refused(0, 3, {0, 1, 2, 3}, 3);  // no power of two
  refused(2, 2, {0, 1, 2}, 2);     // no rank of the team
  refused(0, 2, {0, 1}, 2);        // too few parts
  refused(0, 2, {0, 3, 2}, 2);     // bounds that go back
  refused(0, 2, {1, 2, 3}, 2);     // a buffer that starts behind its start
  refused(0, 2, {0, 1, 2}, 0);     // a sum of nothing
  refused(0, 2, {0, 1, 2}, 3);     // more summands than ranks
}
