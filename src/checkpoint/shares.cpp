#include "checkpoint/shares.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"

namespace pg::checkpoint {
namespace {

/// Bytes [begin, end) of an array.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  [[nodiscard]] bool has(std::int64_t byte) const { return begin <= byte && byte < end; }
};

template <typename T>
std::string packed(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <typename T>
std::vector<T> unpacked(const std::string& text) {
  std::vector<T> values(text.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), text.data(), text.size());
  return values;
}

/// By rank and array: what everybody has.
std::vector<std::vector<Range>> all_ranges(const std::vector<ArraySpec>& arrays,
                                           const std::vector<Share>& mine,
                                           const comm::Communicator& team) {
  require(mine.size() == arrays.size(), "a share of every array");
  std::vector<Range> ranges;
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    const auto end = mine[a].begin + static_cast<std::int64_t>(mine[a].bytes.size());
    require(mine[a].begin >= 0 && end <= arrays[a].n_bytes(), "a share inside its array");
    ranges.push_back({mine[a].begin, end});
  }
  std::vector<std::vector<Range>> all;
  for (const std::string& text : team.all_gather(packed(ranges))) {
    all.push_back(unpacked<Range>(text));
  }
  return all;
}

/// The rank nearest to `to` that has this byte.
int holder_of(const std::vector<std::vector<Range>>& ranges, std::size_t array, std::int64_t byte,
              int to) {
  int best = -1;
  for (int rank = 0; rank < static_cast<int>(ranges.size()); ++rank) {
    if (!ranges[static_cast<std::size_t>(rank)][array].has(byte)) continue;
    if (best < 0 || std::abs(rank - to) < std::abs(best - to)) best = rank;
  }
  require(best >= 0, "a rank for every byte of an array");
  return best;
}

}  // namespace

std::vector<Share> whole(const std::vector<std::span<const std::byte>>& arrays) {
  std::vector<Share> shares;
  for (const auto& bytes : arrays) shares.push_back({0, bytes});
  return shares;
}

BlockShares::BlockShares(const std::vector<ArraySpec>& arrays, const std::vector<Share>& mine,
                         const comm::Communicator& team) {
  const auto ranges = all_ranges(arrays, mine, team);
  const auto blocks = blocks_of(arrays);
  std::vector<std::string> outgoing(static_cast<std::size_t>(team.size()));
  struct Missing {
    int from;
    std::size_t joined;  ///< place in joined_
    std::int64_t at;     ///< in the block
    std::int64_t size;
  };
  std::vector<Missing> missing;
  std::vector<int> candidates;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const Block& block = blocks[b];
    candidates.clear();
    for (int rank = 0; rank < team.size(); ++rank) {
      if (ranges[static_cast<std::size_t>(rank)][block.array].has(block.begin)) {
        candidates.push_back(rank);
      }
    }
    require(!candidates.empty(), "a rank for every byte of an array");
    // Who has the same bytes shares the blocks out in runs.
    const int owner = candidates[b * candidates.size() / blocks.size()];
    owners_.push_back(owner);
    const Range& owned = ranges[static_cast<std::size_t>(owner)][block.array];
    const std::int64_t end = block.begin + block.size;
    const bool is_mine = owner == team.rank();
    const Share& share = mine[block.array];
    const auto of_share = [&](std::int64_t first, std::int64_t last) {
      return share.bytes.subspan(static_cast<std::size_t>(first - share.begin),
                                 static_cast<std::size_t>(last - first));
    };
    if (is_mine) {
      blocks_.push_back(block);
      const auto own = of_share(block.begin, std::min(end, owned.end));
      if (owned.end >= end) {
        bytes_.push_back(own);
      } else {
        joined_.emplace_back(own.begin(), own.end()).resize(static_cast<std::size_t>(block.size));
        bytes_.emplace_back(joined_.back());
      }
    }
    for (std::int64_t at = std::min(end, owned.end); at < end;) {
      const int from = holder_of(ranges, block.array, at, owner);
      const std::int64_t last =
          std::min(end, ranges[static_cast<std::size_t>(from)][block.array].end);
      if (from == team.rank()) {
        const auto bytes = of_share(at, last);
        outgoing[static_cast<std::size_t>(owner)].append(
            reinterpret_cast<const char*>(bytes.data()), bytes.size());
      }
      if (is_mine) missing.push_back({from, joined_.size() - 1, at - block.begin, last - at});
      at = last;
    }
  }
  const auto incoming = team.all_to_all(outgoing);
  std::vector<std::size_t> read(incoming.size(), 0);
  for (const Missing& part : missing) {
    const auto from = static_cast<std::size_t>(part.from);
    const auto size = static_cast<std::size_t>(part.size);
    require(read[from] + size <= incoming[from].size(), "the bytes that both sides counted");
    std::memcpy(joined_[part.joined].data() + part.at, incoming[from].data() + read[from], size);
    read[from] += size;
  }
}

std::vector<Digest> BlockShares::gather(const std::vector<Digest>& of_mine,
                                        const comm::Communicator& team) const {
  std::vector<std::vector<Digest>> by_rank;
  for (const std::string& text : team.all_gather(packed(of_mine))) {
    by_rank.push_back(unpacked<Digest>(text));
  }
  std::vector<std::size_t> next(by_rank.size(), 0);
  std::vector<Digest> all;
  for (const int owner : owners_) {
    const auto rank = static_cast<std::size_t>(owner);
    all.push_back(by_rank[rank].at(next[rank]++));
  }
  return all;
}

}  // namespace pg::checkpoint
