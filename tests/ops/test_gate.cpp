// Identities of the gate units and the accuracy of the functions inside.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numbers>

#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/tensors.hpp"

using namespace pg;
using namespace pg::testing;
using F = ops::GateFunction;

BOOST_AUTO_TEST_SUITE(gates)

namespace {

/// A dense sweep with the points where formulas change: zero, tiny and huge values.
at::Tensor sweep() {
  return at::cat(
      {at::linspace(-14, 14, 280001), at::tensor({0.0F, -0.0F, 1e-30F, -1e-30F, 1e30F})});
}

struct ValueAndSlope {
  at::Tensor value;
  at::Tensor slope;
};

ValueAndSlope run(const at::Tensor& h, const ops::GateSpec& spec) {
  const Tensors both = value_and_gradients(
      [&](const Tensors& in) { return ops::gate(in[0], spec); }, {h}, at::ones({}), at::kFloat);
  return {both[0], both[1]};
}

bool same_bits(const ValueAndSlope& a, const ValueAndSlope& b) {
  return testing::same_bits(a.value, b.value) && testing::same_bits(a.slope, b.slope);
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace

BOOST_AUTO_TEST_CASE(at_alpha_zero_only_the_base_counts_bit_for_bit) {
  on_every_instruction_set([] {
    for (const F base : {F::normal_cdf, F::normal_cdf_tanh, F::step, F::sigmoid}) {
      const ValueAndSlope vanilla = run(sweep(), ops::GateSpec::activation(base));
      for (const F gate : all_functions()) {
        BOOST_TEST(same_bits(run(sweep(), {gate, base, 0}), vanilla));
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(self_gates_meet_their_known_ends) {
  const at::Tensor h = 3 * normal({1000}).to(at::kFloat);
  const auto value = [&](F gate, F base, double alpha) {
    return run(h, {gate, base, alpha}).value;
  };
  const at::Tensor exact = h.to(at::kDouble);
  const at::Tensor silu = at::silu(exact);
  BOOST_TEST(relative_error(value(F::sigmoid, F::one, 1), silu) < 1e-7);       // paGLU
  BOOST_TEST(relative_error(value(F::sigmoid, F::identity, 1), silu) < 1e-7);  // paSiLU
  BOOST_TEST(relative_error(value(F::sigmoid, F::identity, 0), exact * exact) < 1e-7);
  BOOST_TEST(relative_error(value(F::relu, F::one, 1), h * at::relu(h)) < 1e-7);
  BOOST_TEST(relative_error(value(F::gelu, F::one, 1), exact * at::gelu(exact)) < 3e-7);
  BOOST_TEST(relative_error(value(F::tanh, F::one, 1), exact * at::tanh(exact)) < 1e-7);
  BOOST_TEST(relative_error(value(F::silu, F::one, 1), exact * silu) < 1e-7);
  BOOST_TEST(relative_error(value(F::mish, F::one, 1), exact * at::mish(exact)) < 3e-7);
  BOOST_TEST(relative_error(value(F::normal_cdf, F::one, 1), at::gelu(exact)) < 3e-7);  // paUnit
  for (const F gate : all_functions()) {
    BOOST_TEST(testing::same_bits(value(gate, F::one, 0), h));  // the identity: a linear MLP
  }
}

BOOST_AUTO_TEST_CASE(activations_are_those_of_torch) {
  on_every_instruction_set([] {
    const at::Tensor h = at::linspace(-14, 14, 28001);
    const at::Tensor exact = h.to(at::kDouble);
    const auto found = [&](F base) { return run(h, ops::GateSpec::activation(base)).value; };
    BOOST_TEST(worst(found(F::normal_cdf_tanh), at::gelu(exact, "tanh")) < 1e-6);
    BOOST_TEST(worst(found(F::sigmoid), at::silu(exact)) < 2e-6);
    BOOST_TEST(found(F::step).equal(at::relu(h)));
  });
}

BOOST_AUTO_TEST_CASE(linear_units_at_alpha_one_are_the_published_ones) {
  const at::Tensor x = normal({7, 33}, 1);
  const at::Tensor h = 2 * normal({7, 33}, 2);
  for (const auto type : {at::kFloat, at::kDouble}) {
    const auto unit = [&](F gate, double alpha) {
      return ops::gate(x.to(type), h.to(type), {gate, F::one, alpha});
    };
    const double limit = type == at::kFloat ? 3e-7 : 1e-15;
    BOOST_TEST(relative_error(unit(F::sigmoid, 1), x * at::sigmoid(h)) < limit);         // GLU
    BOOST_TEST(relative_error(unit(F::silu, 1), x * at::silu(h)) < limit);               // SwiGLU
    BOOST_TEST(relative_error(unit(F::gelu, 1), x * at::gelu(h)) < limit);               // GEGLU
    BOOST_TEST(relative_error(unit(F::gelu_tanh, 1), x * at::gelu(h, "tanh")) < limit);  // T5 v1.1
    BOOST_TEST(relative_error(unit(F::relu, 1), x * at::relu(h)) < limit);               // ReGLU
    BOOST_TEST(relative_error(unit(F::tanh, 1), x * at::tanh(h)) < limit);  // GTU's gate
    for (const F gate : all_functions()) {
      BOOST_TEST(testing::same_bits(unit(gate, 0), x.to(type)));  // linear
    }
  }
}

BOOST_AUTO_TEST_CASE(a_linear_unit_of_one_tensor_is_the_self_gate) {
  on_every_instruction_set([] {
    const at::Tensor h = 3 * normal({5, 131}).to(at::kFloat);
    for (const auto& spec : all_gates()) {
      const Tensors self = value_and_gradients(
          [&](const Tensors& in) { return ops::gate(in[0], spec); }, {h}, at::ones({}), at::kFloat);
      const Tensors two =
          value_and_gradients([&](const Tensors& in) { return ops::gate(in[0], in[1], spec); },
                              {h, h}, at::ones({}), at::kFloat);
      BOOST_TEST(testing::same_bits(self[0], two[0]), describe(spec));
      BOOST_TEST(relative_error(two[1] + two[2], self[1]) < 1e-6, describe(spec));
    }
  });
}

BOOST_AUTO_TEST_CASE(tanh_is_accurate_over_its_range) {
  on_every_instruction_set([] {
    const at::Tensor h = at::linspace(-12, 12, 240001);
    const at::Tensor y = ops::gate_function(h, F::tanh);
    double worst_relative = 0;
    for (std::int64_t i = 0; i < h.numel(); ++i) {
      const double x = h.data_ptr<float>()[i];
      if (x == 0) continue;
      worst_relative = std::max(
          worst_relative, std::abs(static_cast<double>(y.data_ptr<float>()[i]) / std::tanh(x) - 1));
    }
    BOOST_TEST(worst_relative < 4e-7);
  });
}

BOOST_AUTO_TEST_CASE(gelu_is_that_of_torch) {
  on_every_instruction_set([] {
    const at::Tensor h = at::linspace(-14, 14, 280001);
    const at::Tensor exact = h.to(at::kDouble).set_requires_grad(true);
    const at::Tensor expected = at::gelu(exact);
    expected.backward(at::ones_like(expected));
    const ValueAndSlope found = run(h, {});
    BOOST_TEST(worst(found.value, expected.detach()) < 1e-6);  // values up to 14: half an ulp there
    BOOST_TEST(worst(found.slope, exact.grad()) < 4e-7);
  });
}

BOOST_AUTO_TEST_CASE(the_normal_distribution_is_accurate_over_its_range) {
  on_every_instruction_set([] {
    // gelu(h) / h = Phi(h). In units of 2^-24, the spacing of floats below 1, and, in the lower
    // tail, relative to the value itself: 1 + erf would keep no digit there.
    double worst_absolute = 0;
    double worst_relative = 0;
    const at::Tensor h = at::linspace(-12, 12, 240001);
    const at::Tensor y = ops::gate(h, {});
    const auto* h_data = h.data_ptr<float>();
    const auto* y_data = y.data_ptr<float>();
    for (std::int64_t i = 0; i < h.numel(); ++i) {
      if (h_data[i] == 0) continue;
      const double x = h_data[i];
      const double found = static_cast<double>(y_data[i]) / x;
      const double truth = 0.5 * std::erfc(-x / std::numbers::sqrt2);
      worst_absolute = std::max(worst_absolute, std::abs(found - truth));
      if (x < 0 && x > -5) worst_relative = std::max(worst_relative, std::abs(found / truth - 1));
    }
    BOOST_TEST(worst_absolute * 0x1p24 < 4);
    BOOST_TEST(worst_relative < 2e-6);
  });
}

BOOST_AUTO_TEST_CASE(the_sigmoid_is_accurate_over_its_range) {
  on_every_instruction_set([] {
    double worst_relative = 0;
    const at::Tensor h = at::linspace(-80, 80, 160001);
    const at::Tensor y = ops::gate(h, {F::sigmoid, F::one, 1});
    const auto* h_data = h.data_ptr<float>();
    const auto* y_data = y.data_ptr<float>();
    for (std::int64_t i = 0; i < h.numel(); ++i) {
      const double x = h_data[i];
      if (x == 0) continue;
      const double truth = 1 / (1 + std::exp(-x));
      worst_relative =
          std::max(worst_relative, std::abs(static_cast<double>(y_data[i]) / x / truth - 1));
    }
    BOOST_TEST(worst_relative < 4e-7);
  });
}

BOOST_AUTO_TEST_CASE(far_from_zero_the_units_take_their_limits) {
  on_every_instruction_set([] {
    const at::Tensor far = at::tensor({-200.0F, 200.0F});
    const auto at_ends = [&](const ops::GateSpec& spec) {
      const at::Tensor y = ops::gate(far, spec);
      return std::pair(y[0].item<float>(), y[1].item<float>());
    };
    BOOST_TEST((at_ends({}) == std::pair(-0.0F, 200.0F)));
    BOOST_TEST((at_ends({F::sigmoid, F::one, 1}) == std::pair(-0.0F, 200.0F)));
    BOOST_TEST((at_ends({F::sigmoid, F::one, 0.5}) == std::pair(-100.0F, 200.0F)));
  });
}

BOOST_AUTO_TEST_SUITE_END()
