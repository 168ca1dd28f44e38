#include "train/arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "base/error.hpp"

namespace pg::train {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// Without this much room for holes, blocks of changing sizes take and give back memory all the
/// time: 2 % of a step of GPT-2 with shared-out parameters.
constexpr std::size_t kRoomForHoles = 8;

std::size_t rounded_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

Arena::Arena() {
  const auto pages = static_cast<std::size_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  const std::size_t most = pages * page_size();
  for (std::size_t size = rounded_up(most, kHugePage); size >= most / 16 && size > kHugePage;
       size = rounded_up(size / 2, kHugePage)) {
    void* const mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) continue;
    // From the first whole huge page on; a wish: without them the blocks work as well.
    const auto at = reinterpret_cast<std::uintptr_t>(mapped);
    const std::size_t before = rounded_up(at, kHugePage) - at;
    if (before > 0) munmap(mapped, before);
    start_ = static_cast<char*>(mapped) + before;
    size_ = size - before;
    madvise(start_, size_, MADV_HUGEPAGE);
    free_.emplace(0, Free{size_, false});
    return;
  }
}

Arena::~Arena() {
  if (size_ > 0) munmap(start_, size_);
}

void* Arena::take(std::size_t n) {
  const std::size_t size = rounded_up(n, page_size());
  if (size < n || size > size_) return nullptr;
  auto first = free_.end();
  auto last = free_.end();
  std::size_t length = 0;
  // The smallest hole with memory that holds it.
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    if (!range->second.has_memory || range->second.size < size) continue;
    if (first != free_.end() && range->second.size >= length) continue;
    first = last = range;
    length = range->second.size;
  }
  // Or else the lowest run of free ranges that touch each other and hold it.
  if (first == free_.end()) {
    length = 0;
    for (last = free_.begin(); last != free_.end(); ++last) {
      if (length > 0 && first->first + length != last->first) length = 0;
      if (length == 0) first = last;
      length += last->second.size;
      if (length >= size) break;
    }
    if (last == free_.end()) return nullptr;
  }

  const std::size_t offset = first->first;
  const std::size_t rest = length - size;
  const bool rest_has_memory = last->second.has_memory;
  std::size_t with_memory = 0;
  for (auto range = first; range != std::next(last); ++range) {
    if (range->second.has_memory) with_memory += range->second.size;
  }
  if (rest > 0 && rest_has_memory) with_memory -= rest;
  free_.erase(first, std::next(last));
  kept_ -= with_memory;
  if (rest > 0) free_.emplace(offset + size, Free{rest, rest_has_memory});
  used_.emplace(offset, size);
  in_use_ += size;
  most_in_use_ = std::max(most_in_use_, in_use_);
  const std::size_t most = most_in_use_ + most_in_use_ / kRoomForHoles;
  if (in_use_ + kept_ > most) give_memory_back(in_use_ + kept_ - most);
  return start_ + offset;
}

void Arena::give_back(void* block) {
  const auto found = used_.find(static_cast<std::size_t>(static_cast<char*>(block) - start_));
  require(found != used_.end(), "a block of this arena");
  const auto [offset, size] = *found;
  used_.erase(found);
  in_use_ -= size;
  kept_ += size;
  add_free(offset, {size, true});
}

void Arena::forget() {
  give_memory_back(kept_);
  most_in_use_ = in_use_;
}

void Arena::add_free(std::size_t offset, Free range) {
  const auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + range.size == next->first &&
      next->second.has_memory == range.has_memory) {
    range.size += next->second.size;
    free_.erase(next);
  }
  const auto after = free_.lower_bound(offset);
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second.size == offset &&
        before->second.has_memory == range.has_memory) {
      before->second.size += range.size;
      return;
    }
  }
  free_.emplace(offset, range);
}

/// From the highest addresses down, which are the last to be used again.
void Arena::give_memory_back(std::size_t n) {
  auto range = free_.end();
  while (n > 0 && kept_ > 0) {
    require(range != free_.begin(), "free pages with memory");
    --range;
    if (!range->second.has_memory) continue;
    // From the beginning of a huge page, or it would come back in small ones.
    const std::size_t end = range->first + range->second.size;
    const std::size_t offset = n < range->second.size
                                   ? std::max(range->first, (end - n) / kHugePage * kHugePage)
                                   : range->first;
    const std::size_t size = end - offset;
    madvise(start_ + offset, size, MADV_DONTNEED);
    n -= std::min(n, size);
    kept_ -= size;
    range->second.size -= size;
    if (range->second.size == 0) free_.erase(range);
    add_free(offset, {size, false});
    range = free_.end();
  }
}

}  // namespace pg::train
