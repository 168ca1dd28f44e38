#pragma once

#include <cstddef>

namespace pg::train {

/// From now on the process' tensors of 128 KiB and more on the CPU come from an Arena, in huge
/// pages where the system has them: the C library gives large blocks back to the system and takes
/// them anew, and each of their pages then costs an interrupt, a tenth of a step of GPT-2 in
/// bfloat16. The peak grows by an eighth at most. May be called again. Where there is no room for a
/// tensor its allocation throws std::bad_alloc.
void keep_large_blocks();

/// Bytes of such blocks; 0 before keep_large_blocks().
struct LargeBlockBytes {
  std::size_t in_use = 0;
  std::size_t kept = 0;
  std::size_t most_in_use = 0;
};
LargeBlockBytes large_block_bytes();

/// Gives back what is kept, and starts anew to learn how much is in use at once.
void forget_large_blocks();

}  // namespace pg::train
