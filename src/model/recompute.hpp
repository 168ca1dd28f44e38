#pragma once

#include <ATen/ATen.h>

#include <functional>

namespace pg::model {

/// Maps the residual stream, given an encoder's output and a bias, each of which may be undefined.
using Piece = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& memory,
                                       const at::Tensor& bias)>;

/// piece(x, memory, bias), of which the graph keeps the inputs only: the backward pass computes the
/// piece again and adds into the gradients of the leaves that it uses (activation checkpointing:
/// Chen et al., "Training deep nets with sublinear memory cost", 2016). The piece must be a pure
/// function of its inputs and of leaves, and own or outlive what it refers to. x must require a
/// gradient, else there is no backward pass.
at::Tensor recompute(const Piece& piece, const at::Tensor& x, const at::Tensor& memory,
                     const at::Tensor& bias);

}  // namespace pg::model
