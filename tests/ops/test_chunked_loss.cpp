// The loss over a large vocabulary, whose logits never exist whole: the pieces against the
// operators that they are made of, and what its backward pass may not rely on.
#include <torch/csrc/autograd/autograd.h>

#include <boost/test/unit_test.hpp>
#include <limits>

#include "ops/instruction_sets.hpp"
#include "ops/loss_pieces.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/rounded.hpp"
#include "ops/tensors.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(chunked_loss)

namespace {

constexpr std::int64_t kVocabulary = 300'001, kWidth = 7;

at::Tensor targets_of(std::int64_t n, std::int64_t vocabulary) {
  return at::arange(n, at::kLong).mul(7919).remainder(vocabulary);
}

Tensors inputs_of(std::int64_t n, std::int64_t vocabulary, bool biased) {
  Tensors inputs = {normal({n, kWidth}), normal({vocabulary, kWidth}, 2)};
  if (biased) inputs.push_back(normal({vocabulary}, 3));
  return inputs;
}

std::optional<at::Tensor> bias_of(const Tensors& inputs) {
  return inputs.size() > 2 ? std::optional(inputs[2]) : std::nullopt;
}

Operator chunked(double smoothing, ops::Precision precision = ops::Precision::float32) {
  return [=](const Tensors& in) {
    return ops::linear_cross_entropy_sum(
        in[0], in[1], bias_of(in), targets_of(in[0].size(0), in[1].size(0)), smoothing, precision);
  };
}

/// The definition: all logits at once, in plain ATen.
Operator whole(double smoothing) {
  return [=](const Tensors& in) {
    return ops::reference::cross_entropy_sum(ops::reference::linear(in[0], in[1], bias_of(in)),
                                             targets_of(in[0].size(0), in[1].size(0)), smoothing);
  };
}

Operator whole_in_bfloat16(double smoothing) {
  return [=](const Tensors& in) {
    return ops::reference::cross_entropy_sum(
        rounded_linear(in[0], in[1], bias_of(in), at::kBFloat16),
        targets_of(in[0].size(0), in[1].size(0)), smoothing);
  };
}

void check_close(const Tensors& found, const Tensors& expected, double tolerance) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    BOOST_TEST(relative_error(found[i], expected[i]) < tolerance,
               (i == 0 ? "value" : "gradient " + std::to_string(i))
                   << " off by " << relative_error(found[i], expected[i]));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_inputs_here_are_more_than_one_piece) {
  BOOST_TEST(ops::rows_of_piece(kVocabulary) == 96);
}

