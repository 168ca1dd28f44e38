// Stands in for the attention kernels that LibTorch has on GPUs alone, so that what leads to them
// and back runs here. Refuses what they refuse: types, alignment, heads, a bias.
#include "ops/cuda/library_attention.hpp"

#ifdef PG_LIBRARY_ATTENTION
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <limits>
#include <tuple>

#include "ops/cuda_on_host/library_attention.hpp"

namespace pg::testing {

LibraryCalls& library_calls() {
  static LibraryCalls calls;
  return calls;
}

namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

/// In units of the 16 bytes that the kernels move at once.
void require_aligned(const Tensor& x) {
  const auto lanes = 16 / x.element_size();
  BOOST_TEST(x.dim() == 4);
  BOOST_TEST(x.stride(3) == 1);
  for (std::int64_t i = 0; i < 3; ++i) BOOST_TEST((x.size(i) == 1 || x.stride(i) % lanes == 0));
  BOOST_TEST(x.storage_offset() % lanes == 0);
}

void require_inputs(const Tensor& q, const Tensor& k, const Tensor& v) {
  for (const Tensor& x : {q, k, v}) {
    require_aligned(x);
    BOOST_TEST(x.size(3) % (16 / x.element_size()) == 0);
    BOOST_TEST((x.scalar_type() == q.scalar_type()));
  }
  BOOST_TEST(at::globalContext().deterministicAlgorithms());
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, bool causal,
              double scale) {
  const auto heads = q.size(1) / k.size(1);
  const auto all = [&](const Tensor& x) { return x.to(at::kDouble).repeat_interleave(heads, 1); };
  Tensor scores = at::matmul(q.to(at::kDouble), all(k).transpose(2, 3)) * scale;
  if (bias.defined()) scores = scores + bias.to(at::kDouble);
  if (causal) {
    const Tensor future = at::ones({q.size(2), k.size(2)}, q.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
  }
  return at::matmul(at::softmax(scores, -1), all(v)).to(q.scalar_type());
}

/// Gradients of q, k, v and, where it is defined, of the bias.
std::array<Tensor, 4> attend_backward(const Tensor& dout, const std::array<Tensor, 4>& inputs,
                                      bool causal, double scale) {
  const at::AutoGradMode with_graph(true);
  std::array<Tensor, 4> leaves;
  std::vector<Tensor> wanted;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!inputs[i].defined()) continue;
    leaves[i] = inputs[i].detach().to(at::kDouble).clone().requires_grad_();
    wanted.push_back(leaves[i]);
  }
  const Tensor out = attend(leaves[0], leaves[1], leaves[2], leaves[3], causal, scale);
  const auto gradients = torch::autograd::grad({out}, wanted, {dout.to(at::kDouble)});
  std::array<Tensor, 4> result;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    result[i] = gradients[i].to(inputs[0].scalar_type());
  }
  return result;
}

std::int64_t fused_sdp_choice(const Tensor& q, const Tensor& /*k*/, const Tensor& /*v*/,
                              const OptionalTensor& bias, double dropout, bool /*causal*/,
                              std::optional<double> /*scale*/, bool grouped) {
  BOOST_TEST(dropout == 0);
  const bool half = q.element_size() == 2;
  if (half && !bias) return static_cast<std::int64_t>(at::SDPBackend::flash_attention);
  if (grouped) return static_cast<std::int64_t>(at::SDPBackend::math);
  return static_cast<std::int64_t>(at::SDPBackend::efficient_attention);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor> flash(
    const Tensor& q, const Tensor& k, const Tensor& v, double /*dropout*/, bool causal,
    bool /*return_debug_mask*/, std::optional<double> scale) {
  require_inputs(q, k, v);
  BOOST_TEST(q.element_size() == 2);
  ++library_calls().flash;
  return {attend(q, k, v, {}, causal, *scale),
          at::zeros({1}),
          Tensor(),
          Tensor(),
          0,
          0,
          Tensor(),
          Tensor(),
          Tensor()};
}

std::tuple<Tensor, Tensor, Tensor> flash_backward(
    const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
    const Tensor& statistics, const Tensor& /*sequences_q*/, const Tensor& /*sequences_k*/,
    const c10::SymInt& t, const c10::SymInt& u, double /*dropout*/, bool causal,
    const Tensor& /*seed*/, const Tensor& /*offset*/, std::optional<double> scale) {
  require_inputs(q, k, v);
  BOOST_TEST(out.equal(attend(q, k, v, {}, causal, *scale)));
  BOOST_TEST(statistics.numel() == 1);
  BOOST_TEST(t.expect_int() == q.size(2));
  BOOST_TEST(u.expect_int() == k.size(2));
  const auto result = attend_backward(dout, {q, k, v, Tensor()}, causal, *scale);
  return {result[0], result[1], result[2]};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient(const Tensor& q, const Tensor& k,
                                                     const Tensor& v, const OptionalTensor& bias,
                                                     bool with_statistics, double /*dropout*/,
                                                     bool causal, std::optional<double> scale) {
  require_inputs(q, k, v);
  BOOST_TEST(k.size(1) == q.size(1));
  BOOST_TEST(with_statistics);
  if (bias) {
    require_aligned(*bias);
    BOOST_TEST(!causal);
    BOOST_TEST((bias->sizes() == at::IntArrayRef({q.size(0), q.size(1), q.size(2), k.size(2)})));
  }
  ++library_calls().efficient;
  return {attend(q, k, v, bias.value_or(Tensor()), causal, *scale), at::zeros({1}), at::zeros({2}),
          at::zeros({3})};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_backward(
    const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
    const Tensor& out, const Tensor& statistics, const Tensor& seed, const Tensor& offset,
    double /*dropout*/, std::array<bool, 4> wanted, bool causal, std::optional<double> scale) {
  require_inputs(q, k, v);
  BOOST_TEST(out.equal(attend(q, k, v, bias, causal, *scale)));
  BOOST_TEST((statistics.numel() == 1 && seed.numel() == 2 && offset.numel() == 3));
  BOOST_TEST(wanted[3] == bias.defined());
  const auto result = attend_backward(dout, {q, k, v, bias}, causal, *scale);
  return {result[0], result[1], result[2], result[3]};
}

TORCH_LIBRARY_IMPL(aten, CPU, library) {
  library.impl("_fused_sdp_choice", TORCH_FN(fused_sdp_choice));
  library.impl("_scaled_dot_product_flash_attention", TORCH_FN(flash));
  library.impl("_scaled_dot_product_flash_attention_backward", TORCH_FN(flash_backward));
  library.impl("_scaled_dot_product_efficient_attention", TORCH_FN(efficient));
  library.impl("_scaled_dot_product_efficient_attention_backward", TORCH_FN(efficient_backward));
}

}  // namespace
}  // namespace pg::testing

#endif
