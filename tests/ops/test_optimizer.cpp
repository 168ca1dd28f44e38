// AdamW, the norm and the rotary tables.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(optimizer)

namespace {

constexpr std::int64_t kLength = 1003;  // no multiple of a vector
constexpr int kSteps = 20;
constexpr double kScale = 0.7;
const ops::AdamWSettings kSettings{3e-3, 0.9, 0.99, 1e-8, 0.1};

Tensors gradients() {
  Tensors all;
  for (int step = 0; step < kSteps; ++step) {
    all.push_back((0.1 * normal({kLength}, static_cast<std::uint64_t>(100 + step))).to(at::kFloat));
  }
  return all;
}

/// Parameter and moments after kSteps.
Tensors run_operator() {
  Tensors state = {normal({kLength}).to(at::kFloat), at::zeros({kLength}), at::zeros({kLength})};
  const Tensors gradient = gradients();
  for (int step = 1; step <= kSteps; ++step) {
    ops::adamw_step(state[0], state[1], state[2], gradient[static_cast<std::size_t>(step - 1)],
                    kScale, step, kSettings);
  }
  return state;
}

}  // namespace

BOOST_AUTO_TEST_CASE(adamw_follows_the_published_algorithm_in_double) {
  const Tensors found = run_operator();
  const Tensors gradient = gradients();
  const at::Tensor start = normal({kLength});
  const auto& s = kSettings;
  double worst = 0;
  for (std::int64_t i = 0; i < kLength; ++i) {
    double parameter = start.data_ptr<double>()[i];
    double m = 0;
    double v = 0;
    for (int step = 1; step <= kSteps; ++step) {
      const double g = gradient[static_cast<std::size_t>(step - 1)].data_ptr<float>()[i] * kScale;
      m = s.beta1 * m + (1 - s.beta1) * g;
      v = s.beta2 * v + (1 - s.beta2) * g * g;
      const double m_hat = m / (1 - std::pow(s.beta1, step));
      const double v_hat = v / (1 - std::pow(s.beta2, step));
      parameter -= s.lr * (m_hat / (std::sqrt(v_hat) + s.eps) + s.weight_decay * parameter);
    }
    worst = std::max(worst, std::abs(found[0].data_ptr<float>()[i] - parameter));
  }
  BOOST_TEST(worst < 3e-6);
}

BOOST_AUTO_TEST_CASE(adamw_takes_the_steps_of_torch) {
  const Tensors found = run_operator();
  const Tensors gradient = gradients();
  at::Tensor parameter = normal({kLength}).to(at::kFloat);
  at::Tensor m = at::zeros({kLength});
  at::Tensor v = at::zeros({kLength});
  const auto& s = kSettings;
  for (int step = 1; step <= kSteps; ++step) {
    const at::Tensor g = gradient[static_cast<std::size_t>(step - 1)] * kScale;
    parameter.mul_(1 - s.lr * s.weight_decay);
    m.mul_(s.beta1).add_(g, 1 - s.beta1);
    v.mul_(s.beta2).addcmul_(g, g, 1 - s.beta2);
    const at::Tensor denominator =
        v.sqrt().div_(std::sqrt(1 - std::pow(s.beta2, step))).add_(s.eps);
    parameter.addcdiv_(m, denominator, -s.lr / (1 - std::pow(s.beta1, step)));
  }
  BOOST_TEST(relative_error(found[0], parameter) < 5e-7);
  BOOST_TEST(relative_error(found[1], m) < 1e-7);
  BOOST_TEST(relative_error(found[2], v) < 1e-7);
}

BOOST_AUTO_TEST_CASE(adamw_gives_the_same_bits_on_every_instruction_set) {
  const Tensors best = run_operator();
  on_every_instruction_set([&] {
    const Tensors found = run_operator();
    for (std::size_t i = 0; i < best.size(); ++i) BOOST_TEST(same_bits(found[i], best[i]));
  });
}

BOOST_AUTO_TEST_CASE(adamw_keeps_a_nan_to_its_element) {
  at::Tensor parameter = at::ones({37});
  at::Tensor m = at::zeros({37});
  at::Tensor v = at::zeros({37});
  at::Tensor gradient = at::ones({37});
  gradient[35] = std::nanf("");
  ops::adamw_step(parameter, m, v, gradient, 1, 1, kSettings);
  BOOST_TEST(parameter.isnan().sum().item<std::int64_t>() == 1);
  BOOST_TEST(std::isnan(parameter[35].item<float>()));
}

BOOST_AUTO_TEST_CASE(adamw_refuses_what_it_cannot_do_in_place) {
  at::Tensor p = at::zeros({4});
  at::Tensor m = at::zeros({4});
  at::Tensor v = at::zeros({4});
  const auto step = [&](const at::Tensor& gradient, std::int64_t number) {
    return [&, gradient, number] { ops::adamw_step(p, m, v, gradient, 1, number, kSettings); };
  };
  check_error(step(at::zeros({5}), 1), ExitCode::internal, {"gradient", "(5)", "vector of 4"});
  check_error(step(at::zeros({8}).slice(0, 0, 8, 2), 1), ExitCode::internal, {"contiguous"});
  check_error(step(at::zeros({4}, at::kDouble), 1), ExitCode::internal, {"float32"});
  check_error(step(at::zeros({4}), 0), ExitCode::internal, {"from 1"});
}

BOOST_AUTO_TEST_CASE(adamw_of_other_devices_is_the_same_step) {
  at::Tensor p = normal({1003}).to(at::kFloat);
  at::Tensor m = at::zeros_like(p);
  at::Tensor v = at::zeros_like(p);
  at::Tensor other_p = p.clone();
  at::Tensor other_m = m.clone();
  at::Tensor other_v = v.clone();
  for (std::int64_t step = 1; step <= 20; ++step) {
    const at::Tensor gradient = normal({1003}).to(at::kFloat);
    ops::adamw_step(p, m, v, gradient, 0.3, step, kSettings);
    ops::reference::adamw_step(other_p, other_m, other_v, gradient, 0.3, step, kSettings);
  }
  BOOST_TEST((p - other_p).abs().max().item<double>() < 1e-6);
  BOOST_TEST((m - other_m).abs().max().item<double>() < 1e-6);
  BOOST_TEST((v - other_v).abs().max().item<double>() < 1e-6);
}

BOOST_AUTO_TEST_CASE(rotary_tables_hold_cosine_and_sine) {
  const auto rope = ops::make_rope(5, 6, 100, at::kDouble);
  BOOST_REQUIRE((rope.cos.sizes() == at::IntArrayRef{5, 3}));
  for (std::int64_t position = 0; position < 5; ++position) {
    for (std::int64_t i = 0; i < 3; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(100.0, -static_cast<double>(i) / 3.0);
      BOOST_TEST(rope.cos[position][i].item<double>() == std::cos(angle),
                 boost::test_tools::tolerance(1e-14));
      BOOST_TEST(rope.sin[position][i].item<double>() == std::sin(angle),
                 boost::test_tools::tolerance(1e-14));
    }
  }
  const auto rounded = ops::make_rope(5, 6, 100, at::kFloat);
  BOOST_TEST(same_bits(rounded.sin, rope.sin.to(at::kFloat)));
}

BOOST_AUTO_TEST_SUITE_END()
