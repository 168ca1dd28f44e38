#include "ops/cuda/on_device.hpp"

#include <c10/cuda/CUDAStream.h>

namespace pg::ops::cuda {

kernels::Stream current_stream(const at::Tensor& x) {
  return c10::cuda::getCurrentCUDAStream(x.device().index());
}

}  // namespace pg::ops::cuda
