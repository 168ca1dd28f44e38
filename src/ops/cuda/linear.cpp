#include "ops/autograd.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/cuda/product.hpp"
#include "ops/rows.hpp"

// Products in half precision whose results are the float32 sums themselves: what a product wrote in
// half precision would have to be read and widened again.

namespace pg::ops::cuda {
namespace {

using fast::as_rows;
using fast::with_width;

/// Keeps x in half precision but the weights as they are given, like the CPU's.
struct HalfLinear : torch::autograd::Function<HalfLinear> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input, const at::Tensor& w_input,
                            const c10::optional<at::Tensor>& bias, at::ScalarType type) {
    const at::Tensor x_ri = as_rows(x_input).to(type);
    const at::Tensor w_oi = w_input.contiguous();
    context->save_for_backward({x_ri, w_oi});
    context->saved_data["biased"] = bias.has_value();
    at::Tensor y = at::empty(with_width(x_input, w_oi.size(0)), x_input.options());
    multiply(x_ri, w_oi.to(type).t(), 0, y.view({x_ri.size(0), w_oi.size(0)}));
    if (bias) y.add_(*bias);
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x_ri = saved[0];
    const at::Tensor& w_oi = saved[1];
    const at::Tensor dy_ro = as_rows(gradients[0]).to(x_ri.scalar_type());
    at::Tensor dx;
    at::Tensor dw_oi;
    at::Tensor dbias;
    if (context->needs_input_grad(0)) {
      dx = at::empty(with_width(gradients[0], w_oi.size(1)), gradients[0].options());
      multiply(dy_ro, w_oi.to(x_ri.scalar_type()), 0, dx.view(x_ri.sizes()));
    }
    if (context->needs_input_grad(1)) {
      dw_oi = at::empty_like(w_oi);
      multiply(dy_ro.t(), x_ri, 0, dw_oi);
    }
    if (context->saved_data["biased"].toBool() && context->needs_input_grad(2)) {
      dbias = dy_ro.sum(0, false, at::kFloat);
    }
    return {dx, dw_oi, dbias, at::Tensor()};
  }
};

}  // namespace

at::Tensor linear_half(const at::Tensor& x, const at::Tensor& w,
                       const std::optional<at::Tensor>& bias, at::ScalarType type) {
  const auto bias_input = bias ? c10::optional<at::Tensor>(*bias) : c10::nullopt;
  return HalfLinear::apply(x, w, bias_input, type);
}

}  // namespace pg::ops::cuda
