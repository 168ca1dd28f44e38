// The kernels for a GPU, compiled for the host with a runtime of threads that take turns
// (cuda_runtime.h here), against the reference in double precision and the bits of the CPU's own.
#define BOOST_TEST_MODULE cuda_on_host
#include <boost/test/unit_test.hpp>
#include <stdexcept>

#include "cuda_runtime.h"
#include "ops/cuda/cuda.hpp"
#include "ops/cuda/library_attention.hpp"
#include "ops/cuda/loss_pieces.hpp"
#include "ops/cuda/on_device.hpp"
#include "ops/cuda_on_host/library_attention.hpp"
#include "ops/fast.hpp"
#include "ops/gpu_cases.hpp"

using namespace pg;
using namespace pg::testing;

namespace pg::ops::cuda {

kernels::Stream current_stream(const at::Tensor& /*x*/) {
  return nullptr;
}

}  // namespace pg::ops::cuda

namespace {

struct OnHost {
  template <class... Arguments>
  static at::Tensor gate(const Arguments&... arguments) {
    return ops::cuda::gate(arguments...);
  }
  static at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const ops::GateSpec& spec) {
    return ops::cuda::gate(x, h, spec);
  }
  static constexpr auto rms_norm = &ops::cuda::rms_norm;
  static constexpr auto layer_norm = &ops::cuda::layer_norm;
  static constexpr auto dropout = &ops::cuda::dropout;
  static constexpr auto cross_entropy_sum = &ops::cuda::cross_entropy_sum;
  static constexpr auto resolvent = &ops::cuda::resolvent;
};

/// Some threads pass a barrier that the others do not reach.
void diverging_kernel() {
  if (threadIdx.x % 2 == 0) __syncthreads();
}

bool fuses(const std::string& instruction_set) {
  return instruction_set.find("AVX") != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_operator_computes_what_the_reference_does) {
  for (const OperatorCase& one : OperatorCases<OnHost>::all()) check_case(one, at::kCPU);
}

BOOST_AUTO_TEST_CASE(attention_computes_what_the_reference_does) {
  for (const AttentionCase& one : attention_cases()) {
    check_case(one.with(&ops::cuda::attention, ops::Precision::float32), at::kCPU);
  }
}

#ifdef PG_LIBRARY_ATTENTION

BOOST_AUTO_TEST_CASE(attention_takes_the_kernel_of_its_type) {
  const auto run = [](const AttentionCase& one, ops::Precision precision, double limit) {
    library_calls() = {};
    OperatorCase rounded = one.with(&ops::cuda::attention, precision);
    rounded.limit = limit;
    check_case(rounded, at::kCPU);
    return std::pair(library_calls().flash, library_calls().efficient);
  };
  const auto none = std::pair(0, 0);
  const auto flash = std::pair(2, 0);
  const auto efficient = std::pair(0, 2);
  const auto half = ops::Precision::bfloat16;
  const auto whole = ops::Precision::float32;
  const AttentionCase plain{31, 31, 4, 2, 16, true, true};
  BOOST_TEST((run(plain, half, 0x1p-6) == flash));
  BOOST_TEST((run(plain, whole, 3e-6) == efficient));
  const AttentionCase biased{31, 19, 2, 1, 16, false, false, true, 1};
  BOOST_TEST((run(biased, half, 0x1p-6) == efficient));
  BOOST_TEST((run(biased, whole, 3e-6) == efficient));
  const AttentionCase causal{31, 31, 2, 2, 16, true, false, true, 1};
  BOOST_TEST((run(causal, whole, 3e-6) == efficient));
  // Rows of 12 floats are whole moves of 16 bytes, of 12 halves they are not.
  const AttentionCase odd{31, 31, 2, 2, 12, true};
  BOOST_TEST((run(odd, half, 3e-6) == efficient));
  const AttentionCase odder{31, 31, 2, 2, 6, true};
  BOOST_TEST((run(odder, half, 3e-6) == none));
  const AttentionCase dropped{31, 31, 2, 2, 16, true, false, false, 0, 0.2};
  BOOST_TEST((run(dropped, half, 3e-6) == none));
  BOOST_TEST(!at::globalContext().deterministicAlgorithms());
}

BOOST_AUTO_TEST_CASE(attention_in_half_precision_is_off_by_its_rounding) {
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    for (const auto& one : half_precision_cases(&ops::cuda::attention, precision)) {
      check_case(one, at::kCPU);
    }
  }
}

#endif

