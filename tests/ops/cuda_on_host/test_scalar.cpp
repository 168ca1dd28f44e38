// The formulas as single floats, which is how a GPU runs them, against double precision.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "ops/fast.hpp"
#include "ops/reference.hpp"
#include "ops/scalar.hpp"
#include "ops/tensors.hpp"

using namespace pg;
using namespace pg::testing;
namespace scalar = pg::ops::scalar;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// A dense sweep with the points where formulas change: zero, denormal, tiny and huge values.
at::Tensor sweep() {
  return at::cat({at::linspace(-14, 14, 28001), at::linspace(-100, 100, 4001),
                  at::tensor({0.0F, -0.0F, 1e-45F, -1e-45F, 1e-38F, -1e-38F, 1e-30F, -1e-30F, 80.0F,
                              -80.0F, 0.625F, 87.3F, -87.3F, 88.3F, -88.3F, 1e10F, -1e10F})});
}

scalar::Factor at_point(ops::GateFunction f, float h) {
  return scalar::factor_of(f, h);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_gate_function_and_slope_is_that_of_double_precision) {
  const at::Tensor h = sweep();
  for (const auto f : all_functions()) {
    const Tensors truth = value_and_gradients(
        [f](const Tensors& in) {
          const auto spec = ops::GateSpec::activation(f);
          return ops::reference::gate(at::ones_like(in[0]), in[0], spec) + 0 * in[0];
        },
        {h}, at::ones({}), at::kDouble);
    double worst_value = 0;
    double worst_slope = 0;
    for (std::int64_t i = 0; i < h.numel(); ++i) {
      const scalar::Factor found = at_point(f, h.data_ptr<float>()[i]);
      const auto error = [&](float value, const at::Tensor& expected) {
        const double exact = expected.data_ptr<double>()[i];
        const double off = std::abs(static_cast<double>(value) - exact);
        // A slope of h F(h) has the error of F's slope times h.
        return off / std::max({1.0, std::abs(exact), std::abs(double{h.data_ptr<float>()[i]})});
      };
      worst_value = std::max(worst_value, error(found.value, truth[0]));
      worst_slope = std::max(worst_slope, error(found.slope, truth[1]));
    }
    BOOST_TEST(worst_value < 3e-7, "function " << static_cast<int>(f) << ": " << worst_value);
    BOOST_TEST(worst_slope < 6e-7, "function " << static_cast<int>(f) << ": " << worst_slope);
  }
}

BOOST_AUTO_TEST_CASE(exponential_and_normal_keep_their_digits_in_the_tails) {
  double worst_exp = 0;
  double worst_tail = 0;
  for (double x = -87; x < 88; x += 0.0137) {
    const auto rounded = static_cast<float>(x);
    const double exact = std::exp(static_cast<double>(rounded));
    worst_exp =
        std::max(worst_exp, std::abs(static_cast<double>(scalar::exp(rounded)) / exact - 1));
  }
  for (double x = -5; x < 0; x += 0.00137) {
    const auto rounded = static_cast<float>(x);
    const double exact = 0.5 * std::erfc(-static_cast<double>(rounded) / std::sqrt(2.0));
    worst_tail = std::max(worst_tail,
                          std::abs(static_cast<double>(scalar::normal(rounded).cdf) / exact - 1));
  }
  BOOST_TEST(worst_exp < 2.5e-7);
  BOOST_TEST(worst_tail < 2e-6);
}

BOOST_AUTO_TEST_CASE(nothing_hides_a_nan_or_an_infinity) {
  for (const auto f : all_functions()) {
    const bool constant = f == ops::GateFunction::one;
    BOOST_TEST(std::isnan(at_point(f, kNan).value) == !constant, static_cast<int>(f));
    // The same bits as the vectors' at both ends, whatever they are.
    const at::Tensor ends =
        at::tensor({kInfinity, -kInfinity, kNan, 1e30F, -1e30F, 200.0F, -200.0F});
    const at::Tensor vectors =
        ops::fast::gate(at::ones_like(ends), ends, ops::GateSpec::activation(f));
    for (std::int64_t i = 0; i < ends.numel(); ++i) {
      const float found = at_point(f, ends.data_ptr<float>()[i]).value;
      const float expected = vectors.data_ptr<float>()[i];
      BOOST_TEST((found == expected || (std::isnan(found) && std::isnan(expected))),
                 "function " << static_cast<int>(f) << " at " << ends.data_ptr<float>()[i] << ": "
                             << found << ", not " << expected);
    }
  }
}
