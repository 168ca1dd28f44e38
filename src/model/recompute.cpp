#include "model/recompute.hpp"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <utility>

#include "base/error.hpp"

namespace pg::model {
namespace {

struct Holder : torch::CustomClassHolder {
  explicit Holder(Piece p) : piece(std::move(p)) {}
  Piece piece;
};

/// The library's functions take defined tensors only.
at::Tensor defined(const at::Tensor& tensor) {
  return tensor.defined() ? tensor : at::empty({0});
}

at::Tensor given(const at::Tensor& tensor) {
  return tensor.dim() == 1 && tensor.numel() == 0 ? at::Tensor() : tensor;
}

struct Recomputed : torch::autograd::Function<Recomputed> {
  using Context = torch::autograd::AutogradContext;
  using Tensors = torch::autograd::variable_list;

  static at::Tensor forward(Context* context, const at::Tensor& x, const at::Tensor& memory,
                            const at::Tensor& bias, const Piece& piece) {
    context->save_for_backward({x, memory, bias});
    context->saved_data["piece"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(piece));
    return piece(x, given(memory), given(bias));  // a Function's forward pass makes no graph
  }

  static Tensors backward(Context* context, const Tensors& gradients) {
    const auto capsule = context->saved_data["piece"].toCapsule();
    const auto& piece = static_cast<const Holder*>(capsule.get())->piece;
    Tensors inputs;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().set_requires_grad(saved.requires_grad()));
    }
    at::Tensor output;
    {
      const at::AutoGradMode with_graph(true);
      output = piece(inputs[0], given(inputs[1]), given(inputs[2]));
    }
    torch::autograd::backward({output}, {gradients[0]});
    return {inputs[0].grad(), inputs[1].grad(), inputs[2].grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor recompute(const Piece& piece, const at::Tensor& x, const at::Tensor& memory,
                     const at::Tensor& bias) {
  if (!at::GradMode::is_enabled()) return piece(x, memory, bias);
  return Recomputed::apply(x, defined(memory), defined(bias), piece);
}

}  // namespace pg::model
