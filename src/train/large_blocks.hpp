#pragma once

#include <cstddef>

namespace pg::train {

/// From now on the memory of the process' tensors of 32 MB and more on the CPU is kept when they
/// die, for the next of its size: the C library gives such blocks back to the system and takes them
/// anew, and each of their pages then costs an interrupt, a tenth of a step of GPT-2 in bfloat16.
/// What is kept and what is in use are never more than what was in use at once before, so the peak
/// stays as it is. May be called again. An allocation
/// that the system refuses, after what is kept has gone back to it, throws std::bad_alloc.
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
