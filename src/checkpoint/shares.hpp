#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/layout.hpp"
#include "comm/communicator.hpp"

namespace pg::checkpoint {

/// The bytes of an array that a rank has: all of them, or a run of its rows.
struct Share {
  std::int64_t begin = 0;  ///< bytes from the beginning of the array
  std::span<const std::byte> bytes;
};

/// Of a rank that has all bytes of every array.
std::vector<Share> whole(const std::vector<std::span<const std::byte>>& arrays);

/// Which rank of a team writes which block of a generation, and that block's bytes. A rank writes
/// whole blocks that begin in what it has, and gets from others what it lacks of their ends.
class BlockShares {
 public:
  /// `mine`: of every array of `arrays`; together the ranks have all bytes, some of them perhaps
  /// many times. Collective.
  BlockShares(const std::vector<ArraySpec>& arrays, const std::vector<Share>& mine,
              const comm::Communicator& team);

  /// The blocks that this rank writes.
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
  /// Of each of them; from the memory of `mine`, or owned here.
  [[nodiscard]] const std::vector<std::span<const std::byte>>& bytes() const { return bytes_; }
  /// What every rank says of its blocks, in the order of all blocks. Collective.
  [[nodiscard]] std::vector<Digest> gather(const std::vector<Digest>& of_mine,
                                           const comm::Communicator& team) const;

 private:
  std::vector<int> owners_;  ///< of all blocks
  std::vector<Block> blocks_;
  std::vector<std::span<const std::byte>> bytes_;
  std::vector<std::vector<std::byte>> joined_;  ///< blocks with bytes of several ranks
};

}  // namespace pg::checkpoint
