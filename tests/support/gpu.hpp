// What the tests with the label gpu begin with.
#pragma once

#include <torch/cuda.h>

#include <iostream>

namespace pg::testing {

/// Says once where there is none, in the word that CTest takes for a skipped test.
inline bool has_gpu() {
  static const bool has = [] {
    const bool found = torch::cuda::is_available();
    if (!found) std::cout << "SKIPPED: there is no CUDA device" << std::endl;
    return found;
  }();
  return has;
}

}  // namespace pg::testing
