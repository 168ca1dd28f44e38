// Products in bfloat16 against their definition: factors, results and gradients rounded, sums not.
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "base/error.hpp"
#include "ops/bfloat16.hpp"
#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/rounded.hpp"
#include "ops/tensors.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(bfloat16)

namespace {

at::Tensor linear(const Tensors& in) {
  return ops::linear(in[0], in[1], in.size() > 2 ? std::optional(in[2]) : std::nullopt,
                     ops::Precision::bfloat16);
}

/// Of sums in float32.
constexpr double kTolerance = 1e-5;
/// A sum in float32 may fall on the other side of a tie than one in double: a unit in the last
/// place, 2^-8, of the few elements where that happens.
constexpr double kRounded = 1e-3;

void check_rounded(const Tensors& inputs) {
  const Operator truth = [](const Tensors& in) {
    return linear_of_rounded(in[0], in[1], in.size() > 2 ? std::optional(in[2]) : std::nullopt,
                             at::kBFloat16, /*rounds_dw=*/true);
  };
  const at::Tensor weight = normal(truth(inputs).sizes(), 77);
  const Tensors found = value_and_gradients(linear, inputs, weight, at::kFloat);
  const Tensors expected = value_and_gradients(truth, inputs, weight, at::kDouble);
  for (std::size_t i = 0; i < found.size(); ++i) {
    BOOST_TEST_CONTEXT((i == 0 ? "value" : "gradient " + std::to_string(i))) {
      const bool is_dw = i == 2;
      BOOST_TEST(relative_error(found[i], expected[i]) < (is_dw ? kRounded : kTolerance));
      if (is_dw) BOOST_TEST(found[i].equal(rounded(found[i], at::kBFloat16)));
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(linear_matches_rounded_operands) {
  for (const bool biased : {false, true}) {
    for (const auto& [rows, n_in, n_out] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1},
                                                                                    {1, 1, 9},
                                                                                    {5, 1, 1},
                                                                                    {7, 5, 3},
                                                                                    {64, 64, 192},
                                                                                    {65, 17, 65},
                                                                                    {31, 127, 33},
                                                                                    {300, 128, 64},
                                                                                    {257, 768, 130},
                                                                                    {2, 3000, 5}}) {
      BOOST_TEST_CONTEXT(rows << " x " << n_in << " -> " << n_out << ", bias " << biased) {
        Tensors inputs = {normal({rows, n_in}), normal({n_out, n_in}, 2)};
        if (biased) inputs.push_back(normal({n_out}, 3));
        check_rounded(inputs);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(large_and_tiny_factors_match) {
  for (const double size : {0x1p-60, 80.0, 0x1p60}) {
    BOOST_TEST_CONTEXT(size) {
      check_rounded({size * normal({33, 40}), normal({17, 40}, 2), size * normal({17}, 3)});
    }
  }
}

BOOST_AUTO_TEST_CASE(conversion_rounds_as_the_library_does) {
  on_every_instruction_set([] {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    std::vector<float> values = {0.0F,         -0.0F,     1.0F,
                                 1.00390625F,  // ties: down to even,
                                 1.01171875F,  // up to even
                                 1.00390637F,  // just above
                                 -1.00390625F, 80.0F,     -80.0F,
                                 1e-45F,       -3e-39F,   std::numeric_limits<float>::max(),
                                 kInfinity,    -kInfinity};
    for (std::int64_t i = 0; i < 100; ++i) {
      values.push_back(static_cast<float>(std::ldexp(1 + 0.0137 * static_cast<double>(i), 3)));
    }
    const auto n = static_cast<std::int64_t>(values.size());
    for (std::int64_t first = 0; first < 20; ++first) {  // every remainder of a vector
      const at::Tensor x = at::tensor(values).narrow(0, first, n - first).contiguous();
      const at::Tensor narrowed = ops::to_bfloat16(x);
      for (std::int64_t i = 0; i < x.numel(); ++i) {
        BOOST_TEST(ops::bits(narrowed)[i] == c10::BFloat16(x[i].item<float>()).x);
      }
      const at::Tensor back = ops::to_float(narrowed.unsqueeze(0), 1);
      BOOST_TEST(same_bits(back[0], narrowed.to(at::kFloat)));
      const at::Tensor in_place = x.clone();
      ops::round_to_bfloat16(in_place, 1);
      BOOST_TEST(same_bits(in_place, back[0]));
    }
    // Whatever its payload: rounding must not carry a NaN into infinity.
    const at::Tensor nan = at::full({1}, -1, at::kInt).view(at::kFloat);
    BOOST_TEST(ops::to_bfloat16(nan).isnan().all().item<bool>());
  });
}

BOOST_AUTO_TEST_CASE(equal_inputs_give_equal_bits_on_any_number_of_threads) {
  const Tensors inputs = {normal({200, 96}), normal({130, 96}, 2), normal({130}, 3)};
  const at::Tensor weight = normal({200, 130}, 4);
  const Tensors first = value_and_gradients(linear, inputs, weight, at::kFloat);
  at::set_num_threads(2);
  const Tensors again = value_and_gradients(linear, inputs, weight, at::kFloat);
  at::set_num_threads(1);
  for (std::size_t i = 0; i < first.size(); ++i) BOOST_TEST(same_bits(again[i], first[i]));
}

BOOST_AUTO_TEST_CASE(strided_inputs_give_the_result_of_contiguous_ones) {
  const at::Tensor strided = normal({12, 5, 10}).to(at::kFloat).transpose(0, 2);
  const at::Tensor w = normal({12, 7}, 2).to(at::kFloat).t();
  const at::Tensor bias = normal({14}, 3).to(at::kFloat).slice(0, 0, 14, 2);
  BOOST_TEST(same_bits(linear({strided, w, bias}),
                       linear({strided.contiguous(), w.contiguous(), bias.contiguous()})));
}

BOOST_AUTO_TEST_CASE(a_nan_stays_visible) {
  at::Tensor x = normal({70, 48}).to(at::kFloat);
  x[20][17] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor y = linear({x, normal({5, 48}, 2).to(at::kFloat)});
  BOOST_TEST(y.isnan().sum().item<std::int64_t>() == 5);
}

BOOST_AUTO_TEST_CASE(empty_inputs_give_empty_outputs_and_zero_gradients) {
  const at::Tensor x = at::zeros({0, 6}).set_requires_grad(true);
  const at::Tensor w = normal({4, 6}).to(at::kFloat).set_requires_grad(true);
  const at::Tensor bias = at::ones({4}).set_requires_grad(true);
  const at::Tensor y = linear({x, w, bias});
  BOOST_TEST((y.sizes() == at::IntArrayRef{0, 4}));
  y.sum().backward();
  BOOST_TEST(same_bits(w.grad(), at::zeros({4, 6})));
  BOOST_TEST(same_bits(bias.grad(), at::zeros({4})));
  BOOST_TEST(
      same_bits(linear({at::zeros({2, 0}), at::zeros({3, 0}), at::ones({3})}), at::ones({2, 3})));
}

BOOST_AUTO_TEST_CASE(the_backward_pass_finds_weights_that_moved) {
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    const at::Tensor x = normal({30, 20}).to(at::kFloat).set_requires_grad(true);
    const at::Tensor w = normal({11, 20}, 2).to(at::kFloat).set_requires_grad(true);
    const auto gradient = [&](bool move) {
      const at::Tensor y = ops::linear(x, w, std::nullopt, precision);
      if (move) {
        const at::Tensor old = w.detach().alias();
        w.set_data(w.detach().clone());
        std::fill_n(old.data_ptr<float>(), old.numel(), std::numeric_limits<float>::quiet_NaN());
      }
      return torch::autograd::grad({y.sum()}, {x})[0];
    };
    const at::Tensor expected = gradient(false);
    BOOST_TEST(same_bits(gradient(true), expected));
  }
}

BOOST_AUTO_TEST_CASE(weights_may_be_rounded_before) {
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    const at::Tensor x = normal({3, 7, 20}).to(at::kFloat).set_requires_grad(true);
    const at::Tensor w = normal({11, 20}, 2).to(at::kFloat).set_requires_grad(true);
    const at::Tensor bias = normal({11}, 3).to(at::kFloat).set_requires_grad(true);
    const at::Tensor dy = normal({3, 7, 11}, 4).to(at::kFloat);
    const auto numbers = [&](const at::Tensor& weights) {
      const at::Tensor y = ops::linear(x, weights, bias, precision);
      std::vector<at::Tensor> all = {y.detach().flatten()};
      for (const auto& gradient : torch::autograd::grad({y}, {x, w, bias}, {dy})) {
        all.push_back(gradient.flatten());
      }
      return at::cat(all);
    };
    const at::Tensor rounded = w.detach().to(ops::scalar_type(precision));
    BOOST_TEST(same_bits(numbers(ops::stand_in(w, rounded)), numbers(w)));
    // What is written there later is what counts, and nothing else than the place is kept of w.
    const at::Tensor hollow = at::full({1}, std::numeric_limits<float>::quiet_NaN())
                                  .expand({11, 20})
                                  .set_requires_grad(true);
    const at::Tensor stand_in = ops::stand_in(hollow, rounded);
    rounded.mul_(2);
    const at::Tensor y = ops::linear(x, stand_in, bias, precision);
    BOOST_TEST(same_bits(y.detach(), ops::linear(x, w.detach() * 2, bias, precision).detach()));
    const auto dw = torch::autograd::grad({y}, {hollow}, {dy})[0];
    BOOST_TEST(dw.scalar_type() == at::kFloat);
    BOOST_TEST(
        same_bits(dw, torch::autograd::grad({ops::linear(x, w, bias, precision)}, {w}, {dy})[0]));
  }
  const at::Tensor single = at::ones({2, 3});
  BOOST_CHECK_THROW(
      (void)ops::linear(single, single.to(at::kBFloat16), std::nullopt, ops::Precision::float16),
      InternalError);
  BOOST_CHECK_THROW((void)ops::linear(single, single.to(at::kBFloat16)), pg::InternalError);
}

BOOST_AUTO_TEST_CASE(the_instruction_set_names_the_products) {
  const char* products = ops::bfloat16_instructions();
  const std::string set = ops::instruction_set();
  BOOST_TEST((set.find("BF16") != std::string::npos) == (products != nullptr));
  const char* most = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (most != nullptr && std::string(most) == "AVX512_CORE") BOOST_TEST(products == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
