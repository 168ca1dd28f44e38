#define BOOST_TEST_MODULE unit_layout
#include <boost/test/unit_test.hpp>
#include <set>
#include <vector>

#include "shard/unit_layout.hpp"

using pg::model::ParameterSpec;
using pg::shard::rows_of;
using pg::shard::UnitLayout;

namespace {

/// The last two are large; the last one has an odd number of elements in some parts.
const std::vector<ParameterSpec> kSpecs = {{"square", {15, 8}, {}},   {"few", {3, 7}, {}},
                                           {"vector", {17}, {}},      {"one", {1}, {}},
                                           {"scalar", {}, {}},        {"cube", {4, 2, 3}, {}},
                                           {"large", {130, 128}, {}}, {"odd", {149, 117}, {}}};

/// Every element of the unit has a place of its own in the full buffer, and in what is exchanged
/// one that belongs to its part.
void check(const UnitLayout& layout, const std::vector<ParameterSpec>& specs,
           const std::vector<std::size_t>& members, int degree) {
  // In halves of words: what any element touches.
  std::set<std::int64_t> full;
  std::set<std::int64_t> packed;
  std::vector<std::int64_t> counts(members.size());
  std::vector<std::int64_t> of_part(static_cast<std::size_t>(degree));
  for (const auto& piece : layout.pieces()) {
    const std::int64_t size = piece.is_half ? 1 : 2;
    BOOST_TEST(piece.is_half == layout.places()[piece.parameter].is_half);
    BOOST_TEST(layout.places()[piece.parameter].full + counts[piece.parameter] == piece.full);
    counts[piece.parameter] += piece.count;
    of_part[static_cast<std::size_t>(piece.part)] += piece.count;
    for (std::int64_t i = 0; i < size * piece.count; ++i) {
      BOOST_REQUIRE(full.insert(size * piece.full + i).second);
      if (piece.is_packed) BOOST_REQUIRE(packed.insert(size * piece.exchanged + i).second);
    }
    // One collective moves it, to where its part is.
    int n_runs = 0;
    for (const auto& run : layout.runs()) {
      if (run.is_packed != piece.is_packed) continue;
      const auto bound = [&](int part) {
        const auto k = static_cast<std::size_t>(part);
        return 2 * (run.begin + static_cast<std::int64_t>(run.bounds[k]));
      };
      n_runs += size * piece.exchanged >= bound(piece.part) &&
                size * (piece.exchanged + piece.count) <= bound(piece.part + 1);
    }
    BOOST_TEST(n_runs == 1);
    if (!piece.is_packed) BOOST_TEST(piece.exchanged == piece.full);
  }
  for (std::size_t m = 0; m < members.size(); ++m) {
    BOOST_TEST(counts[m] == specs[members[m]].n_elements());
  }
  for (int part = 0; part < degree; ++part) {
    std::int64_t kept = 0;
    for (const std::size_t i : members) kept += rows_of(specs[i], part, degree).count;
    BOOST_TEST(of_part[static_cast<std::size_t>(part)] == kept);
  }
  BOOST_TEST(*full.rbegin() < 2 * layout.n_words());
  BOOST_TEST((packed.empty() || *packed.rbegin() < 2 * layout.n_packed_words()));
  for (const auto& run : layout.runs()) {
    BOOST_TEST(run.bounds.size() == static_cast<std::size_t>(degree) + 1);
  }
}

std::int64_t n_in_place(const UnitLayout& layout) {
  std::int64_t n = 0;
  for (const auto& run : layout.runs()) n += run.is_packed ? 0 : 1;
  return n;
}

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

BOOST_AUTO_TEST_CASE(small_parameters_are_exchanged_together) {
  const std::vector<std::size_t> members = {0, 2, 3, 4, 5};
  for (int degree = 1; degree <= 32; degree *= 2) {
    const UnitLayout layout(kSpecs, members, degree);
    check(layout, kSpecs, members, degree);
    BOOST_TEST(layout.n_words() == 120 + 17 + 1 + 1 + 24);
    BOOST_TEST(layout.n_packed_words() == layout.n_words());
    BOOST_TEST(layout.runs().size() == 1U);
  }
}

BOOST_AUTO_TEST_CASE(large_ones_stay_where_they_are) {
  const std::vector<std::size_t> members = {6, 2, 7, 0};
  for (int degree = 1; degree <= 256; degree *= 2) {  // more parts than either has rows
    const UnitLayout layout(kSpecs, members, degree);
    check(layout, kSpecs, members, degree);
    BOOST_TEST(n_in_place(layout) == 2);
    BOOST_TEST(layout.n_packed_words() == 17 + 120);
    BOOST_TEST(layout.n_words() >= 130 * 128 + 17 + 149 * 117 + 120);
    BOOST_TEST(layout.n_words() < 130 * 128 + 17 + 149 * 117 + 120 + 2 * 16);
    for (const auto& run : layout.runs()) BOOST_TEST(run.begin % 16 == 0);
  }
  const UnitLayout alone(kSpecs, {6}, 4);
  BOOST_TEST(alone.runs().size() == 1U);
  BOOST_TEST(alone.n_packed_words() == 0);
  BOOST_TEST(UnitLayout(kSpecs, {}, 4).runs().empty());
}

BOOST_AUTO_TEST_CASE(operands_take_half_the_room) {
  auto specs = kSpecs;
  for (const std::size_t i : {1U, 5U, 6U, 7U}) specs[i].is_operand = true;  // few: odd parts
  for (const std::vector<std::size_t>& members :
       {std::vector<std::size_t>{1, 2, 5, 4}, {7, 1, 6, 2, 5, 4}}) {
    for (int degree = 1; degree <= 32; degree *= 2) {
      const UnitLayout layout(specs, members, degree, UnitLayout::Operands::half_precision);
      check(layout, specs, members, degree);
      std::int64_t halves = 0;
      for (const std::size_t i : members) {
        halves += (specs[i].is_operand ? 1 : 2) * specs[i].n_elements();
        if (i == 6) halves += 32;  // the next one begins on a line
      }
      BOOST_TEST(2 * layout.n_words() >= halves - 32);
      BOOST_TEST(2 * layout.n_words() <= halves + 1);
      // 149 rows of 117: in parts of an odd number of rows a word would belong to two.
      BOOST_TEST(n_in_place(layout) == (members.size() == 6 ? 1 : 0));
      // At most half a word is lost in a part.
      if (members.size() == 4) {
        BOOST_TEST(2 * layout.n_packed_words() >= halves);
        BOOST_TEST(2 * layout.n_packed_words() <= halves + degree);
      }
    }
  }
}
