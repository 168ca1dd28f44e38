#include "ops/autograd.hpp"
#include "ops/fast.hpp"
#include "ops/sgemm.hpp"

namespace pg::ops::fast {
namespace {

/// Below this many rows oneDNN takes other kernels, which round differently, and a sequence's
/// result would depend on whether others are in the batch.
constexpr std::int64_t kFewestRows = 16;

MatrixView view(const at::Tensor& matrix) {
  return {matrix.data_ptr<float>(), matrix.size(1)};
}

/// (..., width) as a matrix of rows.
at::Tensor as_rows(const at::Tensor& x) {
  const auto rows =
      c10::multiply_integers(x.sizes().slice(0, static_cast<std::size_t>(x.dim()) - 1));
  return x.contiguous().view({rows, x.size(-1)});
}

/// a_rk times b (k, n_columns), each row rounded as if it stood among many.
at::Tensor rows_times(const at::Tensor& a_rk, const MatrixView& b, std::int64_t n_columns) {
  const auto rows = a_rk.size(0);
  if (rows > 0 && rows < kFewestRows) {
    const at::Tensor none = at::zeros({kFewestRows - rows, a_rk.size(1)}, a_rk.options());
    return rows_times(at::cat({a_rk, none}), b, n_columns).narrow(0, 0, rows);
  }
  const at::Tensor c = at::empty({rows, n_columns}, a_rk.options());
  multiply(rows, n_columns, a_rk.size(1), 1, view(a_rk), b, 0, {c.data_ptr<float>(), n_columns});
  return c;
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input,
                            const at::Tensor& w_input) {
    const at::Tensor x_ri = as_rows(x_input);
    const at::Tensor w_oi = w_input.contiguous();
    context->save_for_backward({x_ri, w_oi});
    auto sizes = x_input.sizes().vec();
    sizes.back() = w_oi.size(0);
    return rows_times(x_ri, view(w_oi).transpose(), w_oi.size(0)).view(sizes);
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x_ri = saved[0];
    const at::Tensor& w_oi = saved[1];
    const at::Tensor dy_ro = as_rows(gradients[0]);
    at::Tensor dx;
    at::Tensor dw_oi;
    if (context->needs_input_grad(0)) {
      auto sizes = gradients[0].sizes().vec();
      sizes.back() = w_oi.size(1);
      dx = rows_times(dy_ro, view(w_oi), w_oi.size(1)).view(sizes);
    }
    if (context->needs_input_grad(1)) {
      dw_oi = at::empty_like(w_oi);
      multiply(w_oi.size(0), w_oi.size(1), x_ri.size(0), 1, view(dy_ro).transpose(), view(x_ri), 0,
               {dw_oi.data_ptr<float>(), w_oi.size(1)});
    }
    return {dx, dw_oi};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w) {
  return LinearFunction::apply(x, w);
}

}  // namespace pg::ops::fast
