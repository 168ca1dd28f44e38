#pragma once

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include "ops/cuda/kernels.hpp"

namespace pg::ops::cuda {

/// The stream on which the library computes on the tensor's GPU.
kernels::Stream current_stream(const at::Tensor& x);

/// While it lives, the tensor's GPU is the current one; converts to the stream for kernels there.
class OnDevice {
 public:
  explicit OnDevice(const at::Tensor& x) : guard_(x.device()), stream_(current_stream(x)) {}
  operator kernels::Stream() const { return stream_; }

 private:
  c10::DeviceGuard guard_;
  kernels::Stream stream_;
};

}  // namespace pg::ops::cuda
