#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace pg::shard {

/// A flat float32 tensor whose memory comes and goes while views of it stay.
class HollowTensor {
 public:
  HollowTensor(std::int64_t n, at::Device device);
  /// To make views of.
  [[nodiscard]] const at::Tensor& flat() const { return flat_; }
  /// The same memory to write to behind autograd's back: it keeps views of flat() from one pass to
  /// the next, is to see in them what is there then, and would take it for a mistake.
  [[nodiscard]] const at::Tensor& writable() const { return writable_; }
  [[nodiscard]] bool is_there() const { return lent_.defined(); }
  /// Takes the memory of a tensor of the same length and device.
  void fill_with(at::Tensor tensor);
  /// Gives it away.
  at::Tensor take();

 private:
  void swap_memory();

  at::Tensor flat_;
  at::Tensor writable_;
  at::Tensor lent_;  ///< holds no memory of its own while it is lent
};

}  // namespace pg::shard
