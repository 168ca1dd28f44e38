// Every operator on a GPU against the reference in double precision on the CPU, values and
// gradients, and twice for the same bits. Without a device it says so.
#define BOOST_TEST_MODULE gpu_ops
#include <boost/test/unit_test.hpp>
#include <limits>

#include "ops/fast.hpp"
#include "ops/gpu_cases.hpp"
#include "support/gpu.hpp"

using namespace pg;
using namespace pg::testing;

namespace {

/// k and v apart, as the cases have them.
at::Tensor attention_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const ops::AttentionSpec& spec) {
  return ops::attention(q, at::cat({k, v}, 2), spec);
}

struct OnGpu {
  static at::Tensor gate(const at::Tensor& h, const ops::GateSpec& spec) {
    return ops::gate(h, spec);
  }
  static at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const ops::GateSpec& spec) {
    return ops::gate(x, h, spec);
  }
  static constexpr auto rms_norm = &ops::rms_norm;
  static constexpr auto layer_norm = &ops::layer_norm;
  static constexpr auto dropout = &ops::dropout;
  static constexpr auto cross_entropy_sum = &ops::cross_entropy_sum;
  static constexpr auto resolvent = &ops::resolvent;
};

/// Where a and b are NaN, any NaN will do.
bool same_bits_or_nan(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().cpu();
  const at::Tensor y = b.detach().cpu();
  return x.isnan().equal(y.isnan()) &&
         same_bits(x.masked_fill(x.isnan(), 0), y.masked_fill(y.isnan(), 0));
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_operator_computes_what_the_reference_does) {
  if (!has_gpu()) return;
  for (const OperatorCase& one : OperatorCases<OnGpu>::all()) check_case(one, at::kCUDA);
}

BOOST_AUTO_TEST_CASE(attention_computes_what_the_reference_does) {
  if (!has_gpu()) return;
  for (const AttentionCase& one : attention_cases()) {
    OperatorCase single = one.with(attention_of, ops::Precision::float32);
    single.limit = 1e-5;  // the library's products are sums of three of its TF32
    check_case(single, at::kCUDA);
  }
}

BOOST_AUTO_TEST_CASE(attention_in_half_precision_is_off_by_its_rounding) {
  if (!has_gpu()) return;
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    for (const OperatorCase& one : half_precision_cases(attention_of, precision)) {
      check_case(one, at::kCUDA);
    }
  }
}

BOOST_AUTO_TEST_CASE(self_attention_goes_the_same_way) {
  if (!has_gpu()) return;
  for (const std::int64_t t : {1, 31, 257}) {
    const auto attend = [&](auto&& attention) -> Operator {
      return [=](const Tensors& in) {
        const ops::Rope rope = ops::make_rope(t, 16, 1e4, at::kDouble);
        return attention(in[0],
                         ops::Rope{rope.cos.to(in[0].options()), rope.sin.to(in[0].options())});
      };
    };
    check_case({"attention of qkv, t " + std::to_string(t),
                attend([](const at::Tensor& qkv, const ops::Rope& rope) {
                  return ops::attention(qkv, {.n_heads = 3, .causal = true, .rope = rope});
                }),
                attend([](const at::Tensor& qkv, const ops::Rope& rope) {
                  return ops::reference::attention(qkv,
                                                   {.n_heads = 3, .causal = true, .rope = rope});
                }),
                {normal({2, t, 3 * 48})},
                1e-5},
               at::kCUDA);
  }
}

