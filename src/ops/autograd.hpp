#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include "base/error.hpp"

// What the hand-written gradients share.

namespace pg::ops {

using Context = torch::autograd::AutogradContext;
using Gradients = torch::autograd::variable_list;

/// The gradients here are not differentiable themselves; asking for that must not give zeros.
inline void require_first_derivative() {
  require(!at::GradMode::is_enabled(), "fast operators give first derivatives only");
}

}  // namespace pg::ops
