// What the trainer relies on besides the numbers: causality, independence of the rest of the batch,
// equal bits on every call, non-finite values that stay visible, and errors for broken calls.
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(promises)

namespace {

constexpr std::int64_t kLength = 133, kWidth = 48, kHeads = 3;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

at::Tensor floats(at::IntArrayRef sizes, std::uint64_t seed = 1) {
  return normal(sizes, seed).to(at::kFloat);
}

/// Norm, projections, attention and gate: (b, t, 48) -> (b, t, 48). inputs[0] is x, the rest
/// weights.
at::Tensor block(const Tensors& inputs) {
  const auto rope = ops::make_rope(kLength, kWidth / kHeads, 1e4, inputs[0].scalar_type());
  const at::Tensor normed = ops::rms_norm(inputs[0], inputs[1], 1e-6);
  const at::Tensor mixed = ops::attention(ops::linear(normed, inputs[2]),
                                          {.n_heads = kHeads, .causal = true, .rope = rope});
  return ops::linear(ops::gate(ops::linear(mixed, inputs[3]), {}), inputs[4]);
}

Tensors block_inputs(std::int64_t b) {
  return {normal({b, kLength, kWidth}), normal({kWidth}, 2), normal({3 * kWidth, kWidth}, 3),
          normal({100, kWidth}, 4), normal({kWidth, 100}, 5)};
}

Tensors run_block(const Tensors& inputs) {
  return value_and_gradients(block, inputs, normal(inputs[0].sizes(), 6), at::kFloat);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_later_token_changes_nothing_before_it) {
  for (const bool with_rope : {true, false}) {
    std::optional<ops::Rope> rope;
    if (with_rope) rope = ops::make_rope(kLength, kWidth / kHeads, 1e4, at::kFloat);
    const at::Tensor qkv = floats({2, kLength, 3 * kWidth});
    const ops::AttentionSpec spec{.n_heads = kHeads, .causal = true, .rope = rope};
    const at::Tensor before = ops::attention(qkv, spec);
    for (const std::int64_t changed : {1L, 63L, 64L, 65L, kLength - 1}) {
      at::Tensor other = qkv.clone();
      other.narrow(1, changed, kLength - changed).mul_(-3).add_(1);
      const at::Tensor after = ops::attention(other, spec);
      BOOST_TEST(same_bits(after.narrow(1, 0, changed), before.narrow(1, 0, changed)));
      BOOST_TEST(!same_bits(after.select(1, changed), before.select(1, changed)));
    }
  }
}

BOOST_AUTO_TEST_CASE(without_causality_every_token_counts) {
  const at::Tensor qkv = floats({1, 70, 3 * kWidth});
  at::Tensor other = qkv.clone();
  other.select(1, 69).add_(1);
  const at::Tensor a = ops::attention(qkv, {.n_heads = kHeads});
  const at::Tensor b = ops::attention(other, {.n_heads = kHeads});
  BOOST_TEST(!same_bits(a.select(1, 0), b.select(1, 0)));
}

BOOST_AUTO_TEST_CASE(a_sequence_does_not_see_the_rest_of_its_batch) {
  const Tensors inputs = block_inputs(5);
  const at::Tensor weight = normal(inputs[0].sizes(), 6);
  const Tensors together = value_and_gradients(block, inputs, weight, at::kFloat);
  for (std::int64_t i = 0; i < 5; ++i) {
    Tensors alone_inputs = inputs;
    alone_inputs[0] = inputs[0].narrow(0, i, 1);
    const Tensors alone =
        value_and_gradients(block, alone_inputs, weight.narrow(0, i, 1), at::kFloat);
    BOOST_TEST(same_bits(alone[0], together[0].narrow(0, i, 1)));
    BOOST_TEST(same_bits(alone[1], together[1].narrow(0, i, 1)));
  }
}

BOOST_AUTO_TEST_CASE(a_row_of_a_product_does_not_see_the_other_rows) {
  // Few rows, where oneDNN would switch to other kernels, and many.
  const at::Tensor w = floats({65, 64}, 2);
  const at::Tensor many = floats({1100, 64});
  const at::Tensor truth = ops::linear(many, w);
  for (const std::int64_t rows : {1, 2, 7, 15, 16, 17, 255, 1099}) {
    BOOST_TEST(same_bits(ops::linear(many.narrow(0, 0, rows), w), truth.narrow(0, 0, rows)));
  }
}

BOOST_AUTO_TEST_CASE(equal_inputs_give_equal_bits) {
  const Tensors first = run_block(block_inputs(3));
  at::set_num_threads(2);  // must not matter either
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Tensors again = run_block(block_inputs(3));
    for (std::size_t i = 0; i < first.size(); ++i) BOOST_TEST(same_bits(again[i], first[i]));
  }
  at::set_num_threads(1);
}

