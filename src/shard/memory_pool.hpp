#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace pg::shard {

/// Flat float32 tensors that come and go with the units, kept for the next one of the same size:
/// most of the time of a new one would go into getting its pages from the system.
class MemoryPool {
 public:
  explicit MemoryPool(at::Device device) : options_(at::TensorOptions(at::kFloat).device(device)) {}

  /// Uninitialised.
  at::Tensor take(std::int64_t n) {
    const auto fits = std::find_if(free_.begin(), free_.end(),
                                   [&](const at::Tensor& tensor) { return tensor.numel() == n; });
    if (fits == free_.end()) return at::empty({n}, options_);
    at::Tensor tensor = std::move(*fits);
    free_.erase(fits);
    return tensor;
  }
  void give_back(at::Tensor tensor) { free_.push_back(std::move(tensor)); }

 private:
  at::TensorOptions options_;
  std::vector<at::Tensor> free_;
};

/// A flat tensor whose memory comes and goes while views of it stay.
class HollowTensor {
 public:
  HollowTensor(std::int64_t n, const at::TensorOptions& options)
      : flat_(at::empty({n}, options)), writable_(flat_.variable_data()) {
    (void)flat_.storage().set_data_ptr(nothing());
  }
  /// To make views of.
  [[nodiscard]] const at::Tensor& flat() const { return flat_; }
  /// The same memory to write to behind autograd's back: it keeps views of flat() from one pass to
  /// the next, is to see in them what is there then, and would take it for a mistake.
  [[nodiscard]] at::Tensor writable(std::int64_t begin, std::int64_t count) const {
    return writable_.narrow(0, begin, count);
  }
  [[nodiscard]] bool is_there() const { return lent_.defined(); }
  /// Of the same length; uninitialised memory stays so.
  void fill_from(MemoryPool& pool) {
    lent_ = pool.take(flat_.numel());
    swap_memory();
  }
  void return_to(MemoryPool& pool) {
    swap_memory();
    pool.give_back(std::exchange(lent_, at::Tensor()));
  }

 private:
  [[nodiscard]] at::DataPtr nothing() const { return {nullptr, writable_.device()}; }
  void swap_memory() {
    at::DataPtr mine = flat_.storage().set_data_ptr(nothing());
    at::DataPtr lent = lent_.storage().set_data_ptr(std::move(mine));
    (void)flat_.storage().set_data_ptr(std::move(lent));
  }

  at::Tensor flat_;
  at::Tensor writable_;
  at::Tensor lent_;  ///< holds no memory of its own while it is lent
};

}  // namespace pg::shard
