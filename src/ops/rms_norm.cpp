#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/rms_norm.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/fast.hpp"
#include "ops/functions.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// y = x * r * scale by rows of d; r_n keeps r = 1 / sqrt(mean(x^2) + eps) of each row.
void rms_norm_forward(const float* x, const float* scale, double eps, std::int64_t n,
                      std::int64_t d, float* y, float* r_n) {
  for (std::int64_t row = 0; row < n; ++row, x += d, y += d) {
    Vec squares = set(0.0F);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec value = load(x + i, count);
      squares = hn::MulAdd(value, value, squares);
    });
    const double mean = static_cast<double>(sum_lanes(squares)) / static_cast<double>(d);
    r_n[row] = static_cast<float>(1.0 / std::sqrt(mean + eps));
    const Vec r = set(r_n[row]);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      store(hn::Mul(hn::Mul(load(x + i, count), r), load(scale + i, count)), y + i, count);
    });
  }
}

/// With u = dy * scale: dx = r (u - x r^2 mean(u x)). Adds dy x r into dscale (d), row by row.
void rms_norm_backward(const float* x, const float* scale, const float* r_n, const float* dy,
                       std::int64_t n, std::int64_t d, float* dx, float* dscale) {
  for (std::int64_t row = 0; row < n; ++row, x += d, dy += d, dx += d) {
    const Vec r = set(r_n[row]);
    Vec products = set(0.0F);
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec dy_x = hn::Mul(load(dy + i, count), load(x + i, count));
      products = hn::MulAdd(dy_x, load(scale + i, count), products);
      store(hn::MulAdd(dy_x, r, load(dscale + i, count)), dscale + i, count);
    });
    const Vec pull = set(sum_lanes(products) * r_n[row] * r_n[row] / static_cast<float>(d));
    for_each_vector(d, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      const Vec u = hn::Mul(load(dy + i, count), load(scale + i, count));
      store(hn::Mul(r, hn::NegMulAdd(load(x + i, count), pull, u)), dx + i, count);
    });
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops::fast {
namespace {

HWY_EXPORT(rms_norm_forward);
HWY_EXPORT(rms_norm_backward);

struct RmsNormKernels {
  static void rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps, at::Tensor& y,
                       at::Tensor& r_n) {
    HWY_DYNAMIC_DISPATCH(rms_norm_forward)
    (x.data_ptr<float>(), scale.data_ptr<float>(), eps, r_n.size(0), scale.size(0),
     y.data_ptr<float>(), r_n.data_ptr<float>());
  }

  static void rms_norm_gradient(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& r_n,
                                const at::Tensor& dy, at::Tensor& dx, at::Tensor& dscale) {
    const auto d = scale.size(0);
    const auto n = r_n.size(0);
    // Blocks of rows in float, their sum in double: the error must not grow with the batch.
    constexpr std::int64_t kRows = 64;
    std::vector<float> block(static_cast<std::size_t>(d));
    std::vector<double> total(static_cast<std::size_t>(d), 0.0);
    for (std::int64_t row = 0; row < n; row += kRows) {
      const auto offset = row * d;
      std::fill(block.begin(), block.end(), 0.0F);
      HWY_DYNAMIC_DISPATCH(rms_norm_backward)
      (x.data_ptr<float>() + offset, scale.data_ptr<float>(), r_n.data_ptr<float>() + row,
       dy.data_ptr<float>() + offset, std::min(kRows, n - row), d, dx.data_ptr<float>() + offset,
       block.data());
      for (std::size_t i = 0; i < block.size(); ++i) total[i] += static_cast<double>(block[i]);
    }
    std::transform(total.begin(), total.end(), dscale.data_ptr<float>(),
                   [](double sum) { return static_cast<float>(sum); });
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  return RmsNormFunction<RmsNormKernels>::apply(x, scale, eps);
}

}  // namespace pg::ops::fast
#endif  // HWY_ONCE
