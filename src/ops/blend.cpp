#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/blend.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <numeric>

#include "ops/autograd.hpp"
#include "ops/fast.hpp"

#ifndef PG_OPS_BLEND_
#define PG_OPS_BLEND_
namespace pg::ops {

/// Rows of `width`; alpha of row i at alpha[i * alpha_step]. Without b it is 1.
struct BlendShape {
  std::int64_t rows, width, alpha_step;
};

struct BlendInputs {
  const float* x;
  const float* g;
  const float* b;  ///< or null
  const float* alpha;
};

struct BlendGradients {
  float* dx;
  float* dg;
  float* db;            ///< or null
  double* dalpha_rows;  ///< of each row
};

}  // namespace pg::ops
#endif

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

void blend(const BlendShape& shape, BlendInputs in, float* y) {
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const float a = in.alpha[row * shape.alpha_step];
    const std::int64_t first = row * shape.width;
    for_each_vector(shape.width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      const std::int64_t i = first + j;
      const Vec b = in.b == nullptr ? set(1.0F) : load(in.b + i, count);
      const Vec mixed = hn::MulAdd(set(a), load(in.g + i, count), hn::Mul(set(1.0F - a), b));
      store(hn::Mul(load(in.x + i, count), mixed), y + i, count);
    });
  }
}

void blend_backward(const BlendShape& shape, BlendInputs in, const float* dy, BlendGradients out) {
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const float a = in.alpha[row * shape.alpha_step];
    const std::int64_t first = row * shape.width;
    Vec dalpha = set(0.0F);
    for_each_vector(shape.width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      const std::int64_t i = first + j;
      const Vec g = load(in.g + i, count);
      const Vec b = in.b == nullptr ? set(1.0F) : load(in.b + i, count);
      const Vec dy_i = load(dy + i, count);  // zeros behind the row
      const Vec dy_x = hn::Mul(dy_i, load(in.x + i, count));
      store(hn::Mul(dy_i, hn::MulAdd(set(a), g, hn::Mul(set(1.0F - a), b))), out.dx + i, count);
      store(hn::Mul(dy_x, set(a)), out.dg + i, count);
      if (out.db != nullptr) store(hn::Mul(dy_x, set(1.0F - a)), out.db + i, count);
      dalpha = hn::MulAdd(dy_x, hn::Sub(g, b), dalpha);
    });
    out.dalpha_rows[row] = static_cast<double>(sum_lanes(dalpha));
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(blend);
HWY_EXPORT(blend_backward);

BlendShape shape_of(const at::Tensor& x, const at::Tensor& alpha) {
  const std::int64_t width = x.dim() == 0 ? 1 : x.size(-1);
  return {width == 0 ? 0 : x.numel() / width, width, alpha.numel() == 1 ? 0 : 1};
}

BlendInputs inputs_of(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                      const at::Tensor& alpha) {
  return {x.data_ptr<float>(), g.data_ptr<float>(), b.defined() ? b.data_ptr<float>() : nullptr,
          alpha.data_ptr<float>()};
}

struct BlendFunction : torch::autograd::Function<BlendFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input, const at::Tensor& g_input,
                            const c10::optional<at::Tensor>& b_input,
                            const at::Tensor& alpha_input) {
    const at::Tensor x = x_input.contiguous();
    const at::Tensor g = g_input.contiguous();
    const at::Tensor b = b_input ? b_input->contiguous() : at::Tensor();
    const at::Tensor alpha = alpha_input.contiguous();
    context->save_for_backward({x, g, b, alpha});
    at::Tensor y = at::empty(x.sizes(), x.options());
    HWY_DYNAMIC_DISPATCH(blend)
    (shape_of(x, alpha), inputs_of(x, g, b, alpha), y.data_ptr<float>());
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& b = saved[2];
    const at::Tensor& alpha = saved[3];
    const at::Tensor dy = gradients[0].contiguous();
    const BlendShape shape = shape_of(x, alpha);
    const at::Tensor dx = at::empty_like(x);
    const at::Tensor dg = at::empty_like(x);
    const at::Tensor db = b.defined() ? at::empty_like(x) : at::Tensor();
    const at::Tensor rows = at::empty({shape.rows}, at::kDouble);
    HWY_DYNAMIC_DISPATCH(blend_backward)
    (shape, inputs_of(x, saved[1], b, alpha), dy.data_ptr<float>(),
     {dx.data_ptr<float>(), dg.data_ptr<float>(), b.defined() ? db.data_ptr<float>() : nullptr,
      rows.data_ptr<double>()});
    at::Tensor dalpha;
    if (context->needs_input_grad(b.defined() ? 3 : 2)) {
      // Of a single alpha the sum over the rows, in their order.
      const double* const each = rows.data_ptr<double>();
      dalpha = shape.alpha_step == 0
                   ? at::full(alpha.sizes(), std::accumulate(each, each + shape.rows, 0.0),
                              alpha.options())
                   : rows.to(at::kFloat).view(alpha.sizes());
    }
    return {dx, dg, db, dalpha};
  }
};

}  // namespace

at::Tensor blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                 const at::Tensor& alpha) {
  return BlendFunction::apply(x, g, b.defined() ? c10::optional<at::Tensor>(b) : c10::nullopt,
                              alpha);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
