#include "train/large_blocks.hpp"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "train/cpu_allocator.hpp"

namespace pg::train {
namespace {

/// Where glibc's own threshold ends up: what is smaller it keeps by itself.
constexpr std::size_t kLeast = std::size_t{32} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// Memory from the system in whole huge pages, which it is asked to use.
void* map_block(std::size_t n) {
  // A page more than needed, of which the ends that are not aligned go back at once.
  void* const mapped = mmap(nullptr, n + kHugePage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const first = static_cast<char*>(mapped);
  const std::size_t over = reinterpret_cast<std::uintptr_t>(first) % kHugePage;
  const std::size_t before = over == 0 ? 0 : kHugePage - over;
  if (before > 0) munmap(first, before);
  munmap(first + before + n, kHugePage - before);
  madvise(first + before, n, MADV_HUGEPAGE);  // a wish: without it the block works as well
  return first + before;
}

class LargeBlocks final : public CpuAllocator {
 public:
  explicit LargeBlocks(at::Allocator* smaller) : smaller_(smaller) {}

  at::DataPtr make(std::size_t n) const override {
    if (n < kLeast) return smaller_->allocate(n);
    const std::size_t size = (n + kHugePage - 1) / kHugePage * kHugePage;
    auto block = std::make_unique<Block>(Block{this, size, take(size)});
    void* const data = block->data;
    return {data, block.release(), &release, at::kCPU};
  }

  LargeBlockBytes bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

  void forget() const {
    const std::lock_guard lock(mutex_);
    give_back(bytes_.kept);
    bytes_.most_in_use = bytes_.in_use;
  }

 private:
  struct Block {
    const LargeBlocks* owner;
    std::size_t size;
    void* data;
  };

  static void release(void* context) {
    const std::unique_ptr<Block> block(static_cast<Block*>(context));
    const LargeBlocks& owner = *block->owner;
    const std::lock_guard lock(owner.mutex_);
    owner.bytes_.in_use -= block->size;
    owner.bytes_.kept += block->size;
    owner.kept_.emplace(block->size, block->data);
  }

  void* take(std::size_t size) const {
    const std::lock_guard lock(mutex_);
    void* data = nullptr;
    if (const auto found = kept_.find(size); found != kept_.end()) {
      data = found->second;
      kept_.erase(found);
      bytes_.kept -= size;
    } else {
      const std::size_t total = bytes_.in_use + size;
      const std::size_t room = std::max(bytes_.most_in_use, total) - total;
      if (bytes_.kept > room) give_back(bytes_.kept - room);
      data = map_block(size);
      if (data == nullptr) {
        give_back(bytes_.kept);
        data = map_block(size);
      }
      if (data == nullptr) throw std::bad_alloc();
    }
    bytes_.in_use += size;
    bytes_.most_in_use = std::max(bytes_.most_in_use, bytes_.in_use);
    return data;
  }

  /// The largest first, at least so many bytes.
  void give_back(std::size_t n) const {
    while (n > 0 && !kept_.empty()) {
      const auto largest = std::prev(kept_.end());
      munmap(largest->second, largest->first);
      bytes_.kept -= largest->first;
      n -= std::min(n, largest->first);
      kept_.erase(largest);
    }
  }

  at::Allocator* smaller_;
  mutable std::mutex mutex_;
  mutable std::multimap<std::size_t, void*> kept_;
  mutable LargeBlockBytes bytes_;
};

/// The library wants an allocator that lives as long as any tensor: this one is never destroyed.
LargeBlocks& large_blocks() {
  static auto* const blocks = new LargeBlocks(c10::GetDefaultCPUAllocator());
  return *blocks;
}

bool installed() {
  return c10::GetCPUAllocator() == &large_blocks();
}

}  // namespace

void keep_large_blocks() {
  constexpr std::uint8_t kBeforeTheDefault = 1;
  c10::SetCPUAllocator(&large_blocks(), kBeforeTheDefault);
}

LargeBlockBytes large_block_bytes() {
  return installed() ? large_blocks().bytes() : LargeBlockBytes{};
}

void forget_large_blocks() {
  if (installed()) large_blocks().forget();
}

}  // namespace pg::train