BOOST_AUTO_TEST_CASE(products_in_half_precision_are_sums_of_rounded_factors) {
  const auto linear = [](const at::Tensor& x, const at::Tensor& w,
                         const std::optional<at::Tensor>& bias, ops::Precision precision) {
    return ops::cuda::linear_half(x, w, bias, ops::scalar_type(precision));
  };
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    for (const auto& one : half_linear_cases(linear, precision)) check_case(one, at::kCPU);
  }
}

BOOST_AUTO_TEST_CASE(pieces_of_the_loss_compute_what_the_definition_does) {
  constexpr std::int64_t n = 9, v = 301, d = 10;
  const at::Tensor targets = at::arange(n, at::kLong).mul(37).remainder(v);
  const Tensors inputs = {normal({n, d}), normal({v, d}, 2), normal({v}, 3)};
  const auto check = [&](ops::Precision precision, double smoothing, double limit) {
    const auto type = precision == ops::Precision::float32 ? at::kDouble : at::kBFloat16;
    const Tensors expected = value_and_gradients(
        [&](const Tensors& in) {
          return ops::reference::cross_entropy_sum(linear_of_rounded(in[0], in[1], in[2], type),
                                                   targets, smoothing);
        },
        inputs, at::ones({}), at::kDouble);
    const ops::ChunkedLossInputs given{inputs[0].to(at::kFloat),
                                       inputs[1].to(at::kFloat),
                                       inputs[2].to(at::kFloat),
                                       targets,
                                       smoothing,
                                       precision};
    const auto totals = [&] {
      return ops::ChunkedLossTotals{at::empty({n, d}), at::empty({v, d}), at::empty({v})};
    };
    const auto whole = totals();
    const at::Tensor loss = ops::sum_of_pieces<ops::cuda::Pieces>(given, whole);
    BOOST_TEST(relative_error(loss, expected[0]) < 1e-6);
    BOOST_TEST(relative_error(whole.dx_nd, expected[1]) < limit);
    BOOST_TEST(relative_error(whole.dw_vd, expected[2]) < limit);
    BOOST_TEST(relative_error(whole.dbias_v, expected[3]) < limit);
    const ops::cuda::Pieces pieces(given);
    const auto sum = totals();
    const at::Tensor first = pieces({0, 5}, sum);
    const at::Tensor second = pieces({5, 4}, sum);
    BOOST_TEST(relative_error(first + second, loss) < 1e-12);
    BOOST_TEST(relative_error(sum.dx_nd, whole.dx_nd) < 1e-6);
    BOOST_TEST(relative_error(sum.dw_vd, whole.dw_vd) < 1e-6);
    BOOST_TEST(relative_error(sum.dbias_v, whole.dbias_v) < 1e-6);
    BOOST_TEST(same_bits(pieces({0, n}, {}), loss));  // nobody asks for gradients
  };
  for (const double smoothing : {0.0, 0.1}) {
    check(ops::Precision::float32, smoothing, 1e-6);
    check(ops::Precision::bfloat16, smoothing, 2e-4);
  }
}

BOOST_AUTO_TEST_CASE(one_formula_gives_one_set_of_bits) {
  if (!fuses(ops::instruction_set())) return;  // there a product and a sum round twice
  const at::Tensor weight = normal({3, 301}, 4);
  const auto same = [&](const std::string& name, const Operator& a, const Operator& b,
                        const Tensors& inputs) {
    const Tensors found = value_and_gradients(a, inputs, weight, at::kFloat);
    const Tensors expected = value_and_gradients(b, inputs, weight, at::kFloat);
    for (std::size_t i = 0; i < found.size(); ++i) {
      BOOST_TEST(same_bits(found[i], expected[i]), name << ", result " << i);
    }
  };
  for (const auto& spec : all_gates()) {
    same(
        describe(spec), [&](const Tensors& in) { return ops::cuda::gate(in[0], spec); },
        [&](const Tensors& in) { return ops::fast::gate(in[0], spec); }, {4 * normal({3, 301})});
    same(
        describe(spec) + ", linear unit",
        [&](const Tensors& in) { return ops::cuda::gate(in[0], in[1], spec); },
        [&](const Tensors& in) { return ops::fast::gate(in[0], in[1], spec); },
        {normal({3, 301}), 4 * normal({3, 301}, 2)});
  }
  const ops::DropoutSite site{0.3, 5, 6, 7, 3};
  same(
      "dropout", [&](const Tensors& in) { return ops::cuda::dropout(in[0], site); },
      [&](const Tensors& in) { return ops::fast::dropout(in[0], site); }, {normal({3, 301})});
}

