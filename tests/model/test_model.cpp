#define BOOST_TEST_MODULE model
#include <ATen/ATen.h>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "base/random.hpp"
#include "config/settings.hpp"
#include "model/parameters.hpp"
#include "model/transformer.hpp"

namespace {

using pg::config::GateSettings;
using pg::config::ModelSettings;
using pg::model::ParameterSet;
using pg::model::Transformer;

ModelSettings upstream() {
  ModelSettings model;
  model.d_ff = 256;
  model.positions = "none";
  model.causal = false;
  model.tied_embeddings = false;
  return model;
}

std::int64_t count(const ModelSettings& model, const GateSettings& gate = {}) {
  std::int64_t total = 0;
  for (const auto& spec : Transformer(model, gate, 65, 256).parameter_specs()) {
    total += spec.n_elements();
  }
  return total;
}

at::Tensor tokens(std::int64_t b, std::int64_t t, std::int64_t vocabulary, std::uint64_t seed) {
  const pg::random::Stream stream(seed, pg::random::Purpose::test);
  at::Tensor result = at::empty({b, t}, at::kLong);
  for (std::int64_t i = 0; i < result.numel(); ++i) {
    result.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        stream.below(static_cast<std::uint64_t>(vocabulary), static_cast<std::uint64_t>(i)));
  }
  return result;
}

ModelSettings tiny() {
  ModelSettings model;
  model.n_layers = 2;
  model.d_model = 12;
  model.n_heads = 3;
  model.d_ff = 10;
  model.init_std = 0.5;  // far from the flat start, so that every term of the gradient counts
  return model;
}

}  // namespace

BOOST_AUTO_TEST_CASE(parameter_counts_equal_the_published_ones) {
  BOOST_TEST(count({}) == 135808);
  BOOST_TEST(count(upstream()) == 205504);
  GateSettings gate;
  gate.unit = "paglu";
  BOOST_TEST(count({}, gate) == 135808);  // the self-gate has no parameters of its own
}

BOOST_AUTO_TEST_CASE(initial_weights_follow_their_law_and_depend_on_name_and_seed_only) {
  const Transformer model({}, {}, 65, 256);
  const ParameterSet a(model.parameter_specs(), 42);
  const ParameterSet b(model.parameter_specs(), 42);
  const ParameterSet c(model.parameter_specs(), 43);
  BOOST_TEST(a.hash() == b.hash());
  BOOST_TEST(a.hash() != c.hash());

  const at::Tensor& embedding = a[a.index("embedding")];
  BOOST_TEST(embedding.std().item<double>() == 0.02, boost::test_tools::tolerance(0.05));
  const at::Tensor& qkv = a[a.index("blocks.1.attention_qkv")];
  BOOST_TEST(qkv.abs().max().item<double>() <= 0.125);  // 1 / sqrt(64)
  BOOST_TEST(qkv.std().item<double>() == 0.125 / std::sqrt(3.0),
             boost::test_tools::tolerance(0.05));
  BOOST_TEST(a[a.index("final_norm")].eq(1).all().item<bool>());
  BOOST_TEST(!a[a.index("blocks.0.mlp_up")].equal(a[a.index("blocks.1.mlp_up")]));

  // A deeper model starts with the same weights where it has the same tensors.
  ModelSettings deeper;
  deeper.n_layers = 5;
  const ParameterSet d(Transformer(deeper, {}, 65, 256).parameter_specs(), 42);
  BOOST_TEST(d[d.index("blocks.1.attention_qkv")].equal(qkv));

  const ParameterSet doubles(model.parameter_specs(), 42, at::kDouble);
  BOOST_TEST(doubles.values().to(at::kFloat).equal(a.values()));
}

// Gradients of whole networks against central differences in double precision.
namespace {
struct Case {
  const char* unit;
  const char* form;
  double alpha;
  bool upstream_shape;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.unit << " " << c.form << " " << c.alpha << (c.upstream_shape ? " upstream" : "");
}
const Case kCases[] = {{"gelu", "self_gate", 0.5, false},   {"gelu", "self_gate", 0.5, true},
                       {"paglu", "self_gate", 0.3, false},  {"paglu", "anchored", 0.3, false},
                       {"pagelu", "self_gate", 0.7, false}, {"pagelu", "anchored", 0.7, true},
                       {"pareglu", "self_gate", 0.5, true}, {"pareglu", "anchored", 0.5, false},
                       {"pasilu", "self_gate", 0.6, false}, {"pasilu", "anchored", 0.6, false}};
}  // namespace

