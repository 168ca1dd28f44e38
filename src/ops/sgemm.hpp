#pragma once

#include <cstdint>

namespace pg::ops {

/// A row-major matrix in memory that is not owned; element (i, j) is data[i * stride + j].
struct MatrixView {
  const float* data;
  std::int64_t stride;
  bool transposed = false;  ///< the product uses the transpose of what is stored

  [[nodiscard]] MatrixView transpose() const { return {data, stride, !transposed}; }
  /// The rest of the stored matrix from this row or column on.
  [[nodiscard]] MatrixView from_row(std::int64_t i) const {
    return {data + i * stride, stride, transposed};
  }
  [[nodiscard]] MatrixView from_column(std::int64_t j) const {
    return {data + j, stride, transposed};
  }
};

/// The same for a matrix that is written to.
struct MatrixTarget {
  float* data;
  std::int64_t stride;

  [[nodiscard]] MatrixView view() const { return {data, stride}; }
  [[nodiscard]] MatrixTarget from_row(std::int64_t i) const { return {data + i * stride, stride}; }
  [[nodiscard]] MatrixTarget from_column(std::int64_t j) const { return {data + j, stride}; }
};

/// While it lives, oneDNN works on one thread: it splits a product by the number of OpenMP threads,
/// and the split decides how sums round.
class OneThread {
 public:
  OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread();

 private:
  int before_;
};

/// c (m, n) = a (m, k) b (k, n) + keep * c, on one thread whatever the OpenMP settings.
/// With keep = 0 the old content of c is not read. Any of m, n, k may be 0.
/// Throws InternalError if oneDNN refuses the arguments.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const MatrixView& a,
              const MatrixView& b, float keep, const MatrixTarget& c);

}  // namespace pg::ops
