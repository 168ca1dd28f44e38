#include "shard/hollow_tensor.hpp"

#include <utility>

#include "base/error.hpp"

namespace pg::shard {

HollowTensor::HollowTensor(std::int64_t n, at::Device device)
    : flat_(at::empty({n}, at::TensorOptions(at::kFloat).device(device))),
      writable_(flat_.variable_data()) {
  (void)flat_.storage().set_data_ptr(at::DataPtr(nullptr, device));
}

void HollowTensor::fill_with(at::Tensor tensor) {
  require(!is_there() && tensor.numel() == flat_.numel(), "memory for the whole tensor, once");
  lent_ = std::move(tensor);
  swap_memory();
}

at::Tensor HollowTensor::take() {
  swap_memory();
  return std::exchange(lent_, {});
}

void HollowTensor::swap_memory() {
  at::DataPtr mine = flat_.storage().set_data_ptr(at::DataPtr(nullptr, writable_.device()));
  at::DataPtr lent = lent_.storage().set_data_ptr(std::move(mine));
  (void)flat_.storage().set_data_ptr(std::move(lent));
}

}  // namespace pg::shard
