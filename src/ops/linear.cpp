#include "ops/autograd.hpp"
#include "ops/fast.hpp"
#include "ops/sgemm.hpp"

namespace pg::ops::fast {
namespace {

/// Rows of x when its last axis is the row.
std::int64_t row_count(const at::Tensor& x, std::int64_t width) {
  return width == 0 ? 0 : x.numel() / width;
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input,
                            const at::Tensor& w_input) {
    const at::Tensor x = x_input.contiguous();
    const at::Tensor w = w_input.contiguous();
    const auto n_out = w.size(0);
    const auto n_in = w.size(1);
    auto sizes = x.sizes().vec();
    sizes.back() = n_out;
    at::Tensor y = n_in == 0 ? at::zeros(sizes, x.options()) : at::empty(sizes, x.options());
    const MatrixView w_view{w.data_ptr<float>(), n_in};
    multiply(row_count(x, n_in), n_out, n_in, 1, {x.data_ptr<float>(), n_in}, w_view.transpose(), 0,
             {y.data_ptr<float>(), n_out});
    context->save_for_backward({x, w});
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& w = saved[1];
    const auto n_out = w.size(0);
    const auto n_in = w.size(1);
    const auto rows = row_count(x, n_in);
    const at::Tensor dy = gradients[0].contiguous();
    const MatrixView dy_view{dy.data_ptr<float>(), n_out};
    at::Tensor dx;
    at::Tensor dw;
    if (context->needs_input_grad(0)) {
      dx = at::empty_like(x);
      multiply(rows, n_in, n_out, 1, dy_view, {w.data_ptr<float>(), n_in}, 0,
               {dx.data_ptr<float>(), n_in});
    }
    if (context->needs_input_grad(1)) {
      dw = at::empty_like(w);
      multiply(n_out, n_in, rows, 1, dy_view.transpose(), {x.data_ptr<float>(), n_in}, 0,
               {dw.data_ptr<float>(), n_in});
    }
    return {dx, dw};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w) {
  return LinearFunction::apply(x, w);
}

}  // namespace pg::ops::fast