BOOST_AUTO_TEST_CASE(pieces_match_the_whole) {
  for (const bool biased : {false, true}) {
    for (const double smoothing : {0.0, 0.1}) {
      const Tensors inputs = inputs_of(biased ? 97 : 110, kVocabulary, biased);
      const at::Tensor weight = at::full({}, 0.3, at::kDouble);
      const Tensors expected = value_and_gradients(whole(smoothing), inputs, weight, at::kDouble);
      BOOST_TEST_CONTEXT("bias " << biased << " smoothing " << smoothing) {
        check_close(value_and_gradients(chunked(smoothing), inputs, weight, at::kFloat), expected,
                    1e-6);
        check_close(value_and_gradients(chunked(smoothing), inputs, weight, at::kDouble), expected,
                    1e-11);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(pieces_in_bfloat16_match_rounded_operands) {
  for (const bool biased : {false, true}) {
    const Tensors inputs = inputs_of(100, kVocabulary, biased);
    const at::Tensor weight = at::ones({}, at::kDouble);
    BOOST_TEST_CONTEXT("bias " << biased) {
      check_close(
          value_and_gradients(chunked(0.1, ops::Precision::bfloat16), inputs, weight, at::kFloat),
          value_and_gradients(whole_in_bfloat16(0.1), inputs, weight, at::kDouble), 2e-3);
    }
  }
}

BOOST_AUTO_TEST_CASE(pieces_in_float16_match_rounded_operands) {
  const Tensors inputs = inputs_of(100, kVocabulary, true);
  const at::Tensor weight = at::ones({}, at::kDouble);
  const Operator truth = [](const Tensors& in) {
    return ops::reference::cross_entropy_sum(rounded_linear(in[0], in[1], in[2], at::kHalf),
                                             targets_of(100, kVocabulary), 0);
  };
  check_close(value_and_gradients(chunked(0, ops::Precision::float16), inputs, weight, at::kFloat),
              value_and_gradients(truth, inputs, weight, at::kDouble), 2e-3);
}

BOOST_AUTO_TEST_CASE(one_piece_is_the_two_operators_bit_for_bit) {
  const auto rounded_to = [](const at::Tensor& x, ops::Precision precision) {
    return rounded(x, ops::scalar_type(precision));
  };
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    const Tensors inputs = inputs_of(1000, 65, true);
    const at::Tensor weight = at::ones({}, at::kDouble);
    const Operator two = [&](const Tensors& in) {
      const at::Tensor logits = ops::linear(in[0], in[1], in[2], precision);
      return ops::cross_entropy_sum(rounded_to(logits, precision), targets_of(1000, 65), 0.1);
    };
    const Tensors found = value_and_gradients(chunked(0.1, precision), inputs, weight, at::kFloat);
    const Tensors expected = value_and_gradients(two, inputs, weight, at::kFloat);
    BOOST_TEST(same_bits(found[0], expected[0]));
    for (std::size_t i = 1; i < found.size(); ++i) {
      BOOST_TEST(same_bits(found[i], rounded_to(expected[i], precision)));
    }
  }
}

BOOST_AUTO_TEST_CASE(equal_inputs_give_equal_bits_whoever_asks_for_what) {
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    const Tensors inputs = inputs_of(100, kVocabulary, true);
    const at::Tensor weight = at::ones({}, at::kDouble);
    const Operator loss = chunked(0, precision);
    const Tensors all = value_and_gradients(loss, inputs, weight, at::kFloat);
    Tensors constants;
    for (const auto& input : inputs) constants.push_back(input.to(at::kFloat));
    BOOST_TEST(same_bits(loss(constants), all[0]));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Tensors some = constants;
      some[i] = some[i].clone().set_requires_grad(true);
      loss(some).backward();
      BOOST_TEST(same_bits(some[i].grad(), all[i + 1]));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_backward_pass_scales_by_the_incoming_gradient) {
  const Tensors inputs = inputs_of(100, kVocabulary, true);
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    const auto gradients = [&](double factor) {
      return value_and_gradients(chunked(0, precision), inputs, at::full({}, factor, at::kDouble),
                                 at::kFloat);
    };
    const Tensors one = gradients(1);
    const Tensors eighth = gradients(0.125);
    for (std::size_t i = 1; i < one.size(); ++i) {
      BOOST_TEST(same_bits(one[i] * 0.125, eighth[i]));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_backward_pass_needs_neither_features_nor_weights) {
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    const Tensors inputs = inputs_of(100, kVocabulary, true);
    const Tensors expected =
        value_and_gradients(chunked(0, precision), inputs, at::ones({}, at::kDouble), at::kFloat);
    Tensors leaves;
    for (const auto& input : inputs) {
      leaves.push_back(input.to(at::kFloat).clone().set_requires_grad(true));
    }
    const at::Tensor loss = chunked(0, precision)(leaves);
    for (const auto& leaf : leaves) {
      at::Tensor memory = leaf.detach();
      memory.fill_(std::numeric_limits<float>::quiet_NaN());
    }
    loss.backward();
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      BOOST_TEST(same_bits(leaves[i].grad(), expected[i + 1]));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_second_backward_pass_is_refused) {
  Tensors inputs = inputs_of(100, kVocabulary, false);
  const at::Tensor x = inputs[0].to(at::kFloat).set_requires_grad(true);
  const at::Tensor loss = chunked(0)({x, inputs[1].to(at::kFloat)});
  loss.backward({}, /*retain_graph=*/true);
  check_error([&] { loss.backward(); }, ExitCode::internal, {"one backward pass"});
}

BOOST_AUTO_TEST_CASE(a_nan_stays_visible) {
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    Tensors inputs = inputs_of(100, kVocabulary, false);
    for (auto& input : inputs) input = input.to(at::kFloat);
    inputs[0][99][3] = std::numeric_limits<float>::quiet_NaN();
    BOOST_TEST(std::isnan(chunked(0, precision)(inputs).item<double>()));
  }
}

BOOST_AUTO_TEST_CASE(a_broken_call_names_the_shapes) {
  const at::Tensor x = normal({2, 5});
  const at::Tensor w = normal({3, 5});
  const at::Tensor targets = at::zeros({2}, at::kLong);
  const auto fails = [](auto action, std::initializer_list<std::string_view> words) {
    check_error(action, ExitCode::internal, words);
  };
  using ops::linear_cross_entropy_sum;
  fails([&] { linear_cross_entropy_sum(x, normal({3, 4}), {}, targets); }, {"(3, 4)"});
  fails([&] { linear_cross_entropy_sum(x.unsqueeze(0), w, {}, targets); }, {"(1, 2, 5)"});
  fails([&] { linear_cross_entropy_sum(x, w, {}, targets + 3); }, {"from 3 to 3", "[0, 3)"});
  fails([&] { linear_cross_entropy_sum(x, w, {}, at::zeros({3}, at::kLong)); }, {"targets"});
}

BOOST_AUTO_TEST_SUITE_END()
