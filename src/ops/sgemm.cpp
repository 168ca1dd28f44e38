#include "ops/sgemm.hpp"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "base/error.hpp"

namespace pg::ops {
OneThread::OneThread() : before_(omp_get_max_threads()) {
  if (before_ != 1) omp_set_num_threads(1);
}

OneThread::~OneThread() {
  if (before_ != 1) omp_set_num_threads(before_);
}

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const MatrixView& a,
              const MatrixView& b, float keep, const MatrixTarget& c) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        float& element = c.data[i * c.stride + j];
        element = keep == 0 ? 0 : keep * element;
      }
    }
    return;
  }
  const OneThread one_thread;
  const auto status = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1,
                                 a.data, std::max<std::int64_t>(a.stride, 1), b.data,
                                 std::max<std::int64_t>(b.stride, 1), keep, c.data, c.stride);
  require(status == dnnl_success, "oneDNN accepts the matrix product");
}

}  // namespace pg::ops
