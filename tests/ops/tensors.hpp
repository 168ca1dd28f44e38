// Random tensors and the two comparisons that every operator test needs.
#pragma once

#include <ATen/ATen.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "ops/gate_spec.hpp"

namespace pg::testing {

using Tensors = std::vector<at::Tensor>;
/// A differentiable function of some tensors.
using Operator = std::function<at::Tensor(const Tensors&)>;

/// The same normal numbers on every call; double values that float holds exactly.
inline at::Tensor normal(at::IntArrayRef sizes, std::uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn(sizes).to(at::kDouble);
}

inline double relative_error(const at::Tensor& found, const at::Tensor& truth) {
  BOOST_REQUIRE(found.sizes() == truth.sizes());
  const at::Tensor expected = truth.to(at::kDouble);
  const double size = expected.norm().item<double>();
  return (found.cpu().to(at::kDouble) - expected).norm().item<double>() / (size > 0 ? size : 1);
}

/// Equal to the last bit (so -0 is not 0).
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().cpu().contiguous();
  const at::Tensor y = b.detach().cpu().contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         (x.numel() == 0 || std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) == 0);
}

/// The value of an operator, then the gradients of sum(value * weight) for each input.
inline Tensors value_and_gradients(const Operator& op, const Tensors& inputs,
                                   const at::Tensor& weight, at::ScalarType type,
                                   at::Device device = at::kCPU) {
  Tensors leaves;
  for (const auto& input : inputs) {
    leaves.push_back(input.detach().to(device, type).clone().set_requires_grad(true));
  }
  const at::Tensor value = op(leaves);
  value.backward(weight.to(value.options()).expand_as(value));
  Tensors results = {value.detach()};
  for (const auto& leaf : leaves) results.push_back(leaf.grad());
  return results;
}

inline const std::vector<ops::GateFunction>& all_functions() {
  using F = ops::GateFunction;
  static const std::vector<F> functions = {F::one,  F::identity,  F::step,       F::sigmoid,
                                           F::tanh, F::relu,      F::normal_cdf, F::normal_cdf_tanh,
                                           F::gelu, F::gelu_tanh, F::silu,       F::mish};
  return functions;
}

/// Every function as a base alone, and every pair of gate and base that units have.
inline std::vector<ops::GateSpec> all_gates() {
  using F = ops::GateFunction;
  std::vector<ops::GateSpec> specs;
  for (const F f : all_functions()) specs.push_back(ops::GateSpec::activation(f));
  for (const F gate : all_functions()) {
    for (const F base :
         {F::one, F::identity, F::normal_cdf, F::normal_cdf_tanh, F::step, F::sigmoid}) {
      for (const double alpha : {0.25, 0.8, 1.0}) specs.push_back({gate, base, alpha});
    }
  }
  return specs;
}

inline std::string describe(const ops::GateSpec& spec) {
  return "gate " + std::to_string(static_cast<int>(spec.gate)) + ", base " +
         std::to_string(static_cast<int>(spec.base)) + ", alpha " + std::to_string(spec.alpha);
}

}  // namespace pg::testing
