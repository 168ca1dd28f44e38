#pragma once

#include <c10/core/Allocator.h>
#include <torch/version.h>

#include <cstddef>

namespace pg::train {

/// An allocator for tensors on the CPU, in the form that LibTorch 1 or 2 asks for.
class CpuAllocator : public at::Allocator {
 public:
#if TORCH_VERSION_MAJOR >= 2
  void copy_data(void* to, const void* from, std::size_t n) const final {
    default_copy_data(to, from, n);
  }
  at::DataPtr allocate(std::size_t n) final {
    return make(n);
  }
#else
  at::DataPtr allocate(std::size_t n) const final {
    return make(n);
  }
#endif

 protected:
  virtual at::DataPtr make(std::size_t n) const = 0;
};

}  // namespace pg::train
