#define BOOST_TEST_MODULE unit_layout
#include <boost/test/unit_test.hpp>
#include <set>
#include <vector>

#include "comm/exchange.hpp"
#include "shard/unit_layout.hpp"

using pg::model::ParameterSpec;
using pg::shard::rows_of;
using pg::shard::UnitLayout;

namespace {

const std::vector<ParameterSpec> kSpecs = {{"square", {15, 8}, {}}, {"few", {3, 7}, {}},
                                           {"vector", {17}, {}},    {"one", {1}, {}},
                                           {"scalar", {}, {}},      {"cube", {4, 2, 3}, {}}};

}  // namespace

BOOST_AUTO_TEST_CASE(rows_are_cut_as_torch_chunk_cuts) {
  // 15 rows over 4 ranks: 4, 4, 4, 3; 3 rows over 8: one each, then none.
  const auto counts = [&](std::size_t i, int degree) {
    std::vector<std::int64_t> all;
    for (int rank = 0; rank < degree; ++rank) all.push_back(rows_of(kSpecs[i], rank, degree).count);
    return all;
  };
  BOOST_TEST(counts(0, 4) == (std::vector<std::int64_t>{32, 32, 32, 24}),
             boost::test_tools::per_element());
  BOOST_TEST(counts(1, 8) == (std::vector<std::int64_t>{7, 7, 7, 0, 0, 0, 0, 0}),
             boost::test_tools::per_element());
  // 17 over 8: ceil is 3, so the last two have 2 and none.
  BOOST_TEST(counts(2, 8) == (std::vector<std::int64_t>{3, 3, 3, 3, 3, 2, 0, 0}),
             boost::test_tools::per_element());
  BOOST_TEST(counts(4, 2) == (std::vector<std::int64_t>{1, 0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(every_element_has_one_place_in_both_buffers) {
  const std::vector<std::size_t> members = {0, 2, 3, 4, 5};
  for (int degree = 1; degree <= 32; degree *= 2) {
    const UnitLayout layout(kSpecs, members, degree);
    BOOST_TEST(layout.n_words() == 120 + 17 + 1 + 1 + 24);
    BOOST_TEST(layout.bounds().size() == static_cast<std::size_t>(degree) + 1);
    std::set<std::int64_t> full;
    std::set<std::int64_t> wire;
    for (const auto& piece : layout.pieces()) {
      for (std::int64_t i = 0; i < piece.count; ++i) {
        full.insert(piece.full + i);
        wire.insert(piece.wire + i);
      }
    }
    BOOST_TEST(full.size() == static_cast<std::size_t>(layout.n_words()));
    BOOST_TEST(wire.size() == full.size());
    BOOST_TEST(*wire.rbegin() == layout.n_words() - 1);
    // A part is what its owner keeps of every member.
    for (int part = 0; part < degree; ++part) {
      std::int64_t kept = 0;
      for (const std::size_t i : members) {
        kept += rows_of(kSpecs[i], pg::comm::owner_of_part(part, degree), degree).count;
      }
      const auto k = static_cast<std::size_t>(part);
      BOOST_TEST(layout.bounds()[k + 1] - layout.bounds()[k] == static_cast<std::size_t>(kept));
    }
  }
}

BOOST_AUTO_TEST_CASE(operands_take_half_the_room) {
  auto specs = kSpecs;
  specs[1].is_operand = true;  // 3 x 7: an odd number in every part
  specs[5].is_operand = true;
  const std::vector<std::size_t> members = {1, 2, 5, 4};
  for (int degree = 1; degree <= 32; degree *= 2) {
    const UnitLayout layout(specs, members, degree, UnitLayout::Operands::half_precision);
    // In halves of words: what any element touches, and to whom it belongs there.
    std::set<std::int64_t> full;
    std::set<std::int64_t> wire;
    std::vector<std::int64_t> counts(members.size());
    for (const auto& piece : layout.pieces()) {
      BOOST_TEST(piece.is_half == specs[members[piece.parameter]].is_operand);
      counts[piece.parameter] += piece.count;
      const std::int64_t size = piece.is_half ? 1 : 2;
      const auto part = static_cast<std::size_t>(pg::comm::owner_of_part(piece.owner, degree));
      for (std::int64_t i = 0; i < size * piece.count; ++i) {
        full.insert(size * piece.full + i);
        const std::int64_t at = size * piece.wire + i;
        wire.insert(at);
        BOOST_REQUIRE(at >= 2 * static_cast<std::int64_t>(layout.bounds()[part]));
        BOOST_REQUIRE(at < 2 * static_cast<std::int64_t>(layout.bounds()[part + 1]));
      }
    }
    const std::int64_t halves = 2 * (17 + 1) + 21 + 24;
    BOOST_TEST(full.size() == static_cast<std::size_t>(halves));
    BOOST_TEST(wire.size() == full.size());
    BOOST_TEST(*full.rbegin() == halves - 1);
    BOOST_TEST(counts == (std::vector<std::int64_t>{21, 17, 24, 1}),
               boost::test_tools::per_element());
    // At most half a word is lost in a part.
    BOOST_TEST(2 * layout.n_words() >= halves);
    BOOST_TEST(2 * layout.n_words() <= halves + degree);
  }
}
