// Stands in for the attention kernels that LibTorch has on GPUs alone, so that what leads to them
// and back runs here. Refuses what they refuse: types, alignment, heads, a bias.
#include "ops/cuda/library_attention.hpp"

#ifdef PG_LIBRARY_ATTENTION
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
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

/// In double, each head of k and v once for every head of q.
struct Scores {
  Tensor q, k, v, p;  ///< p is the softmax

  Scores(const Tensor& q_bhtk, const Tensor& k_bhuk, const Tensor& v_bhuk, const Tensor& bias,
         bool causal, double scale)
      : q(q_bhtk.to(at::kDouble)) {
    const auto group = q.size(1) / k_bhuk.size(1);
    k = k_bhuk.to(at::kDouble).repeat_interleave(group, 1);
    v = v_bhuk.to(at::kDouble).repeat_interleave(group, 1);
    Tensor scores = at::matmul(q, k.transpose(2, 3)) * scale;
    if (bias.defined()) scores = scores + bias.to(at::kDouble);
    if (causal) {
      const Tensor future = at::ones({q.size(2), k.size(2)}, at::kBool).triu(1);
      scores = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
    }
    p = at::softmax(scores, -1);
  }
};

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, bool causal,
              double scale) {
  const Scores s(q, k, v, bias, causal, scale);
  return at::matmul(s.p, s.v).to(q.scalar_type());
}

/// Gradients of q, k, v and the bias: by hand, because autograd is out of reach inside of a kernel.
std::array<Tensor, 4> attend_backward(const Tensor& dout_half, const Tensor& q, const Tensor& k,
                                      const Tensor& v, const Tensor& bias, bool causal,
                                      double scale) {
  const Scores s(q, k, v, bias, causal, scale);
  const Tensor dout = dout_half.to(at::kDouble);
  const Tensor dp = at::matmul(dout, s.v.transpose(2, 3));
  const Tensor ds = s.p * (dp - (s.p * dp).sum(-1, true));
  const auto of_group = [&](const Tensor& x, const Tensor& like) {
    return x.view({like.size(0), like.size(1), -1, like.size(2), like.size(3)})
        .sum(2)
        .to(like.scalar_type());
  };
  return {(at::matmul(ds, s.k) * scale).to(q.scalar_type()),
          of_group(at::matmul(ds.transpose(2, 3), s.q) * scale, k),
          of_group(at::matmul(s.p.transpose(2, 3), dout), v),
          bias.defined() ? ds.to(q.scalar_type()) : Tensor()};
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
    std::int64_t t, std::int64_t u, double /*dropout*/, bool causal, const Tensor& /*seed*/,
    const Tensor& /*offset*/, std::optional<double> scale) {
  require_inputs(q, k, v);
  BOOST_TEST(out.equal(attend(q, k, v, {}, causal, *scale)));
  BOOST_TEST(statistics.numel() == 1);
  BOOST_TEST(t == q.size(2));
  BOOST_TEST(u == k.size(2));
  const auto result = attend_backward(dout, q, k, v, Tensor(), causal, *scale);
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
  const auto result = attend_backward(dout, q, k, v, bias, causal, *scale);
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