BOOST_DATA_TEST_CASE(gradients_equal_finite_differences, boost::unit_test::data::make(kCases), c) {
  ModelSettings settings = tiny();
  if (c.upstream_shape) {
    settings.positions = "none";
    settings.causal = false;
    settings.tied_embeddings = false;
  }
  const Transformer model(settings, {c.unit, c.form, c.alpha}, 7, 9, at::kDouble);
  ParameterSet parameters(model.parameter_specs(), 3, at::kDouble);
  const at::Tensor inputs = tokens(2, 9, 7, 1);
  const at::Tensor targets = tokens(2, 9, 7, 2);
  model.loss_sum(parameters, inputs, targets).backward();
  const at::Tensor gradient = parameters.gradients().clone();

  const at::NoGradGuard no_grad;
  auto* values = parameters.values().data_ptr<double>();
  const auto loss = [&] { return model.loss_sum(parameters, inputs, targets).item<double>(); };
  double worst = 0;
  for (std::int64_t i = 0; i < parameters.n_parameters(); i += 5) {
    constexpr double kStep = 1e-5;
    const double kept = values[i];
    values[i] = kept + kStep;
    const double above = loss();
    values[i] = kept - kStep;
    const double below = loss();
    values[i] = kept;
    const double difference = (above - below) / (2 * kStep);
    worst = std::max(
        worst, std::abs(difference - gradient.data_ptr<double>()[i]) / (1 + std::abs(difference)));
  }
  BOOST_TEST(worst < 1e-7);
  BOOST_TEST(gradient.abs().max().item<double>() > 0.1);  // there was something to compare
}

BOOST_AUTO_TEST_CASE(float_path_agrees_with_double_path) {
  const Transformer fast(ModelSettings{}, {}, 65, 64);
  const Transformer exact(ModelSettings{}, {}, 65, 64, at::kDouble);
  ParameterSet p32(fast.parameter_specs(), 5);
  ParameterSet p64(exact.parameter_specs(), 5, at::kDouble);
  p64.values().copy_(p32.values());
  const at::Tensor inputs = tokens(3, 64, 65, 1);
  const at::Tensor targets = tokens(3, 64, 65, 2);
  const at::Tensor loss32 = fast.loss_sum(p32, inputs, targets);
  const at::Tensor loss64 = exact.loss_sum(p64, inputs, targets);
  BOOST_TEST(loss32.item<double>() == loss64.item<double>(), boost::test_tools::tolerance(1e-6));
  loss32.backward();
  loss64.backward();
  const at::Tensor error = p32.gradients().to(at::kDouble) - p64.gradients();
  BOOST_TEST((error.norm() / p64.gradients().norm()).item<double>() < 5e-6);
}

BOOST_AUTO_TEST_CASE(a_causal_model_does_not_see_the_future_and_the_upstream_one_does) {
  const auto change_of_first_half = [](const ModelSettings& settings) {
    const Transformer model(settings, {}, 11, 32);
    const ParameterSet parameters(model.parameter_specs(), 1);
    at::Tensor inputs = tokens(1, 32, 11, 1);
    const at::Tensor before = model.logits(parameters, inputs).narrow(1, 0, 16).clone();
    inputs.narrow(1, 16, 16).copy_(tokens(1, 16, 11, 9));
    const at::Tensor after = model.logits(parameters, inputs).narrow(1, 0, 16);
    return (before - after).abs().max().item<double>();
  };
  BOOST_TEST(change_of_first_half({}) == 0.0);
  BOOST_TEST(change_of_first_half(upstream()) > 1e-6);
}

BOOST_AUTO_TEST_CASE(anchored_gates_at_alpha_zero_are_the_vanilla_network_bit_for_bit) {
  const at::Tensor inputs = tokens(2, 40, 13, 4);
  const at::Tensor targets = tokens(2, 40, 13, 5);
  const auto gradients = [&](const GateSettings& gate) {
    const Transformer model({}, gate, 13, 40);
    ParameterSet parameters(model.parameter_specs(), 1);
    model.loss_sum(parameters, inputs, targets).backward();
    return parameters.gradients().clone();
  };
  const at::Tensor vanilla = gradients({});
  for (const char* unit : {"paglu", "pagelu", "pareglu", "pasilu"}) {
    BOOST_TEST(vanilla.equal(gradients({unit, "anchored", 0.0})), unit);
    BOOST_TEST(!vanilla.equal(gradients({unit, "anchored", 0.5})), unit);
  }
}
