// linear() in half precision as it is defined, in plain ATen and in double.
#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace pg::testing {

/// Rounds x, and on the way back its gradient.
inline at::Tensor rounded(const at::Tensor& x, at::ScalarType type) {
  return x.to(type).to(x.scalar_type());
}

inline at::Tensor rounded_linear(const at::Tensor& x, const at::Tensor& w,
                                 const std::optional<at::Tensor>& bias, at::ScalarType type) {
  const at::Tensor y = at::matmul(rounded(x, type), rounded(w, type).t());
  return rounded(bias ? y + rounded(*bias, type) : y, type);
}

}  // namespace pg::testing
