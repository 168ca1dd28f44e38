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
using ops::GateForm;
using ops::GateUnit;

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

BOOST_AUTO_TEST_CASE(anchored_at_zero_is_gelu_bit_for_bit) {
  on_every_instruction_set([] {
    const ValueAndSlope gelu = run(sweep(), {});
    for (const auto unit :
         {GateUnit::paglu, GateUnit::pagelu, GateUnit::pareglu, GateUnit::pasilu}) {
      BOOST_TEST(same_bits(run(sweep(), {unit, GateForm::anchored, 0}), gelu));
    }
  });
}

BOOST_AUTO_TEST_CASE(gelu_does_not_read_alpha) {
  BOOST_TEST(same_bits(run(sweep(), {GateUnit::gelu, GateForm::self_gate, 0.1}),
                       run(sweep(), {GateUnit::gelu, GateForm::anchored, 0.9})));
}

BOOST_AUTO_TEST_CASE(self_gates_meet_their_known_ends) {
  const at::Tensor h = 3 * normal({1000}).to(at::kFloat);
  const auto value = [&](GateUnit unit, double alpha) {
    return run(h, {unit, GateForm::self_gate, alpha}).value;
  };
  const at::Tensor silu = at::silu(h.to(at::kDouble));
  BOOST_TEST(relative_error(value(GateUnit::paglu, 1), silu) < 1e-7);
  BOOST_TEST(relative_error(value(GateUnit::pasilu, 1), silu) < 1e-7);
  BOOST_TEST(relative_error(value(GateUnit::pasilu, 0), (h * h).to(at::kDouble)) < 1e-7);
  BOOST_TEST(relative_error(value(GateUnit::pareglu, 1), h * at::relu(h)) < 1e-7);
  BOOST_TEST(relative_error(value(GateUnit::pagelu, 1),
                            (h * at::gelu(h.to(at::kDouble))).to(at::kDouble)) < 3e-7);
  for (const auto unit : {GateUnit::paglu, GateUnit::pagelu, GateUnit::pareglu}) {
    BOOST_TEST(testing::same_bits(value(unit, 0), h));  // the identity: a linear MLP
  }
}

BOOST_AUTO_TEST_CASE(anchored_pasilu_is_anchored_paglu) {
  for (const double alpha : {0.3, 1.0}) {
    BOOST_TEST(same_bits(run(sweep(), {GateUnit::pasilu, GateForm::anchored, alpha}),
                         run(sweep(), {GateUnit::paglu, GateForm::anchored, alpha})));
  }
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
    const at::Tensor y = ops::gate(h, {GateUnit::paglu, GateForm::self_gate, 1});
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
    BOOST_TEST((at_ends({GateUnit::paglu, GateForm::self_gate, 1}) == std::pair(-0.0F, 200.0F)));
    BOOST_TEST(
        (at_ends({GateUnit::paglu, GateForm::self_gate, 0.5}) == std::pair(-100.0F, 200.0F)));
  });
}

BOOST_AUTO_TEST_SUITE_END()
