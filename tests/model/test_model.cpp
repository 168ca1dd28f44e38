#define BOOST_TEST_MODULE model
#include <ATen/ATen.h>

#include <sched.h>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <optional>
#include <string>

#include "base/random.hpp"
#include "config/settings.hpp"
#include "model/families.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"

namespace {

using pg::config::GateSettings;
using pg::config::ModelSettings;
using pg::model::DropoutKey;
using pg::model::Network;
using pg::model::ParameterSet;

ModelSettings upstream() {
  ModelSettings model;
  model.d_ff = 256;
  model.positions = "none";
  model.causal = false;
  model.tied_embeddings = false;
  return model;
}

ModelSettings gpt() {
  ModelSettings model;
  model.arch = "gpt";
  model.d_ff = 256;
  model.positions = "learned";
  model.norm_eps = 1e-5;
  model.dropout = 0.1;
  return model;
}

/// Largest deviation of the gradient from central differences in double, relative to 1 + |it|, over
/// every fifth parameter; the loss is that of 2 sequences of 9 tokens among 7.
double worst_gradient(const ModelSettings& settings, const GateSettings& gate,
                      const std::optional<DropoutKey>& dropout = std::nullopt);

std::int64_t count(const ModelSettings& model, const GateSettings& gate = {}) {
  std::int64_t total = 0;
  for (const auto& spec : Network(model, gate, 65, 256).parameter_specs()) {
    total += spec.n_elements();
  }
  return total;
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

BOOST_AUTO_TEST_CASE(a_gpt_has_the_parameters_of_the_formula) {
  // L (12 d^2 + 13 d) + (V + context + 2) d, with d_ff = 4 d and a tied head.
  const auto formula = [](std::int64_t layers, std::int64_t d, std::int64_t v, std::int64_t t) {
    return layers * (12 * d * d + 13 * d) + (v + t + 2) * d;
  };
  BOOST_TEST(count(gpt()) == 220608);
  BOOST_TEST(count(gpt()) == formula(4, 64, 65, 256));
  ModelSettings small;  // GPT-2 small: its published count
  small.arch = "gpt";
  small.positions = "learned";
  small.n_layers = 12;
  small.d_model = 768;
  small.n_heads = 12;
  small.d_ff = 3072;
  std::int64_t total = 0;
  for (const auto& spec : Network(small, {}, 50257, 1024).parameter_specs()) {
    total += spec.n_elements();
  }
  BOOST_TEST(total == 124439808);
  ModelSettings untied = gpt();
  untied.tied_embeddings = false;
  BOOST_TEST(count(untied) == 220608 + 65 * 64);
  ModelSettings nano;
  nano.positions = "learned";
  BOOST_TEST(count(nano) == 135808 + 256 * 64);
}

BOOST_AUTO_TEST_CASE(a_gpt_starts_as_gpt_2_does) {
  ModelSettings settings = gpt();
  settings.d_model = 128;
  settings.init_std = 0.03;
  const Network model(settings, {}, 65, 256);
  const ParameterSet p(model.parameter_specs(), 42);
  for (const auto& spec : p.specs()) {
    BOOST_TEST_CONTEXT(spec.name) {
      const at::Tensor& tensor = p[p.index(spec.name)];
      const auto ends_with = [&](const std::string& word) {
        return spec.name.size() >= word.size() &&
               spec.name.substr(spec.name.size() - word.size()) == word;
      };
      if (ends_with("_bias")) {
        BOOST_TEST(tensor.eq(0).all().item<bool>());
      } else if (ends_with("_norm")) {
        BOOST_TEST(tensor.eq(1).all().item<bool>());
      } else {
        const bool branch = ends_with("attention_out") || ends_with("mlp_down");
        const double std = branch ? 0.03 / std::sqrt(8.0) : 0.03;
        BOOST_TEST(tensor.std().item<double>() == std, boost::test_tools::tolerance(0.03));
        BOOST_TEST(std::abs(tensor.mean().item<double>()) < 0.05 * std);
        BOOST_TEST(tensor.abs().max().item<double>() > 3 * std);  // a normal law, not a uniform one
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(initial_weights_follow_their_law_and_depend_on_name_and_seed_only) {
  const Network model({}, {}, 65, 256);
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
  const ParameterSet d(Network(deeper, {}, 65, 256).parameter_specs(), 42);
  BOOST_TEST(d[d.index("blocks.1.attention_qkv")].equal(qkv));

  const ParameterSet doubles(model.parameter_specs(), 42, at::kDouble);
  BOOST_TEST(doubles.values().to(at::kFloat).equal(a.values()));
}

BOOST_AUTO_TEST_CASE(initial_weights_are_the_stream_on_any_number_of_processors) {
  const std::int64_t n = 300'001;  // more than a thread's piece
  const std::vector<pg::model::ParameterSpec> specs = {{"w", {n}, pg::model::Init::normal(0.5)}};
  cpu_set_t before;
  BOOST_REQUIRE(::sched_getaffinity(0, sizeof(before), &before) == 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  const ParameterSet all(specs, 7);
  BOOST_REQUIRE(::sched_setaffinity(0, sizeof(one), &one) == 0);
  const ParameterSet alone(specs, 7);
  BOOST_TEST(::sched_setaffinity(0, sizeof(before), &before) == 0);
  BOOST_TEST(all.hash() == alone.hash());
  const pg::random::Stream stream(7, pg::random::Purpose::initial_weight,
                                  pg::random::name_hash("w"));
  const auto* values = all.values().data_ptr<float>();
  bool same = true;
  for (std::int64_t i = 0; i < n; ++i) {
    same = same && values[i] == static_cast<float>(0.5 * stream.normal(std::uint64_t(i)));
  }
  BOOST_TEST(same);
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
const Case kCases[] = {{"vanilla", "self_gate", 0.5, false}, {"vanilla", "self_gate", 0.5, true},
                       {"paglu", "self_gate", 0.3, false},   {"paglu", "anchored", 0.3, false},
                       {"pagelu", "self_gate", 0.7, false},  {"pagelu", "anchored", 0.7, true},
                       {"pareglu", "self_gate", 0.5, true},  {"pareglu", "anchored", 0.5, false},
                       {"pasilu", "self_gate", 0.6, false},  {"pasilu", "anchored", 0.6, false}};
}  // namespace

BOOST_DATA_TEST_CASE(gradients_equal_finite_differences, boost::unit_test::data::make(kCases), c) {
  ModelSettings settings = tiny();
  if (c.upstream_shape) {
    settings.positions = "none";
    settings.causal = false;
    settings.tied_embeddings = false;
  }
  BOOST_TEST(worst_gradient(settings, {c.unit, c.form, c.alpha}) < 1e-7);
}

namespace {
double worst_gradient(const ModelSettings& settings, const GateSettings& gate,
                      const std::optional<DropoutKey>& dropout) {
  const Network model(settings, gate, 7, 9, at::kDouble);
  ParameterSet parameters(model.parameter_specs(), 3, at::kDouble);
  return pg::testing::worst_gradient(
      model, parameters,
      {pg::testing::random_tokens(2, 9, 7, 1), pg::testing::random_tokens(2, 9, 7, 2), {}},
      {dropout}, 5);
}

ModelSettings tiny_gpt() {
  ModelSettings model = tiny();
  model.arch = "gpt";
  model.positions = "learned";
  model.dropout = 0.3;
  return model;
}
}  // namespace

BOOST_AUTO_TEST_CASE(gradients_of_a_gpt_equal_finite_differences_with_dropout_too) {
  const DropoutKey key{8, 3, 5};
  BOOST_TEST(worst_gradient(tiny_gpt(), {}) < 1e-7);
  BOOST_TEST(worst_gradient(tiny_gpt(), {}, key) < 1e-7);
  BOOST_TEST(worst_gradient(tiny_gpt(), {"paglu", "anchored", 0.3}, key) < 1e-7);
  ModelSettings untied = tiny_gpt();
  untied.tied_embeddings = false;
  BOOST_TEST(worst_gradient(untied, {}, key) < 1e-7);
  ModelSettings nano = tiny();
  nano.dropout = 0.3;
  BOOST_TEST(worst_gradient(nano, {}, key) < 1e-7);
  nano.positions = "learned";
  BOOST_TEST(worst_gradient(nano, {}, key) < 1e-7);
}

BOOST_AUTO_TEST_CASE(a_chunk_gets_the_dropout_of_its_slots) {
  const Network model(tiny_gpt(), {}, 7, 9, at::kDouble);
  const ParameterSet parameters(model.parameter_specs(), 3, at::kDouble);
  const at::Tensor inputs = pg::testing::random_tokens(8, 9, 7, 1);
  const at::NoGradGuard no_grad;
  const auto logits = [&](std::int64_t first, std::int64_t n, const DropoutKey& key) {
    return model.logits(parameters, {inputs.narrow(0, first, n), {}, {}}, {key});
  };
  const at::Tensor whole = logits(0, 8, {1, 2, 0});
  // Products of other sizes may round otherwise (not so here); another mask moves whole digits.
  const auto distance = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
  };
  for (const std::int64_t cut : {1, 3, 4}) {
    BOOST_TEST(distance(logits(0, cut, {1, 2, 0}), whole.narrow(0, 0, cut)) < 1e-12);
    BOOST_TEST(distance(logits(cut, 8 - cut, {1, 2, cut}), whole.narrow(0, cut, 8 - cut)) < 1e-12);
  }
  BOOST_TEST(distance(logits(4, 4, {1, 2, 0}), whole.narrow(0, 4, 4)) > 0.1);
  BOOST_TEST(distance(logits(0, 8, {2, 2, 0}), whole) > 0.1);
  BOOST_TEST(distance(logits(0, 8, {1, 3, 0}), whole) > 0.1);
}

BOOST_AUTO_TEST_CASE(dropout_acts_at_every_place_with_its_own_mask_and_only_in_training) {
  const at::Tensor inputs = pg::testing::random_tokens(3, 9, 7, 1);
  const auto logits = [&](ModelSettings settings, const std::optional<DropoutKey>& key) {
    const at::NoGradGuard no_grad;
    const Network model(settings, {}, 7, 9);
    const ParameterSet parameters(model.parameter_specs(), 3);
    return model.logits(parameters, {inputs, {}, {}}, {key});
  };
  for (ModelSettings settings : {tiny_gpt(), tiny()}) {
    settings.dropout = 0;
    const at::Tensor none = logits(settings, std::nullopt);
    BOOST_TEST(none.equal(logits(settings, DropoutKey{1, 2, 3})));  // p = 0: the same bits
    settings.dropout = 0.3;
    BOOST_TEST(none.equal(logits(settings, std::nullopt)));  // no key: an evaluation
    BOOST_TEST(!none.equal(logits(settings, DropoutKey{1, 2, 3})));
  }

  // The same network by hand, every place with its own number.
  const ModelSettings s = tiny_gpt();
  const Network model(s, {}, 7, 9, at::kDouble);
  ParameterSet parameters(model.parameter_specs(), 3, at::kDouble);
  const at::NoGradGuard no_grad;
  // Scales, biases and positions that count: the first ones would hide a missing one.
  for (std::size_t i = 0; i < parameters.specs().size(); ++i) {
    const auto& name = parameters.specs()[i].name;
    if (name.find("norm") == std::string::npos && name.find("bias") == std::string::npos) continue;
    at::Tensor leaf = parameters[i];
    leaf.add_(0.1 * at::arange(leaf.numel(), at::kDouble).add(static_cast<double>(i)).sin());
  }
  const auto p = [&](const std::string& name) { return parameters[parameters.index(name)]; };
  std::uint64_t place = 0;
  const auto drop = [&](const at::Tensor& x) {
    return pg::ops::dropout(x, {s.dropout, 1, 2, place++, 3});
  };
  const auto norm = [&](const at::Tensor& x, const std::string& name) {
    return at::layer_norm(x, {s.d_model}, p(name), p(name + "_bias"), s.norm_eps);
  };
  const auto linear = [&](const at::Tensor& x, const std::string& name) {
    return at::linear(x, p(name), p(name + "_bias"));
  };
  at::Tensor x = drop(at::embedding(p("embedding"), inputs) + p("positions"));
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    const at::Tensor qkv = linear(norm(x, block + "attention_norm"), block + "attention_qkv");
    const auto split = [&](std::int64_t part) {
      return qkv.narrow(2, part * 12, 12).view({3, 9, 3, 4}).transpose(1, 2);
    };
    at::Tensor scores = at::matmul(split(0), split(1).transpose(2, 3)) / 2.0;
    const at::Tensor future = at::ones({9, 9}, at::kBool).triu(1);
    const at::Tensor probabilities = drop(at::softmax(scores.masked_fill(future, -1e300), -1));
    const at::Tensor heads =
        at::matmul(probabilities, split(2)).transpose(1, 2).reshape({3, 9, 12});
    x = x + drop(linear(heads, block + "attention_out"));
    const at::Tensor h = at::gelu(linear(norm(x, block + "mlp_norm"), block + "mlp_up"));
    x = x + drop(linear(h, block + "mlp_down"));
  }
  const at::Tensor expected = at::matmul(norm(x, "final_norm"), p("embedding").t());
  const at::Tensor found = model.logits(parameters, {inputs, {}, {}}, {DropoutKey{1, 2, 3}});
  BOOST_TEST((found - expected).abs().max().item<double>() < 1e-12);
}

BOOST_DATA_TEST_CASE(float_path_agrees_with_double_path,
                     boost::unit_test::data::make({"nano", "gpt", "gpt with dropout"}), which) {
  const std::string name = which;
  const ModelSettings settings = name == "nano" ? ModelSettings{} : gpt();
  const auto key = name == "gpt with dropout" ? std::optional(DropoutKey{3, 1, 8}) : std::nullopt;
  const Network fast(settings, {}, 65, 64);
  const Network exact(settings, {}, 65, 64, at::kDouble);
  ParameterSet p32(fast.parameter_specs(), 5);
  ParameterSet p64(exact.parameter_specs(), 5, at::kDouble);
  p64.values().copy_(p32.values());
  const at::Tensor inputs = pg::testing::random_tokens(3, 64, 65, 1);
  const at::Tensor targets = pg::testing::random_tokens(3, 64, 65, 2);
  const at::Tensor logits32 = fast.logits(p32, {inputs, {}, {}}, {key}).detach().to(at::kDouble);
  const at::Tensor logits64 = exact.logits(p64, {inputs, {}, {}}, {key}).detach();
  BOOST_TEST(((logits32 - logits64).norm() / logits64.norm()).item<double>() < 2e-6);
  const at::Tensor loss32 = fast.loss_sum(p32, {inputs, targets, {}}, {key});
  const at::Tensor loss64 = exact.loss_sum(p64, {inputs, targets, {}}, {key});
  BOOST_TEST(loss32.item<double>() == loss64.item<double>(), boost::test_tools::tolerance(1e-6));
  loss32.backward();
  loss64.backward();
  const at::Tensor error = p32.gradients().to(at::kDouble) - p64.gradients();
  BOOST_TEST((error.norm() / p64.gradients().norm()).item<double>() < 5e-6);
}

BOOST_AUTO_TEST_CASE(a_causal_model_does_not_see_the_future_and_the_upstream_one_does) {
  const auto change_of_first_half = [](const ModelSettings& settings,
                                       const std::optional<DropoutKey>& key = std::nullopt) {
    const Network model(settings, {}, 11, 32);
    const ParameterSet parameters(model.parameter_specs(), 1);
    at::Tensor inputs = pg::testing::random_tokens(1, 32, 11, 1);
    const at::Tensor before =
        model.logits(parameters, {inputs, {}, {}}, {key}).narrow(1, 0, 16).clone();
    inputs.narrow(1, 16, 16).copy_(pg::testing::random_tokens(1, 16, 11, 9));
    const at::Tensor after = model.logits(parameters, {inputs, {}, {}}, {key}).narrow(1, 0, 16);
    return (before - after).abs().max().item<double>();
  };
  BOOST_TEST(change_of_first_half({}) == 0.0);
  BOOST_TEST(change_of_first_half(gpt()) == 0.0);
  BOOST_TEST(change_of_first_half(gpt(), DropoutKey{1, 2, 3}) == 0.0);
  BOOST_TEST(change_of_first_half(upstream()) > 1e-6);
}

BOOST_AUTO_TEST_CASE(anchored_gates_at_alpha_zero_are_the_vanilla_network_bit_for_bit) {
  const at::Tensor inputs = pg::testing::random_tokens(2, 40, 13, 4);
  const at::Tensor targets = pg::testing::random_tokens(2, 40, 13, 5);
  const auto gradients = [&](const GateSettings& gate) {
    const Network model({}, gate, 13, 40);
    ParameterSet parameters(model.parameter_specs(), 1);
    model.loss_sum(parameters, {inputs, targets, {}}).backward();
    return parameters.gradients().clone();
  };
  const at::Tensor vanilla = gradients({});
  for (const char* unit : {"paglu", "pagelu", "pareglu", "pasilu"}) {
    BOOST_TEST(vanilla.equal(gradients({unit, "anchored", 0.0})), unit);
    BOOST_TEST(!vanilla.equal(gradients({unit, "anchored", 0.5})), unit);
  }
}
