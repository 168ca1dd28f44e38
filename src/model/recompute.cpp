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

struct Recomputed : torch::autograd::Function<Recomputed> {
  using Context = torch::autograd::AutogradContext;
  using Tensors = torch::autograd::variable_list;

  static at::Tensor forward(Context* context, const Tensors& inputs, const Piece& piece) {
    context->save_for_backward(inputs);
    context->saved_data["piece"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(piece));
    return piece(inputs);  // without a graph: that is how a Function runs its forward pass
  }

  static Tensors backward(Context* context, const Tensors& gradients) {
    const auto capsule = context->saved_data["piece"].toCapsule();
    const auto& piece = static_cast<const Holder*>(capsule.get())->piece;
    Tensors inputs;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(saved.defined() ? saved.detach().set_requires_grad(saved.requires_grad())
                                       : saved);
    }
    at::Tensor output;
    {
      const at::AutoGradMode with_graph(true);
      output = piece(inputs);
    }
    torch::autograd::backward({output}, {gradients[0]});
    Tensors results;
    for (const at::Tensor& input : inputs) {
      results.push_back(input.defined() ? input.grad() : at::Tensor());
    }
    results.emplace_back();  // of the piece itself
    return results;
  }
};

}  // namespace

at::Tensor recompute(const Piece& piece, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return piece(inputs);
  return Recomputed::apply(inputs, piece);
}

}  // namespace pg::model
