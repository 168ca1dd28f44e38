#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "checkpoint/layout.hpp"

namespace pg::checkpoint {

/// "step_000005000.h5"
std::string file_name(std::int64_t step);
struct File {
  std::int64_t step;
  std::filesystem::path path;
};
/// The generations of a folder by their names, newest first; empty where there is no folder.
std::vector<File> list(const std::filesystem::path& folder);

/// For the ranks of a team after one of them has read a generation and found it whole: a damaged
/// one is then no property of the file, on which all could agree, but of what this rank sees of it.
/// Turns InvalidInput into IoError, which ends the program.
template <typename Action>
auto as_seen_by_the_others(const Action& action) {
  try {
    return action();
  } catch (const InvalidInput& error) {
    throw IoError(
        {std::string("another rank has found this file whole, this one has not: ") + error.what(),
         "", "check the file system of this host"});
  }
}

/// A generation on disk, for reading. Nothing comes out of it whose hash does not match.
class Generation {
 public:
  /// Checks and reads all but the arrays. Throws InvalidInput (data) naming the file and what is
  /// wrong with it; IoError where the system refuses.
  explicit Generation(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const Content& content() const { return front_.content; }
  /// XXH3 over everything but the arrays, which holds their hashes: two generations with the same
  /// one are the same, byte for byte.
  [[nodiscard]] std::string digest() const { return hex(front_.digest); }
  /// Of one array; the same for the same bytes, whatever else is in the file.
  [[nodiscard]] std::string digest(std::size_t array) const {
    return hex(front_.array_digests[array]);
  }
  [[nodiscard]] std::int64_t file_bytes() const { return front_.file_bytes; }

  /// Bytes [begin, begin + out.size()) of an array: all of it, or the rows of a shard. Throws as
  /// the constructor.
  void read(std::size_t array, std::int64_t begin, std::span<std::byte> out) const;
  /// The elements of a whole array. T is the array's type.
  template <typename T>
  [[nodiscard]] std::vector<T> values(const std::string& array) const {
    const std::size_t i = front_.content.index(array);
    std::vector<T> values(static_cast<std::size_t>(front_.content.arrays[i].n_bytes()) / sizeof(T));
    read(i, 0, std::as_writable_bytes(std::span(values)));
    return values;
  }

  /// Reads every block.
  void verify() const;

 private:
  void check_block(std::size_t block, std::span<const std::byte> bytes) const;

  std::filesystem::path path_;
  Front front_;
  std::vector<Block> blocks_;
  std::vector<std::size_t> first_block_;  ///< of each array
  Descriptor file_;
};

}  // namespace pg::checkpoint
