#include "ops/autograd.hpp"
#include "ops/bfloat16.hpp"
#include "ops/ops.hpp"

namespace pg::ops {
namespace {

bool is_bfloat16_on_cpu(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16;
}

struct StandIn : torch::autograd::Function<StandIn> {
  static at::Tensor forward(Context* context, const at::Tensor& x, const at::Tensor& rounded) {
    context->saved_data["type"] = static_cast<std::int64_t>(x.scalar_type());
    // A tensor of its own on the same memory: what is written there later is no mistake.
    return rounded.variable_data();
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    const auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
    const at::Tensor dy = gradients[0].contiguous();
    if (is_bfloat16_on_cpu(dy) && type == at::kFloat && dy.dim() == 2) {
      return {to_float(dy, dy.size(0)), at::Tensor()};
    }
    return {dy.to(type), at::Tensor()};
  }
};

}  // namespace

at::Tensor stand_in(const at::Tensor& x, const at::Tensor& rounded) {
  require(
      x.sizes() == rounded.sizes() && x.device() == rounded.device() && !rounded.requires_grad(),
      "the values of a tensor in another type");
  return at::GradMode::is_enabled() ? StandIn::apply(x, rounded) : rounded;
}

void round_into(const at::Tensor& from, const at::Tensor& to) {
  require(from.numel() == to.numel() && from.is_contiguous() && to.is_contiguous(),
          "two contiguous tensors of as many elements");
  if (is_bfloat16_on_cpu(to) && from.is_cpu() && from.scalar_type() == at::kFloat) {
    round_to_bfloat16(from, to);
  } else {
    const at::NoGradGuard no_grad;
    to.copy_(from.view(to.sizes()));
  }
}

}  // namespace pg::ops
