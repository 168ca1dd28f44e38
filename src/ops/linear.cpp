#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/linear.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <vector>

#include "ops/autograd.hpp"
#include "ops/bfloat16.hpp"
#include "ops/fast.hpp"
#include "ops/rows.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// Adds the row (width) to each of n rows.
void add_row(const float* row, std::int64_t n, std::int64_t width, float* rows,
             std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i, rows += stride) {
    for_each_vector(width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      store(hn::Add(load(rows + j, count), load(row + j, count)), rows + j, count);
    });
  }
}

/// Adds n rows of `width` to `sum`, one after the other.
void add_rows(const float* rows, std::int64_t stride, std::int64_t n, std::int64_t width,
              float* sum) {
  for (std::int64_t i = 0; i < n; ++i, rows += stride) {
    for_each_vector(width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      store(hn::Add(load(sum + j, count), load(rows + j, count)), sum + j, count);
    });
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {

HWY_EXPORT(add_row);
HWY_EXPORT(add_rows);

at::Tensor as_rows(const at::Tensor& x) {
  const auto rows =
      c10::multiply_integers(x.sizes().slice(0, static_cast<std::size_t>(x.dim()) - 1));
  return x.contiguous().view({rows, x.size(-1)});
}

std::vector<std::int64_t> with_width(const at::Tensor& like, std::int64_t width) {
  auto sizes = like.sizes().slice(0, static_cast<std::size_t>(like.dim()) - 1).vec();
  sizes.push_back(width);
  return sizes;
}

// oneDNN takes other kernels, which round differently, for few rows and for what is left over from
// its groups of rows (of 6 with AVX2), and a sequence's result would depend on whether others are
// in the batch. Products of whole groups of kRowGroup rows do not: a multiple of 6 and 8, not few.
void multiply_rows(const at::Tensor& a_rk, const MatrixView& b, const at::Tensor& c) {
  const auto rows = a_rk.size(0);
  const auto k = a_rk.size(1);
  const auto n_columns = c.size(1);
  const auto whole = rows / kRowGroup * kRowGroup;
  multiply(whole, n_columns, k, view(a_rk), b, 0, {c.data_ptr<float>(), c.stride(0)});
  if (whole < rows) {
    const at::Tensor rest_a = at::zeros({kRowGroup, k}, a_rk.options());
    const at::Tensor rest_c = at::empty({kRowGroup, n_columns}, a_rk.options());
    rest_a.narrow(0, 0, rows - whole).copy_(a_rk.narrow(0, whole, rows - whole));
    multiply(kRowGroup, n_columns, k, view(rest_a), b, 0, {rest_c.data_ptr<float>(), n_columns});
    c.narrow(0, whole, rows - whole).copy_(rest_c.narrow(0, 0, rows - whole));
  }
}

at::Tensor rows_times(const at::Tensor& a_rk, const MatrixView& b, std::int64_t n_columns) {
  at::Tensor c = at::empty({a_rk.size(0), n_columns}, a_rk.options());
  multiply_rows(a_rk, b, c);
  return c;
}

void add_to_rows(const at::Tensor& row, const at::Tensor& rows) {
  HWY_DYNAMIC_DISPATCH(add_row)
  (row.data_ptr<float>(), rows.size(0), rows.size(1), rows.data_ptr<float>(), rows.stride(0));
}

at::Tensor sum_of_rows(const at::Tensor& rows) {
  constexpr std::int64_t kRows = 64;
  const auto width = rows.size(1);
  std::vector<float> block(static_cast<std::size_t>(width));
  std::vector<double> total(block.size(), 0.0);
  for (std::int64_t first = 0; first < rows.size(0); first += kRows) {
    std::fill(block.begin(), block.end(), 0.0F);
    HWY_DYNAMIC_DISPATCH(add_rows)
    (rows.data_ptr<float>() + first * rows.stride(0), rows.stride(0),
     std::min(kRows, rows.size(0) - first), width, block.data());
    for (std::size_t i = 0; i < block.size(); ++i) total[i] += static_cast<double>(block[i]);
  }
  at::Tensor sum = at::empty({width}, rows.options());
  auto* sums = sum.data_ptr<float>();
  for (std::size_t i = 0; i < total.size(); ++i) sums[i] = static_cast<float>(total[i]);
  return sum;
}

namespace {

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input, const at::Tensor& w_input,
                            const c10::optional<at::Tensor>& bias) {
    const at::Tensor x_ri = as_rows(x_input);
    const at::Tensor w_oi = w_input.contiguous();
    context->save_for_backward({x_ri, w_oi});
    const at::Tensor y_ro = rows_times(x_ri, view(w_oi).transpose(), w_oi.size(0));
    context->saved_data["biased"] = bias.has_value();
    if (bias) add_to_rows(bias->contiguous(), y_ro);
    return y_ro.view(with_width(x_input, w_oi.size(0)));
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
      dx = rows_times(dy_ro, view(w_oi), w_oi.size(1)).view(with_width(gradients[0], w_oi.size(1)));
    }
    if (context->needs_input_grad(1)) {
      dw_oi = at::empty_like(w_oi);
      multiply(w_oi.size(0), w_oi.size(1), x_ri.size(0), view(dy_ro).transpose(), view(x_ri), 0,
               {dw_oi.data_ptr<float>(), w_oi.size(1)});
    }
    at::Tensor dbias;
    if (context->saved_data["biased"].toBool() && context->needs_input_grad(2)) {
      dbias = sum_of_rows(dy_ro);
    }
    return {dx, dw_oi, dbias};
  }
};

