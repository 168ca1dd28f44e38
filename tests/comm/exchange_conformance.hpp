// What every Exchange must do, written against its interface. A Buffer holds the values where the
// exchange works: made from a vector, a span of its memory, and the values again.
#pragma once

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/random.hpp"
#include "comm/communicator.hpp"
#include "comm/exchange.hpp"

namespace pg::testing {

using Bounds = std::vector<std::size_t>;

/// Bounds of a part for each of `size` ranks: even, odd lengths, empty parts (the first and the
/// last as well), one value that belongs to one rank, none at all, and a large buffer.
inline std::vector<Bounds> exchange_bounds(int size) {
  const auto n_parts = static_cast<std::size_t>(size);
  const auto from_lengths = [&](auto length) {
    Bounds bounds = {0};
    for (std::size_t k = 0; k < n_parts; ++k) bounds.push_back(bounds.back() + length(k));
    return bounds;
  };
  return {comm::equal_bounds(64 * n_parts, size),
          comm::equal_bounds(1001, size),
          from_lengths([](std::size_t k) { return 3 * k + 1; }),
          from_lengths([](std::size_t k) { return k % 2 == 0 ? std::size_t{0} : k; }),
          from_lengths([](std::size_t k) { return k % 2 == 0 ? std::size_t{5} : 0; }),
          from_lengths([&](std::size_t k) { return k + 1 == n_parts ? std::size_t{1} : 0; }),
          from_lengths([](std::size_t) { return std::size_t{0}; }),
          comm::equal_bounds(40'009, size)};
}

/// Values that addition cannot be lucky with: of any size and sign.
inline std::vector<float> summand(int rank, std::size_t n, std::uint64_t seed) {
  const random::Stream stream(seed, random::Purpose::test, static_cast<std::uint64_t>(rank));
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(stream.normal(2 * i) *
                                   std::exp2(static_cast<double>(stream.below(20, 2 * i + 1))));
  }
  return values;
}

/// The definition: the sum over the ranks [first, last) in the shape of the perfect binary tree;
/// a sub-tree without a rank that is present adds nothing.
inline std::vector<float> sum_of_tree(int first, int last, int n_present, std::size_t n,
                                      std::uint64_t seed) {
  if (last - first == 1) return summand(first, n, seed);
  const int middle = first + (last - first) / 2;
  std::vector<float> sum = sum_of_tree(first, middle, n_present, n, seed);
  if (middle >= n_present) return sum;
  const std::vector<float> right = sum_of_tree(middle, last, n_present, n, seed);
  for (std::size_t i = 0; i < n; ++i) sum[i] += right[i];
  return sum;
}

/// The values of a rank before a sum: rubbish where it has none, which must not get into it.
inline std::vector<float> before_sum(int rank, int n_present, std::size_t n, std::uint64_t seed) {
  if (rank < n_present) return summand(rank, n, seed);
  return std::vector<float>(n, std::numeric_limits<float>::quiet_NaN());
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

/// The part of `values` that belongs to `rank`.
inline std::span<const float> part_of(int rank, int size, const std::vector<float>& values,
                                      const Bounds& bounds) {
  const auto part = static_cast<std::size_t>(comm::owner_of_part(rank, size));
  return std::span(values).subspan(bounds[part], bounds[part + 1] - bounds[part]);
}

/// Every rank's own part of summand(rank) and NaN elsewhere, and what a gather makes of it.
struct Gather {
  std::vector<float> before, after;
};
inline Gather gather_of(int rank, int size, const Bounds& bounds, std::uint64_t seed) {
  const std::size_t n = bounds.back();
  Gather gather{std::vector<float>(n, std::numeric_limits<float>::quiet_NaN()),
                std::vector<float>(n)};
  for (int owner = 0; owner < size; ++owner) {
    const std::vector<float> values = summand(owner, n, seed);
    const auto part = static_cast<std::size_t>(comm::owner_of_part(owner, size));
    for (std::size_t i = bounds[part]; i < bounds[part + 1]; ++i) {
      gather.after[i] = values[i];
      if (owner == rank) gather.before[i] = values[i];
    }
  }
  return gather;
}

template <typename Buffer>
void check_gathers(comm::Exchange& exchange, const comm::Communicator& team) {
  for (const Bounds& bounds : exchange_bounds(team.size())) {
    const Gather gather = gather_of(team.rank(), team.size(), bounds, 1);
    Buffer buffer(gather.before);
    exchange.all_gather(buffer.span(), bounds)->wait();
    BOOST_TEST(same_bits(buffer.values(), gather.after), bounds.back() << " values");
  }
}

template <typename Buffer>
void check_strict_sums(comm::Exchange& exchange, const comm::Communicator& team) {
  for (const Bounds& bounds : exchange_bounds(team.size())) {
    for (int n_present = 1; n_present <= team.size(); ++n_present) {
      const std::size_t n = bounds.back();
      Buffer buffer(before_sum(team.rank(), n_present, n, 2));
      exchange.reduce_scatter(buffer.span(), bounds, n_present, comm::Exchange::Order::tree)
          ->wait();
      const std::vector<float> expected = sum_of_tree(0, team.size(), n_present, n, 2);
      BOOST_TEST(same_bits(part_of(team.rank(), team.size(), buffer.values(), bounds),
                           part_of(team.rank(), team.size(), expected, bounds)),
                 n << " values, " << n_present << " ranks have some");
    }
  }
}

/// Within what rounding can do to a sum in any order: n units in the last place of the sum of the
/// magnitudes.
template <typename Buffer>
void check_sums_in_any_order(comm::Exchange& exchange, const comm::Communicator& team) {
  for (const Bounds& bounds : exchange_bounds(team.size())) {
    for (int n_present = 1; n_present <= team.size(); ++n_present) {
      const std::size_t n = bounds.back();
      std::vector<double> sum(n);
      std::vector<double> magnitude(n);
      for (int rank = 0; rank < n_present; ++rank) {
        const std::vector<float> values = summand(rank, n, 3);
        for (std::size_t i = 0; i < n; ++i) {
          sum[i] += values[i];
          magnitude[i] += std::abs(values[i]);
        }
      }
      Buffer buffer(before_sum(team.rank(), n_present, n, 3));
      exchange.reduce_scatter(buffer.span(), bounds, n_present, comm::Exchange::Order::any)->wait();
      const std::vector<float> found = buffer.values();
      const auto part = static_cast<std::size_t>(comm::owner_of_part(team.rank(), team.size()));
      std::size_t n_wrong = 0;
      for (std::size_t i = bounds[part]; i < bounds[part + 1]; ++i) {
        const double tolerance =
            n_present * static_cast<double>(std::numeric_limits<float>::epsilon()) * magnitude[i];
        if (!(std::abs(found[i] - sum[i]) <= tolerance)) ++n_wrong;
      }
      BOOST_TEST(n_wrong == 0U, n << " values, " << n_present << " ranks have some");
    }
  }
}

/// Many are started before the first is waited for, and they are waited for in another order.
template <typename Buffer>
void check_several_at_once(comm::Exchange& exchange, const comm::Communicator& team) {
  struct Started {
    Buffer buffer;
    Bounds bounds;
    std::vector<float> expected;
    bool whole;  ///< or this rank's part alone
    std::unique_ptr<comm::Exchange::Pending> pending;
  };
  std::vector<std::unique_ptr<Started>> all;
  std::uint64_t seed = 10;
  for (const Bounds& bounds : exchange_bounds(team.size())) {
    const Gather gather = gather_of(team.rank(), team.size(), bounds, ++seed);
    all.push_back(std::make_unique<Started>(
        Started{Buffer(gather.before), bounds, gather.after, true, nullptr}));
    Started& gathered = *all.back();
    gathered.pending = exchange.all_gather(gathered.buffer.span(), bounds);
    exchange.progress();
    const int n_present = 1 + static_cast<int>(seed % static_cast<std::uint64_t>(team.size()));
    const std::size_t n = bounds.back();
    all.push_back(std::make_unique<Started>(
        Started{Buffer(before_sum(team.rank(), n_present, n, ++seed)), bounds,
                sum_of_tree(0, team.size(), n_present, n, seed), false, nullptr}));
    Started& summed = *all.back();
    summed.pending = exchange.reduce_scatter(summed.buffer.span(), bounds, n_present,
                                             comm::Exchange::Order::tree);
  }
  std::reverse(all.begin(), all.end());
  // Not the same order on all ranks: waiting is no collective.
  if (team.rank() % 2 == 1) std::rotate(all.begin(), all.begin() + 3, all.end());
  for (const auto& started : all) {
    started->pending->wait();
    started->pending.reset();
    const std::vector<float> found = started->buffer.values();
    const bool same =
        started->whole
            ? same_bits(found, started->expected)
            : same_bits(part_of(team.rank(), team.size(), found, started->bounds),
                        part_of(team.rank(), team.size(), started->expected, started->bounds));
    BOOST_TEST(same, (started->whole ? "gathered " : "summed ") << found.size() << " values");
  }
}

/// All of the above.
template <typename Buffer>
void check_exchange(comm::Exchange& exchange, const comm::Communicator& team) {
  check_gathers<Buffer>(exchange, team);
  check_strict_sums<Buffer>(exchange, team);
  check_sums_in_any_order<Buffer>(exchange, team);
  check_several_at_once<Buffer>(exchange, team);
}

}  // namespace pg::testing
