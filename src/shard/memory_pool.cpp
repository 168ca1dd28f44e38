#include "shard/memory_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace pg::shard {
namespace {

/// In large pages where that saves most of the time of getting them.
at::Tensor host_tensor(std::int64_t n) {
  constexpr std::size_t kLargePage = std::size_t{2} << 20;
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(float);
  if (bytes < 2 * kLargePage) return at::empty({n}, at::kFloat);
  const std::size_t rounded = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  void* const memory = std::aligned_alloc(kLargePage, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  ::madvise(memory, rounded, MADV_HUGEPAGE);
  return at::from_blob(
      memory, {n}, [](void* p) { std::free(p); }, at::kFloat);
}

}  // namespace

at::Tensor MemoryPool::take(std::int64_t n) {
  const auto fits = std::find_if(free_.begin(), free_.end(),
                                 [&](const at::Tensor& tensor) { return tensor.numel() == n; });
  if (fits == free_.end()) {
    free_.clear();
    return device_.is_cpu() ? host_tensor(n)
                            : at::empty({n}, at::TensorOptions(at::kFloat).device(device_));
  }
  at::Tensor tensor = std::move(*fits);
  free_.erase(fits);
  return tensor;
}

HollowTensor::HollowTensor(std::int64_t n, at::Device device)
    : flat_(at::empty({n}, at::TensorOptions(at::kFloat).device(device))),
      writable_(flat_.variable_data()) {
  (void)flat_.storage().set_data_ptr(at::DataPtr(nullptr, device));
}

void HollowTensor::fill_from(MemoryPool& pool) {
  lent_ = pool.take(flat_.numel());
  swap_memory();
}

void HollowTensor::return_to(MemoryPool& pool) {
  swap_memory();
  pool.give_back(std::exchange(lent_, at::Tensor()));
}

void HollowTensor::swap_memory() {
  at::DataPtr mine = flat_.storage().set_data_ptr(at::DataPtr(nullptr, writable_.device()));
  at::DataPtr lent = lent_.storage().set_data_ptr(std::move(mine));
  (void)flat_.storage().set_data_ptr(std::move(lent));
}

}  // namespace pg::shard