/// The product a b of bfloat16 matrices in a new matrix of float32 or bfloat16.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                   at::ScalarType type) {
  const at::Tensor c = at::empty({a.size(0), b.size(1)}, a.options().dtype(type));
  multiply_bfloat16(a, b, bias, c);
  return c;
}

/// Keeps x in bfloat16, half its memory, but the weights as they are given: a rounded copy of each
/// would live until the backward pass. Whole groups of rows are computed, the first ones are the
/// result.
struct BFloat16LinearFunction : torch::autograd::Function<BFloat16LinearFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input, const at::Tensor& w_input,
                            const c10::optional<at::Tensor>& bias) {
    const at::Tensor x_float = as_rows(x_input);
    const at::Tensor x_ri = to_bfloat16_rows(x_float);
    const at::Tensor w_oi = w_input.contiguous();
    context->save_for_backward({x_ri, w_oi});
    context->saved_data["biased"] = bias.has_value();
    const at::Tensor y_ro =
        product(x_ri, to_bfloat16(w_oi).t(), bias ? bias->contiguous() : at::Tensor(), at::kFloat);
    return y_ro.narrow(0, 0, x_float.size(0)).view(with_width(x_input, w_oi.size(0)));
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x_ri = saved[0];
    const at::Tensor& w_oi = saved[1];
    const at::Tensor dy_float = as_rows(gradients[0]);
    const at::Tensor dy_ro = to_bfloat16_rows(dy_float);
    at::Tensor dx;
    at::Tensor dw_oi;
    at::Tensor dbias;
    if (context->needs_input_grad(0)) {
      dx = product(dy_ro, to_bfloat16(w_oi), {}, at::kFloat)
               .narrow(0, 0, dy_float.size(0))
               .view(with_width(gradients[0], w_oi.size(1)));
    }
    if (context->needs_input_grad(1)) {
      dw_oi = product(dy_ro.t(), x_ri, {}, at::kBFloat16);
      if (w_oi.scalar_type() == at::kFloat) dw_oi = to_float(dw_oi, w_oi.size(0));
    }
    if (context->saved_data["biased"].toBool() && context->needs_input_grad(2)) {
      dbias = sum_of_bfloat16_rows(dy_ro);
    }
    return {dx, dw_oi, dbias};
  }
};

}  // namespace

at::Tensor linear_bfloat16(const at::Tensor& x, const at::Tensor& w,
                           const std::optional<at::Tensor>& bias) {
  const auto bias_input = bias ? c10::optional<at::Tensor>(*bias) : c10::nullopt;
  return BFloat16LinearFunction::apply(x, w, bias_input);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias) {
  // autograd looks for tensors in its own kind of optional, which is std's in later versions only.
  const auto bias_input = bias ? c10::optional<at::Tensor>(*bias) : c10::nullopt;
  return LinearFunction::apply(x, w, bias_input);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
