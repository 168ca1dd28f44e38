#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace pg::shard {

/// Flat float32 tensors that come and go with the units, kept for the next one of the same length:
/// getting pages from the system takes longer than filling them. Where none has the length, those
/// that are kept have another unit's and are freed first.
class MemoryPool {
 public:
  explicit MemoryPool(at::Device device) : device_(device) {}

  /// Uninitialised.
  at::Tensor take(std::int64_t n);
  void give_back(at::Tensor tensor) { free_.push_back(std::move(tensor)); }

 private:
  at::Device device_;
  std::vector<at::Tensor> free_;
};

/// A flat tensor whose memory comes and goes while views of it stay.
class HollowTensor {
 public:
  HollowTensor(std::int64_t n, at::Device device);
  /// Of float32, to make views of.
  [[nodiscard]] const at::Tensor& flat() const { return flat_; }
  /// The same memory to write to behind autograd's back: it keeps views of flat() from one pass to
  /// the next, is to see in them what is there then, and would take it for a mistake.
  [[nodiscard]] const at::Tensor& writable() const { return writable_; }
  [[nodiscard]] bool is_there() const { return lent_.defined(); }
  /// What is in it then is not initialised.
  void fill_from(MemoryPool& pool);
  void return_to(MemoryPool& pool);

 private:
  void swap_memory();

  at::Tensor flat_;
  at::Tensor writable_;
  at::Tensor lent_;  ///< holds no memory of its own while it is lent
};

}  // namespace pg::shard