BOOST_AUTO_TEST_CASE(a_nan_stays_visible) {
  on_every_instruction_set([] {
    const auto has_nan = [](const at::Tensor& x) { return x.isnan().any().item<bool>(); };
    at::Tensor x = floats({70, kWidth});
    x[20][17] = kNan;
    BOOST_TEST(has_nan(ops::linear(x, floats({5, kWidth}))));
    BOOST_TEST(has_nan(ops::rms_norm(x, at::ones({kWidth}), 1e-6)));
    BOOST_TEST(has_nan(ops::layer_norm(x, at::ones({kWidth}), at::zeros({kWidth}), 1e-6)));
    BOOST_TEST(ops::dropout(x, {0.999}).isnan().sum().item<std::int64_t>() == 1);
    for (const auto& spec : all_gates()) {
      BOOST_TEST_CONTEXT(describe(spec)) {
        const at::Tensor h = x.clone().set_requires_grad(true);
        const at::Tensor y = ops::gate(h, spec);
        y.sum().backward();
        BOOST_TEST(y.isnan().sum().item<std::int64_t>() == 1);
        BOOST_TEST(std::isnan(y[20][17].item<float>()));
      }
    }
    for (std::int64_t part = 0; part < 3; ++part) {  // in q, in k, in v
      at::Tensor qkv = floats({1, 70, 3 * kWidth});
      qkv[0][20][part * kWidth] = kNan;
      BOOST_TEST(has_nan(ops::attention(qkv, {.n_heads = kHeads, .causal = true})));
    }
    const at::Tensor targets = at::zeros({70}, at::kLong);
    BOOST_TEST(std::isnan(ops::cross_entropy_sum(x, targets).item<double>()));
  });
}

BOOST_AUTO_TEST_CASE(an_infinite_logit_gives_no_finite_loss) {
  on_every_instruction_set([] {
    const at::Tensor targets = at::zeros({1}, at::kLong);
    const auto loss = [&](float a, float b) {
      return ops::cross_entropy_sum(at::tensor({a, b}).view({1, 2}), targets).item<double>();
    };
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    BOOST_TEST(std::isnan(loss(kInfinity, 0)));
    BOOST_TEST(std::isnan(loss(0, kInfinity)));
    BOOST_TEST(std::isnan(loss(-kInfinity, -kInfinity)));
    BOOST_TEST(std::isinf(loss(-kInfinity, 0)));  // a probability of zero
    BOOST_TEST(loss(0, -kInfinity) == 0);         // a probability of one
  });
}

BOOST_AUTO_TEST_CASE(a_constant_input_gets_no_gradient) {
  const at::Tensor x = floats({4, 6});
  const at::Tensor w = floats({3, 6}, 2).set_requires_grad(true);
  ops::linear(x, w).sum().backward();
  BOOST_TEST(!x.grad().defined());
  BOOST_TEST(w.grad().defined());
  const at::Tensor y = ops::rms_norm(x, at::ones({6}).set_requires_grad(true), 1e-6);
  y.sum().backward();
  BOOST_TEST(!x.grad().defined());
  const at::Tensor z = ops::layer_norm(x, at::ones({6}), at::zeros({6}).set_requires_grad(true), 1);
  z.sum().backward();
  BOOST_TEST(!x.grad().defined());
  BOOST_TEST(!ops::gate(x, {}).requires_grad());
}

BOOST_AUTO_TEST_CASE(empty_inputs_give_empty_outputs_and_zero_gradients) {
  const auto rope = ops::make_rope(0, 4, 1e4, at::kFloat);
  for (const auto& sizes : {std::vector<std::int64_t>{0, 5, 12}, {3, 0, 12}}) {
    const auto leaf = [&] { return at::zeros(sizes).set_requires_grad(true); };
    const at::Tensor x = leaf();
    const at::Tensor w = floats({7, 12}).set_requires_grad(true);
    const at::Tensor scale = at::ones({12}).set_requires_grad(true);
    const at::Tensor bias = at::ones({12}).set_requires_grad(true);
    const at::Tensor shift = at::ones({7}).set_requires_grad(true);
    const at::Tensor normed = ops::rms_norm(ops::gate(x, {}), scale, 1e-6);
    const at::Tensor y = ops::linear(
        ops::dropout(ops::layer_norm(normed, at::ones({12}), bias, 1e-6), {0.5}), w, shift);
    BOOST_TEST(y.numel() == 0);
    y.sum().backward();
    BOOST_TEST(x.grad().sizes() == x.sizes());
    BOOST_TEST(same_bits(w.grad(), at::zeros({7, 12})));
    BOOST_TEST(same_bits(scale.grad(), at::zeros({12})));
    BOOST_TEST(same_bits(bias.grad(), at::zeros({12})));
    BOOST_TEST(same_bits(shift.grad(), at::zeros({7})));
    const at::Tensor qkv = leaf();
    const at::Tensor mixed = ops::attention(
        qkv, {.causal = true, .rope = sizes[1] == 0 ? std::optional(rope) : std::nullopt});
    BOOST_TEST(mixed.numel() == 0);
    mixed.sum().backward();
    BOOST_TEST(qkv.grad().sizes() == qkv.sizes());
    const at::Tensor exact =
        ops::attention(leaf().to(at::kDouble), {.n_heads = 2});  // no fast path
    BOOST_TEST(exact.numel() == 0);
  }
  BOOST_TEST(ops::cross_entropy_sum(at::zeros({0, 5}), at::zeros({0}, at::kLong)).item<double>() ==
             0);
  const at::Tensor no_features = ops::linear(at::zeros({2, 0}), at::zeros({3, 0}));
  BOOST_TEST(same_bits(no_features, at::zeros({2, 3})));
}

