#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

namespace pg::model {

using Piece = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// piece(inputs), of which the graph keeps the inputs only: the backward pass computes the piece
/// again and adds into the gradients of the leaves that it uses (activation checkpointing: Chen et
/// al., "Training deep nets with sublinear memory cost", 2016). The piece must be a pure function
/// of its inputs and of leaves, and own or outlive what it refers to. At least one input must
/// require a gradient, else there is no backward pass; an undefined input is passed on.
at::Tensor recompute(const Piece& piece, const std::vector<at::Tensor>& inputs);

}  // namespace pg::model
