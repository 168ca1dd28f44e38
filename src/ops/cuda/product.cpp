#include "ops/cuda/product.hpp"

#include <ATen/cuda/CUDAContext.h>
#include <c10/core/DeviceGuard.h>
#include <cublas_v2.h>
#include <fmt/format.h>

#include <limits>

#include "base/error.hpp"

namespace pg::ops::cuda {
namespace {

cudaDataType_t type_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kBFloat16: return CUDA_R_16BF;
    case at::kHalf: return CUDA_R_16F;
    default: return CUDA_R_32F;
  }
}

int size(std::int64_t n) {
  require(n <= std::numeric_limits<int>::max(), "a matrix of sizes that cuBLAS can count");
  return static_cast<int>(n);
}

/// A matrix as cuBLAS takes it, for which rows are columns.
struct Factor {
  cublasOperation_t operation;
  int stride;

  explicit Factor(const at::Tensor& x) {
    // The stride of a single row or column says nothing.
    const bool in_rows = x.stride(1) == 1 && (x.size(0) == 1 || x.stride(0) >= x.size(1));
    operation = in_rows ? CUBLAS_OP_N : CUBLAS_OP_T;
    const auto n = in_rows ? x.size(0) : x.size(1);
    stride = size(n == 1 ? x.size(in_rows ? 1 : 0) : x.stride(in_rows ? 0 : 1));
  }
};

}  // namespace

void multiply(const at::Tensor& a_mk, const at::Tensor& b_kn, float beta, const at::Tensor& c_mn) {
  if (c_mn.numel() == 0) return;
  if (a_mk.size(1) == 0) {
    if (beta == 0) c_mn.zero_();
    return;
  }
  const c10::DeviceGuard there(c_mn.device());
  const Factor a(a_mk);
  const Factor b(b_kn);
  constexpr float kOne = 1;
  const auto c_stride = c_mn.size(0) == 1 ? c_mn.size(1) : c_mn.stride(0);
  // By columns, c^T = b^T a^T.
  const cublasStatus_t status = cublasGemmEx(
      at::cuda::getCurrentCUDABlasHandle(), b.operation, a.operation, size(c_mn.size(1)),
      size(c_mn.size(0)), size(a_mk.size(1)), &kOne, b_kn.data_ptr(), type_of(b_kn), b.stride,
      a_mk.data_ptr(), type_of(a_mk), a.stride, &beta, c_mn.data_ptr(), type_of(c_mn),
      size(c_stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw InternalError(
      {fmt::format("cuBLAS refused a product, (m, k, n) = ({}, {}, {}): its status {}",
                   a_mk.size(0), a_mk.size(1), b_kn.size(1), static_cast<int>(status)),
       "matrices (m, k) and (k, n) on a GPU that multiplies in their type",
       "train.precision: float32"});
}

}  // namespace pg::ops::cuda
