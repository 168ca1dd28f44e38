#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/content.hpp"

// The file of a generation, version 1. It is HDF5 (h5ls, h5py and any other reader open it), laid
// out so that the raw bytes can be written and read without the library:
//
//   [0, 512)            five lines of text, a "user block" that HDF5 skips:
//                         pgmpi generation 1
//                         file_bytes <n>      of the whole file
//                         front_bytes <n>     where the arrays begin
//                         front_xxh3 <hex>    of the bytes [512, front_bytes)
//                         header_xxh3 <hex>   of the four lines above
//   [512, front_bytes)  HDF5's structures: attributes of the root (format, version, block_bytes,
//                       step, texts, integers), the datasets' headers, each with the attribute
//                       xxh3 (of its blocks' hashes); then the dataset hash_tree/blocks
//                       (n_blocks, 2): the hash of every block, its high and low 64 bits
//   [front_bytes, end)  the arrays, one after the other without a gap, row-major, little endian.
//                       Each is cut from its beginning into blocks of block_bytes (the last one is
//                       shorter); bfloat16 is an HDF5 float type of 16 bits
//
// All hashes are XXH3 of 128 bits. Every byte of the file is under one of them. A reader of one
// version refuses a later one by name.

namespace pg::checkpoint {

inline constexpr std::int64_t kFormatVersion = 1;
inline constexpr std::int64_t kBlockBytes = std::int64_t{1} << 18;

/// XXH3 of 128 bits: against damage, not against forgers.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const Digest&) const = default;
};
Digest digest_of(std::span<const std::byte> bytes);
std::string hex(const Digest& digest);

/// A block of an array.
struct Block {
  std::size_t array;
  std::int64_t offset;  ///< bytes from the beginning of all arrays
  std::int64_t begin;   ///< bytes from the beginning of its array
  std::int64_t size;    ///< bytes
};
/// Of all arrays, in the order of the file.
std::vector<Block> blocks_of(const std::vector<ArraySpec>& arrays);

/// Everything before the arrays.
std::string make_front(const Content& content, const std::vector<Digest>& block_digests);

/// What the front of a file says, after its hashes were checked.
struct Front {
  Content content;
  std::vector<Digest> block_digests;
  std::vector<Digest> array_digests;  ///< each over the digests of its blocks
  Digest digest;                      ///< of the front, and so of all content
  std::int64_t arrays_begin = 0;
  std::int64_t file_bytes = 0;
};
/// Throws InvalidInput (data) naming the file and what is wrong with it, IoError where it cannot be
/// read at all.
Front read_front(const std::filesystem::path& path);

}  // namespace pg::checkpoint