BOOST_AUTO_TEST_CASE(a_broken_call_names_the_shapes) {
  const auto fails = [](auto action, std::initializer_list<std::string_view> words) {
    check_error(action, ExitCode::internal, words);
  };
  const at::Tensor x = floats({2, 5, 12});
  const at::Tensor long_targets = at::zeros({2}, at::kLong);
  const auto logits = floats({2, 3});
  fails([&] { ops::linear(x, floats({4, 5})); }, {"linear", "(2, 5, 12)", "(4, 5)"});
  fails([&] { ops::linear(x, floats({4, 12}).to(at::kDouble)); }, {"linear", "Double", "Float"});
  fails([&] { ops::linear(x, at::Tensor()); }, {"linear", "undefined"});
  fails([&] { ops::linear(x, floats({4, 12}), floats({5})); }, {"linear", "(4, 12)", "(5)"});
  fails([&] { ops::layer_norm(x, at::ones({12}), at::ones({5}), 1e-6); }, {"layer_norm", "(5)"});
  fails([&] { ops::dropout(x, {1.0}); }, {"dropout", "p 1"});
  fails([&] { ops::dropout(x, {0.5, 0, 0, 1ULL << 20}); }, {"dropout", "site 1048576"});
  fails([&] { ops::dropout(x, {0.5, 0, 0, 0, 1LL << 45}); }, {"dropout", "60 elements a slot"});
  fails([&] { ops::attention(x, {.dropout = {-0.1}}); }, {"attention", "p -0.1"});
  fails([&] { ops::rms_norm(x, at::ones({5}), 1e-6); }, {"rms_norm", "(5)"});
  fails([&] { ops::rms_norm(x, at::ones({12}), 0); }, {"rms_norm", "eps"});
  fails([&] { ops::attention(x, {.n_heads = 5}); }, {"attention", "5 heads"});
  fails([&] { ops::attention(x, {.rope = ops::make_rope(4, 4, 1e4, at::kFloat)}); },
        {"attention", "(4, 2)"});
  fails([&] { ops::attention(x, {.rope = ops::make_rope(5, 2, 1e4, at::kFloat)}); },
        {"attention", "(5, 1)"});
  fails([&] { ops::gate(at::zeros({3}, at::kLong), {}); }, {"gate", "Long"});
  fails([&] { ops::cross_entropy_sum(logits, at::zeros({3}, at::kLong)); }, {"targets"});
  fails([&] { ops::cross_entropy_sum(logits, long_targets + 3); }, {"from 3 to 3", "[0, 3)"});
  fails([&] { ops::cross_entropy_sum(logits, long_targets - 1); }, {"from -1 to -1"});
  fails([&] { ops::make_rope(4, 3, 1e4, at::kFloat); }, {"make_rope", "even"});
}

BOOST_AUTO_TEST_CASE(second_derivatives_are_refused_not_zero) {
  const at::Tensor x = floats({3, 4}).set_requires_grad(true);
  const at::Tensor y = ops::gate(x, {}).sum();
  check_error([&] { torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true); },
              ExitCode::internal, {"first derivatives only"});
}

BOOST_AUTO_TEST_CASE(double_precision_takes_the_reference) {
  const Tensors inputs = block_inputs(1);
  const at::Tensor y = ops::linear(inputs[0], inputs[2]);
  BOOST_TEST(same_bits(y, ops::reference::linear(inputs[0], inputs[2], std::nullopt)));
  BOOST_TEST((y.scalar_type() == at::kDouble));
}

BOOST_AUTO_TEST_SUITE_END()