BOOST_AUTO_TEST_CASE(the_resolvent_has_the_bits_of_the_cpu) {
  for (const bool causal : {true, false}) {
    const auto run = [&](auto resolvent) {
      return value_and_gradients(
          [&](const Tensors& in) {
            return resolvent(in[0], causal, ops::ResolventGradient::exact);
          },
          {normal({7, 41})}, normal({7, 41, 2}, 2), at::kFloat);
    };
    const Tensors found = run(ops::cuda::resolvent);
    const Tensors expected = run(ops::fast::resolvent);
    BOOST_TEST(same_bits(found[0], expected[0]));
    BOOST_TEST(same_bits(found[1], expected[1]));
  }
}

BOOST_AUTO_TEST_CASE(adamw_has_the_bits_of_the_cpu) {
  const auto run = [](auto step) {
    at::Tensor parameter = normal({1000}).to(at::kFloat);
    at::Tensor moment1 = at::zeros({1000});
    at::Tensor moment2 = at::zeros({1000});
    for (std::int64_t t = 1; t <= 5; ++t) {
      const at::Tensor gradient = normal({1000}, 10 + static_cast<std::uint64_t>(t)).to(at::kFloat);
      step(parameter, moment1, moment2, gradient, 0.5, t, {1e-2, 0.9, 0.999, 1e-8, 0.1});
    }
    return Tensors{parameter, moment1, moment2};
  };
  const Tensors found = run(ops::cuda::adamw_step);
  const Tensors expected = run(ops::adamw_step);
  for (std::size_t i = 0; i < found.size(); ++i) BOOST_TEST(same_bits(found[i], expected[i]));
}

BOOST_AUTO_TEST_CASE(values_that_are_not_finite_stay_visible) {
  const auto loss = [](std::initializer_list<float> logits) {
    const at::Tensor row = at::tensor(logits).unsqueeze(0);
    return ops::cuda::cross_entropy_sum(row, at::zeros({1}, at::kLong), 0).item<double>();
  };
  BOOST_TEST(std::isnan(loss({kInfinity, 0})));
  BOOST_TEST(std::isnan(loss({0, kInfinity})));
  BOOST_TEST(std::isnan(loss({0, kNan})));
  BOOST_TEST(std::isnan(loss({-kInfinity, -kInfinity})));
  BOOST_TEST(std::isinf(loss({-kInfinity, 0})));  // a probability of zero
  BOOST_TEST(loss({0, -kInfinity}) == 0);         // a probability of one
  at::Tensor x = normal({3, 300}).to(at::kFloat);
  x[1][270] = kNan;
  BOOST_TEST(ops::cuda::rms_norm(x, at::ones({300}), 1e-6).isnan().sum().item<int>() == 300);
  BOOST_TEST(ops::cuda::dropout(x, {0.999}).isnan().sum().item<int>() == 1);
}

BOOST_AUTO_TEST_CASE(empty_tensors_start_no_kernel) {
  for (const auto& sizes : {std::vector<std::int64_t>{0, 12}, {3, 0}}) {
    const at::Tensor x = at::zeros(sizes).set_requires_grad(true);
    const at::Tensor scale = at::ones({sizes[1]}).set_requires_grad(true);
    const at::Tensor y =
        ops::cuda::rms_norm(ops::cuda::dropout(ops::cuda::gate(x, {}), {0.5}), scale, 1e-6);
    y.sum().backward();
    BOOST_TEST(x.grad().sizes() == x.sizes());
    BOOST_TEST(same_bits(scale.grad(), at::zeros({sizes[1]})));
    const at::Tensor v = at::zeros(sizes).set_requires_grad(true);
    ops::cuda::resolvent(v, false, ops::ResolventGradient::exact).sum().backward();
    BOOST_TEST(v.grad().sizes() == v.sizes());
  }
  const at::Tensor none = at::zeros({0}, at::kLong);
  BOOST_TEST(ops::cuda::cross_entropy_sum(at::zeros({0, 5}), none, 0).item<double>() == 0);
}

BOOST_AUTO_TEST_CASE(sums_of_squares_are_exact) {
  check_squares(&ops::cuda::add_squares, at::kCPU);
}

BOOST_AUTO_TEST_CASE(the_runtime_of_this_test_sees_threads_that_miss_a_barrier) {
  cudaLaunchConfig_t config;
  config.blockDim = dim3(4);
  BOOST_CHECK_THROW(cudaLaunchKernelEx(&config, diverging_kernel), std::logic_error);
}
