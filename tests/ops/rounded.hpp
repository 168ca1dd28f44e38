// linear() in half precision as it is defined, in plain ATen and in double.
#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace pg::testing {

/// Rounds x, and on the way back its gradient.
inline at::Tensor rounded(const at::Tensor& x, at::ScalarType type) {
  return x.to(type).to(x.scalar_type());
}

/// With all of its results rounded: the logits of a CPU.
inline at::Tensor rounded_linear(const at::Tensor& x, const at::Tensor& w,
                                 const std::optional<at::Tensor>& bias, at::ScalarType type) {
  const at::Tensor y = at::matmul(rounded(x, type), rounded(w, type).t());
  return rounded(bias ? y + *bias : y, type);
}

/// Sums of products of rounded factors, and of the rounded gradient. A CPU rounds that of w again.
inline at::Tensor linear_of_rounded(const at::Tensor& x, const at::Tensor& w,
                                    const std::optional<at::Tensor>& bias, at::ScalarType type,
                                    bool rounds_dw = false) {
  const auto forward_only = [&](const at::Tensor& a) {
    return a + (rounded(a, type) - a).detach();
  };
  const at::Tensor factor = rounds_dw ? rounded(w, type) : forward_only(w);
  const at::Tensor product = at::matmul(forward_only(x), factor.t());
  const at::Tensor y = bias ? product + *bias : product;
  const at::Tensor also_on_the_way_back = rounded(y, type);
  return also_on_the_way_back + (y - also_on_the_way_back).detach();
}

}  // namespace pg::testing
