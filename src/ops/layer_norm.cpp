#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/layer_norm.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/autograd.hpp"
#include "ops/fast.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// y = (x - mean) * r * scale + bias by rows of d; mean_n and r_n keep the mean and
/// r = 1 / sqrt(var(x) + eps) of each row.
void layer_norm_forward(const float* x, const float* scale, const float* bias, double eps,
                        std::int64_t n, std::int64_t d, float* y, float* mean_n, float* r_n) {
  for (std::int64_t row = 0; row < n; ++row, x += d, y += d) {
    Vec sum = set(0.0F);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count)
                           HWY_ATTR { sum = hn::Add(sum, load(x + i, count)); });
    const float guess = sum_lanes(sum) / static_cast<float>(d);
    // Squares around the guess, not around 0: mean(x^2) - mean^2 would lose the digits of a small
    // variance. What the guess is off by is known then, too.
    Vec rest = set(0.0F);
    Vec squares = set(0.0F);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec centred = hn::Sub(load(x + i, count, guess), set(guess));
      rest = hn::Add(rest, centred);
      squares = hn::MulAdd(centred, centred, squares);
    });
    const double off = static_cast<double>(sum_lanes(rest)) / static_cast<double>(d);
    const double variance =
        static_cast<double>(sum_lanes(squares)) / static_cast<double>(d) - off * off;
    mean_n[row] = static_cast<float>(static_cast<double>(guess) + off);
    r_n[row] = static_cast<float>(1.0 / std::sqrt(std::max(variance, 0.0) + eps));
    const Vec mean = set(mean_n[row]);
    const Vec r = set(r_n[row]);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec normed = hn::Mul(hn::Sub(load(x + i, count), mean), r);
      store(hn::MulAdd(normed, load(scale + i, count), load(bias + i, count)), y + i, count);
    });
  }
}

/// With u = dy * scale and z = (x - mean) r: dx = r (u - mean(u) - z mean(u z)). Adds dy z into
/// dscale (d) and dy into dbias (d), row by row.
void layer_norm_backward(const float* x, const float* scale, const float* mean_n, const float* r_n,
                         const float* dy, std::int64_t n, std::int64_t d, float* dx, float* dscale,
                         float* dbias) {
  const float share = 1.0F / static_cast<float>(d);
  for (std::int64_t row = 0; row < n; ++row, x += d, dy += d, dx += d) {
    const Vec mean = set(mean_n[row]);
    const Vec r = set(r_n[row]);
    Vec sum = set(0.0F);
    Vec products = set(0.0F);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec g = load(dy + i, count);
      const Vec z = hn::Mul(hn::Sub(load(x + i, count), mean), r);
      const Vec u = hn::Mul(g, load(scale + i, count));  // 0 beyond the row, whatever z is there
      sum = hn::Add(sum, u);
      products = hn::MulAdd(u, z, products);
      store(hn::MulAdd(g, z, load(dscale + i, count)), dscale + i, count);
      store(hn::Add(g, load(dbias + i, count)), dbias + i, count);
    });
    const Vec level = set(sum_lanes(sum) * share);
    const Vec pull = set(sum_lanes(products) * share);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec z = hn::Mul(hn::Sub(load(x + i, count), mean), r);
      const Vec u = hn::Mul(load(dy + i, count), load(scale + i, count));
      store(hn::Mul(r, hn::NegMulAdd(z, pull, hn::Sub(u, level))), dx + i, count);
    });
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(layer_norm_forward);
HWY_EXPORT(layer_norm_backward);

struct LayerNormFunction : torch::autograd::Function<LayerNormFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_input,
                            const at::Tensor& scale_input, const at::Tensor& bias_input,
                            double eps) {
    const at::Tensor x = x_input.contiguous();
    const at::Tensor scale = scale_input.contiguous();
    const at::Tensor bias = bias_input.contiguous();
    const auto d = scale.size(0);
    const auto n = d == 0 ? 0 : x.numel() / d;
    at::Tensor y = at::empty_like(x);
    at::Tensor mean_n = at::empty({n}, x.options());
    at::Tensor r_n = at::empty({n}, x.options());
    HWY_DYNAMIC_DISPATCH(layer_norm_forward)
    (x.data_ptr<float>(), scale.data_ptr<float>(), bias.data_ptr<float>(), eps, n, d,
     y.data_ptr<float>(), mean_n.data_ptr<float>(), r_n.data_ptr<float>());
    context->save_for_backward({x, scale, mean_n, r_n});
    return y;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& scale = saved[1];
    const auto d = scale.size(0);
    const auto n = saved[2].size(0);
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dx = at::empty_like(x);
    at::Tensor dscale = at::empty_like(scale);
    at::Tensor dbias = at::empty_like(scale);
    // Blocks of rows in float, their sum in double: the error must not grow with the batch.
    constexpr std::int64_t kRows = 64;
    const auto width = static_cast<std::size_t>(d);
    std::vector<float> block(2 * width);
    std::vector<double> total(2 * width, 0.0);
    for (std::int64_t row = 0; row < n; row += kRows) {
      const auto offset = row * d;
      std::fill(block.begin(), block.end(), 0.0F);
      HWY_DYNAMIC_DISPATCH(layer_norm_backward)
      (x.data_ptr<float>() + offset, scale.data_ptr<float>(), saved[2].data_ptr<float>() + row,
       saved[3].data_ptr<float>() + row, dy.data_ptr<float>() + offset, std::min(kRows, n - row), d,
       dx.data_ptr<float>() + offset, block.data(), block.data() + width);
      for (std::size_t i = 0; i < block.size(); ++i) total[i] += static_cast<double>(block[i]);
    }
    for (std::size_t i = 0; i < width; ++i) {
      dscale.data_ptr<float>()[i] = static_cast<float>(total[i]);
      dbias.data_ptr<float>()[i] = static_cast<float>(total[width + i]);
    }
    return {dx, dscale, dbias, at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps) {
  return LayerNormFunction::apply(x, scale, bias, eps);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
