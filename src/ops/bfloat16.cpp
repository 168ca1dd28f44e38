#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/bfloat16.cpp"
#include <hwy/foreach_target.h>  // must come first: includes this file once per instruction set
// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on

#include <fmt/format.h>

#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "ops/bfloat16.hpp"
#include "ops/sgemm.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

void narrow(const float* from, std::int64_t n, std::uint16_t* to) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count)
                         HWY_ATTR { store(load(from + i, count), to + i, count); });
}

void widen(const std::uint16_t* from, std::int64_t n, float* to) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count)
                         HWY_ATTR { store(load(from + i, count), to + i, count); });
}

void scale_and_round(float factor, std::int64_t n, float* values) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    HWY_ALIGN std::uint16_t rounded[hn::MaxLanes(Floats())];
    store(hn::Mul(load(values + i, count), set(factor)), rounded, count);
    store(load(rounded, count), values + i, count);
  });
}

/// Adds n rows of `width` to `sum`, one after the other.
void add_bfloat16_rows(const std::uint16_t* rows, std::int64_t stride, std::int64_t n,
                       std::int64_t width, float* sum) {
  for (std::int64_t i = 0; i < n; ++i, rows += stride) {
    for_each_vector(width, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
      store(hn::Add(load(sum + j, count), load(rows + j, count)), sum + j, count);
    });
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pg::ops {
namespace {

HWY_EXPORT(narrow);
HWY_EXPORT(widen);
HWY_EXPORT(scale_and_round);
HWY_EXPORT(add_bfloat16_rows);

using Type = dnnl::memory::data_type;

dnnl::memory::desc description(const at::Tensor& matrix) {
  const Type type = matrix.scalar_type() == at::kFloat ? Type::f32 : Type::bf16;
  return {matrix.sizes().vec(), type, matrix.strides().vec()};
}

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// What a compiled product is for: sizes, which factors are transposed, what is done beside.
using Shape = std::array<std::int64_t, 11>;

dnnl::matmul compile(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                     const dnnl::memory::desc& bias, const dnnl::memory::desc& c, bool adds) {
  dnnl::primitive_attr attributes;
  if (adds) {
    dnnl::post_ops sum;
    sum.append_sum(1);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul({engine(), a, b, bias, c, attributes});
#else
  return dnnl::matmul({dnnl::matmul::desc(a, b, bias, c), attributes, engine()});
#endif
}

void multiply(const at::Tensor& a_mk, const at::Tensor& b_kn, const at::Tensor& bias_n,
              const at::Tensor& c_mn, bool adds) {
  if (c_mn.numel() == 0) return;
  if (a_mk.size(1) == 0) {
    require(!bias_n.defined(), "no bias on a sum of nothing");
    if (!adds) c_mn.zero_();
    return;
  }
  const OneThread one_thread;
  const auto a = description(a_mk);
  const auto b = description(b_kn);
  const auto c = description(c_mn);
  const auto bias = bias_n.defined() ? description(bias_n.unsqueeze(0)) : dnnl::memory::desc();
  const Shape shape = {a_mk.size(0),   a_mk.size(1),    b_kn.size(1),
                       a_mk.stride(0), a_mk.stride(1),  b_kn.stride(0),
                       b_kn.stride(1), c_mn.stride(0),  c_mn.scalar_type() == at::kFloat,
                       adds,           bias_n.defined()};
  // Shorter than asking oneDNN's own store of compiled kernels, which matters for small products.
  constexpr std::size_t kMost = 512;
  thread_local std::map<Shape, dnnl::matmul> products;
  thread_local dnnl::stream stream(engine());
  try {
    auto found = products.find(shape);
    if (found == products.end()) {
      if (products.size() == kMost) products.clear();
      found = products.emplace(shape, compile(a, b, bias, c, adds)).first;
    }
    const auto memory = [](const dnnl::memory::desc& what, const at::Tensor& tensor) {
      return dnnl::memory(what, engine(), tensor.data_ptr());
    };
    std::unordered_map<int, dnnl::memory> arguments = {{DNNL_ARG_SRC, memory(a, a_mk)},
                                                       {DNNL_ARG_WEIGHTS, memory(b, b_kn)},
                                                       {DNNL_ARG_DST, memory(c, c_mn)}};
    if (bias_n.defined()) arguments.emplace(DNNL_ARG_BIAS, memory(bias, bias_n));
    found->second.execute(stream, arguments);
    stream.wait();
  } catch (const dnnl::error& e) {
    throw InternalError(
        {fmt::format("oneDNN refused a bfloat16 product, (m, k, n) = ({}, {}, {}): {} "
                     "(its status {})",
                     a_mk.size(0), a_mk.size(1), b_kn.size(1), e.what(),
                     static_cast<int>(e.status)),
         "bfloat16 matrices (m, k) and (k, n)",
         "train.precision: float32, or another build of oneDNN"});
  }
}

}  // namespace

const char* bfloat16_instructions() {
  static const auto isa = dnnl::get_effective_cpu_isa();
  const auto has = [&](dnnl::cpu_isa least) {
    return (static_cast<int>(isa) & static_cast<int>(least)) == static_cast<int>(least);
  };
  if (has(dnnl::cpu_isa::avx512_core_amx)) return "AMX_BF16";
  return has(dnnl::cpu_isa::avx512_core_bf16) ? "AVX512_BF16" : nullptr;
}

at::Tensor to_bfloat16(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) return x;
  at::Tensor narrowed = at::empty(x.sizes(), x.options().dtype(at::kBFloat16));
  HWY_DYNAMIC_DISPATCH(narrow)(x.data_ptr<float>(), x.numel(), bits(narrowed));
  return narrowed;
}

at::Tensor to_bfloat16_rows(const at::Tensor& x) {
  const auto whole = (x.size(0) + kBFloat16Rows - 1) / kBFloat16Rows * kBFloat16Rows;
  at::Tensor narrowed = at::empty({whole, x.size(1)}, x.options().dtype(at::kBFloat16));
  HWY_DYNAMIC_DISPATCH(narrow)(x.data_ptr<float>(), x.numel(), bits(narrowed));
  std::fill_n(bits(narrowed) + x.numel(), narrowed.numel() - x.numel(), std::uint16_t{0});
  return narrowed;
}

at::Tensor to_float(const at::Tensor& x, std::int64_t rows) {
  at::Tensor widened = at::empty({rows, x.size(1)}, x.options().dtype(at::kFloat));
  HWY_DYNAMIC_DISPATCH(widen)(bits(x), widened.numel(), widened.data_ptr<float>());
  return widened;
}

void round_to_bfloat16(const at::Tensor& x, float factor) {
  HWY_DYNAMIC_DISPATCH(scale_and_round)(factor, x.numel(), x.data_ptr<float>());
}

at::Tensor sum_of_bfloat16_rows(const at::Tensor& rows) {
  constexpr std::int64_t kRows = 64;  // blocks in float, their sum in double
  const auto width = rows.size(1);
  std::vector<float> block(static_cast<std::size_t>(width));
  std::vector<double> total(block.size(), 0.0);
  for (std::int64_t first = 0; first < rows.size(0); first += kRows) {
    std::fill(block.begin(), block.end(), 0.0F);
    HWY_DYNAMIC_DISPATCH(add_bfloat16_rows)
    (bits(rows) + first * rows.stride(0), rows.stride(0), std::min(kRows, rows.size(0) - first),
     width, block.data());
    for (std::size_t i = 0; i < block.size(); ++i) total[i] += static_cast<double>(block[i]);
  }
  at::Tensor sum = at::empty({width}, rows.options().dtype(at::kFloat));
  auto* sums = sum.data_ptr<float>();
  for (std::size_t i = 0; i < total.size(); ++i) sums[i] = static_cast<float>(total[i]);
  return sum;
}

void multiply_bfloat16(const at::Tensor& a_mk, const at::Tensor& b_kn, const at::Tensor& bias_n,
                       const at::Tensor& c_mn) {
  multiply(a_mk, b_kn, bias_n, c_mn, /*adds=*/false);
}

void add_product_bfloat16(const at::Tensor& a_mk, const at::Tensor& b_kn, const at::Tensor& c_mn) {
  multiply(a_mk, b_kn, {}, c_mn, /*adds=*/true);
}

}  // namespace pg::ops
#endif  // HWY_ONCE
