#pragma once

#include <cstdint>

namespace pg::ops {

/// What the kernels need to know of a DropoutSite, for every element of it.
struct DropoutStream {
  std::uint32_t key[2];
  std::uint64_t step;
  std::uint64_t first_block;
  std::uint32_t threshold;
  float scale;  ///< of what is kept
};

}  // namespace pg::ops