BOOST_AUTO_TEST_CASE(gates_have_the_bits_of_the_cpu) {
  if (!has_gpu()) return;
  // There a product and a sum round twice, and nothing is wrong.
  if (ops::instruction_set().find("AVX") == std::string::npos) return;
  const at::Tensor h = at::cat({at::linspace(-14, 14, 28001), at::linspace(-100, 100, 4001),
                                at::tensor({0.0F, -0.0F, 1e-45F, -1e-45F, 1e-38F, -1e-38F, 80.0F,
                                            -80.0F, 1e30F, -1e30F, kInfinity, -kInfinity, kNan})});
  const at::Tensor x = normal(h.sizes(), 3);
  for (const auto& spec : all_gates()) {
    const auto run = [&](at::Device device) {
      return value_and_gradients([&](const Tensors& in) { return ops::gate(in[0], in[1], spec); },
                                 {x, h}, at::ones({}), at::kFloat, device);
    };
    const Tensors there = run(at::kCUDA);
    const Tensors here = run(at::kCPU);
    for (std::size_t i = 0; i < here.size(); ++i) {
      BOOST_TEST(same_bits_or_nan(there[i], here[i]), describe(spec) << ", result " << i);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_optimizer_has_the_bits_of_the_cpu) {
  if (!has_gpu()) return;
  const auto run = [](at::Device device) {
    const auto on_device = [&](const at::Tensor& x) { return x.to(device, at::kFloat); };
    at::Tensor parameter = on_device(normal({1001}));
    at::Tensor moment1 = at::zeros_like(parameter);
    at::Tensor moment2 = at::zeros_like(parameter);
    for (std::int64_t t = 1; t <= 5; ++t) {
      const at::Tensor gradient = on_device(normal({1001}, 10 + static_cast<std::uint64_t>(t)));
      ops::adamw_step(parameter, moment1, moment2, gradient, 0.5, t, {1e-2, 0.9, 0.999, 1e-8, 0.1});
    }
    return Tensors{parameter, moment1, moment2};
  };
  const Tensors there = run(at::kCUDA);
  const Tensors here = run(at::kCPU);
  for (std::size_t i = 0; i < here.size(); ++i) BOOST_TEST(same_bits(there[i], here[i]));
}

BOOST_AUTO_TEST_CASE(sums_of_squares_are_exact) {
  if (!has_gpu()) return;
  check_squares([](const at::Tensor& values, ExactSum& sum) { ops::add_squares(values, sum); },
                at::kCUDA);
}

BOOST_AUTO_TEST_CASE(dropout_keeps_the_same_elements) {
  if (!has_gpu()) return;
  const ops::DropoutSite site{0.25, 3, 1ULL << 33, 5, 3};
  for (const std::int64_t width : {1, 5, 257, 5000}) {
    const at::Tensor ones = at::ones({3, width});
    BOOST_TEST(same_bits(ops::dropout(ones.cuda(), site), ops::reference::dropout(ones, site)));
  }
}

BOOST_AUTO_TEST_CASE(values_that_are_not_finite_stay_visible) {
  if (!has_gpu()) return;
  const auto loss = [](std::initializer_list<float> logits) {
    const at::Tensor row = at::tensor(logits).unsqueeze(0).cuda();
    return ops::cross_entropy_sum(row, at::zeros({1}, at::kLong).cuda()).item<double>();
  };
  BOOST_TEST(std::isnan(loss({kInfinity, 0})));
  BOOST_TEST(std::isnan(loss({0, kInfinity})));
  BOOST_TEST(std::isnan(loss({0, kNan})));
  BOOST_TEST(std::isnan(loss({-kInfinity, -kInfinity})));
  BOOST_TEST(std::isinf(loss({-kInfinity, 0})));
  BOOST_TEST(loss({0, -kInfinity}) == 0);
  for (std::int64_t part = 0; part < 3; ++part) {  // in q, in k, in v
    at::Tensor qkv = normal({1, 70, 3 * 48}).to(at::kFloat);
    qkv[0][20][part * 48] = kNan;
    for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
      const at::Tensor y =
          ops::attention(qkv.cuda(), {.n_heads = 3, .causal = true, .precision = precision});
      BOOST_TEST(y.isnan().any().item<bool>(), "part " << part);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_loss_in_pieces_computes_what_the_loss_in_one_does) {
  if (!has_gpu()) return;
  const at::Tensor targets = at::arange(700, at::kLong).mul(7);
  check_case({"linear_cross_entropy_sum",
              [&](const Tensors& in) {
                return ops::linear_cross_entropy_sum(in[0], in[1], in[2],
                                                     targets.to(in[0].device()), 0.1);
              },
              [&](const Tensors& in) {
                return ops::reference::cross_entropy_sum(
                    ops::reference::linear(in[0], in[1], in[2]), targets, 0.1);
              },
              {normal({700, 8}), normal({50001, 8}, 2), normal({50001}, 3)},
              1e-5},
             at::kCUDA);
}

BOOST_AUTO_TEST_CASE(products_in_half_precision_are_sums_of_rounded_factors) {
  if (!has_gpu()) return;
  using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            ops::Precision);
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    for (const auto& one : half_linear_cases(static_cast<Linear*>(&ops::linear), precision)) {
      check_case(one, at::kCUDA);
    }
    // Weights that were rounded before have a gradient of their type.
    const at::Tensor x = normal({6, 24}).to(at::kFloat).cuda();
    const at::Tensor w =
        normal({5, 24}, 2).to(ops::scalar_type(precision)).cuda().set_requires_grad(true);
    ops::linear(x, w, std::nullopt, precision).sum().backward();
    BOOST_TEST((w.grad().scalar_type() == w.scalar_type()));
    const at::Tensor dw =
        at::ones({6, 5}, x.options()).t().mm(x.to(w.scalar_type()).to(at::kFloat));
    BOOST_TEST(relative_error(w.grad().to(at::kFloat).cpu(), dw.cpu()) < 0x1p-8);
  }
}

BOOST_AUTO_TEST_CASE(the_loss_in_pieces_of_bfloat16_is_that_of_rounded_factors) {
  if (!has_gpu()) return;
  const at::Tensor targets = at::arange(700, at::kLong).mul(7);
  for (const bool biased : {false, true}) {
    Tensors inputs = {normal({700, 24}), normal({50001, 24}, 2)};
    if (biased) inputs.push_back(normal({50001}, 3));
    const auto bias = [](const Tensors& in) {
      return in.size() > 2 ? std::optional(in[2]) : std::nullopt;
    };
    check_case({"linear_cross_entropy_sum in bfloat16",
                [&](const Tensors& in) {
                  return ops::linear_cross_entropy_sum(in[0], in[1], bias(in),
                                                       targets.to(in[0].device()), 0.1,
                                                       ops::Precision::bfloat16);
                },
                [&](const Tensors& in) {
                  return ops::reference::cross_entropy_sum(
                      linear_of_rounded(in[0], in[1], bias(in), at::kBFloat16), targets, 0.1);
                },
                inputs, 0x1p-8},  // one number that lies between two is rounded to the other
               at::kCUDA);
  }
}

BOOST_AUTO_TEST_CASE(empty_tensors_are_no_error) {
  if (!has_gpu()) return;
  for (const auto& sizes : {std::vector<std::int64_t>{0, 5, 48}, {3, 0, 48}}) {
    const at::Tensor x = at::zeros(sizes).cuda().set_requires_grad(true);
    const at::Tensor scale = at::ones({48}).cuda().set_requires_grad(true);
    const at::Tensor normed = ops::rms_norm(ops::dropout(ops::gate(x, {}), {0.5}), scale, 1e-6);
    ops::attention(normed, {.n_heads = 2, .causal = true}).sum().backward();
    BOOST_TEST(x.grad().sizes() == x.sizes());
    BOOST_TEST(same_bits(scale.grad(), at::zeros({48})));
    const at::Tensor w = at::ones({7, 48}).cuda().set_requires_grad(true);
    ops::linear(x, w, std::nullopt, ops::Precision::bfloat16).sum().backward();
    BOOST_TEST(same_bits(w.grad(), at::zeros({7, 48})));
  }
}
