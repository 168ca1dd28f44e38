#include "train/large_blocks.hpp"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>

#include <cstdint>
#include <mutex>
#include <new>

#include "train/arena.hpp"
#include "train/cpu_allocator.hpp"

namespace pg::train {
namespace {

/// Below it the C library's heap does as well: small tensors come and go within its pages. From
/// here on it maps blocks of their own and returns the end of its heap (M_MMAP_THRESHOLD and
/// M_TRIM_THRESHOLD of mallopt(3), which then grow with what is freed, at every program's own
/// pace).
constexpr std::size_t kLeast = std::size_t{1} << 17;

class LargeBlocks final : public CpuAllocator {
 public:
  explicit LargeBlocks(at::Allocator* smaller) : smaller_(smaller) {}

  at::DataPtr make(std::size_t n) const override {
    if (n < kLeast) return smaller_->allocate(n);
    const std::lock_guard lock(mutex_);
    if (void* const data = arena_.take(n)) return {data, data, &release, at::kCPU};
    try {
      return smaller_->allocate(n);  // the system gave the arena fewer addresses than it has
    } catch (const c10::Error&) {
      throw std::bad_alloc();
    }
  }

  LargeBlockBytes bytes() const {
    const std::lock_guard lock(mutex_);
    return {arena_.in_use(), arena_.kept(), arena_.most_in_use()};
  }

  void forget() const {
    const std::lock_guard lock(mutex_);
    arena_.forget();
  }

 private:
  static void release(void* block);

  at::Allocator* smaller_;
  mutable std::mutex mutex_;
  mutable Arena arena_;
};

/// The library wants an allocator that lives as long as any tensor: this one is never destroyed.
LargeBlocks& large_blocks() {
  static auto* const blocks = new LargeBlocks(c10::GetDefaultCPUAllocator());
  return *blocks;
}

void LargeBlocks::release(void* block) {
  const std::lock_guard lock(large_blocks().mutex_);
  large_blocks().arena_.give_back(block);
}

}  // namespace

void keep_large_blocks() {
  constexpr std::uint8_t kBeforeTheDefault = 1;
  c10::SetCPUAllocator(&large_blocks(), kBeforeTheDefault);
}

LargeBlockBytes large_block_bytes() {
  return large_blocks().bytes();
}

void forget_large_blocks() {
  large_blocks().forget();
}

}  // namespace pg::train
