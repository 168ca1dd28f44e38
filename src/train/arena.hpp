#pragma once

#include <cstddef>
#include <map>

namespace pg::train {

/// Blocks of memory from one range of addresses. A page that a block has used keeps its memory for
/// the next blocks there, of whatever size, but pages in use and pages kept are together never more
/// than 9/8 of what was in use at once before: where a new block would exceed that, memory of other
/// free pages goes back to the system. A block goes to the smallest hole with memory that holds it;
/// where there is none, as low as it can. Not for several threads at once.
class Arena {
 public:
  /// Addresses for as many bytes as the machine has memory, or for fewer where the process may not
  /// have so many, or for none. They take no memory.
  Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  /// n > 0 bytes, at the beginning of a page; null where there is no room for them.
  void* take(std::size_t n);
  void give_back(void* block);

  /// Bytes in whole pages.
  [[nodiscard]] std::size_t in_use() const { return in_use_; }
  [[nodiscard]] std::size_t kept() const { return kept_; }
  [[nodiscard]] std::size_t most_in_use() const { return most_in_use_; }

  /// Gives back what is kept, and starts anew to learn how much is in use at once.
  void forget();

 private:
  /// Free bytes from a key of free_ on. Neighbours differ in `has_memory`.
  struct Free {
    std::size_t size;
    bool has_memory;
  };

  void add_free(std::size_t offset, Free range);
  void give_memory_back(std::size_t n);

  char* start_ = nullptr;
  std::size_t size_ = 0;
  std::map<std::size_t, Free> free_;         ///< by offset
  std::map<std::size_t, std::size_t> used_;  ///< size by offset
  std::size_t in_use_ = 0;
  std::size_t kept_ = 0;
  std::size_t most_in_use_ = 0;
};

}  // namespace pg::train
