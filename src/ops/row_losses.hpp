#pragma once

#include <ATen/ATen.h>

#include <utility>

namespace pg::ops::fast {

/// Cross entropy of rows of logits, and what its gradient needs beside them: float32 or bfloat16
/// logits (n, v), whose rows may stand apart, and int64 targets (n) on the CPU.
class RowLosses {
 public:
  /// Computes the losses; `smoothing` as in cross_entropy_sum().
  RowLosses(const at::Tensor& logits_nv, const at::Tensor& targets_n, double smoothing);
  /// Takes up again what another one kept.
  RowLosses(at::Tensor max_n, at::Tensor inverse_n)
      : max_n_(std::move(max_n)), inverse_n_(std::move(inverse_n)) {}

  /// In row order.
  [[nodiscard]] double sum() const { return sum_; }
  /// The softmax of a logit is exp(logit - max) * inverse.
  [[nodiscard]] const at::Tensor& max_n() const { return max_n_; }
  [[nodiscard]] const at::Tensor& inverse_n() const { return inverse_n_; }

  /// dlogits = dy times the gradient of the sum, for the same arguments as before. `dlogits_nv` has
  /// the type and the strides of the logits and may be their memory.
  void gradient(const at::Tensor& logits_nv, const at::Tensor& targets_n, double smoothing,
                float dy, const at::Tensor& dlogits_nv) const;

 private:
  at::Tensor max_n_;
  at::Tensor inverse_n_;
  double sum_ = 0;
};

}  // namespace pg::ops::fast
