#define BOOST_TEST_MODULE families
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "model/families.hpp"
#include "model/hugging_face.hpp"
#include "model/safetensors.hpp"

// Every family and gate against an implementation of the published definitions in PyTorch, which
// reads the weights under their published names; and what must hold of each by its nature.

using namespace pg;
using namespace pg::testing;
using config::GateSettings;
using config::ModelSettings;
using model::Example;
using model::Network;
using model::ParameterSet;

namespace {

constexpr std::int64_t kVocabulary = 11;
constexpr std::int64_t kLength = 9;

Example example_of(const ModelSettings& settings, std::int64_t t = kLength,
                   std::int64_t vocabulary = kVocabulary) {
  return {random_tokens(2, t, vocabulary, 1), random_tokens(2, t, vocabulary, 2),
          settings.has_encoder() ? random_tokens(2, 7, vocabulary, 3) : at::Tensor()};
}

GateSettings gate(const std::string& unit, const std::string& form, double alpha = 0.4) {
  GateSettings g;
  g.unit = unit;
  g.form = form;
  g.alpha = alpha;
  return g;
}

struct Case {
  std::string family;
  GateSettings gate;
  std::int64_t vocabulary = kVocabulary;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.family << " " << c.gate.unit << " " << c.gate.form << " " << c.gate.policy
             << (c.gate.gate_norm ? " gate norm" : "") << (c.gate.pre_norm ? " pre norm" : "")
             << (c.gate.post_norm ? " post norm" : "") << (c.gate.attention ? " attention" : "");
}

const std::vector<std::string>& families() {
  static const std::vector<std::string> names = {
      "nano",    "gpt",     "gpt-sinusoidal", "llama",          "llama-gqa",         "t5",
      "t5-v1.1", "vaswani", "resnet_bk",      "resnet_bk-both", "resnet_bk-upstream"};
  return names;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::string& name : families()) {
    cases.push_back({name, {}});
    cases.push_back({name, {}, 29});  // words that do not occur: the embedding's gradient is sparse
    cases.push_back({name, gate("paglu", "anchored")});
  }
  // Every unit in every form, in the gpt; and where the MLP is gated already.
  for (const char* unit : {"paglu", "pagtu", "pareglu", "pagelu", "pagelu_tanh", "pasilu",
                           "paswishu", "pamishu", "paunit"}) {
    for (const char* form : {"self_gate", "anchored", "glu", "glu_two_thirds", "upstream"}) {
      cases.push_back({"gpt", gate(unit, form)});
    }
    cases.push_back({"llama", gate(unit, "glu")});
    cases.push_back({"llama", gate(unit, "anchored")});
  }
  for (int norms = 1; norms < 8; ++norms) {
    for (const char* form : {"self_gate", "glu", "upstream"}) {
      Case c{"gpt", gate("pagelu", form)};
      c.gate.gate_norm = (norms & 1) != 0;
      c.gate.pre_norm = (norms & 2) != 0;
      c.gate.post_norm = (norms & 4) != 0;
      cases.push_back(c);
    }
  }
  for (const char* policy : {"learnable", "entropy", "confidence"}) {
    for (const auto& [name, form] :
         std::vector<std::pair<std::string, std::string>>{{"gpt", "self_gate"},
                                                          {"llama", "glu"},
                                                          {"t5", "anchored"},
                                                          {"vaswani", "glu"},
                                                          {"resnet_bk", "self_gate"}}) {
      Case c{name, gate("paglu", form)};
      c.gate.policy = policy;
      c.gate.attention = name != "resnet_bk";
      c.gate.attention_alpha = 0.7;
      c.gate.alpha_scale = 0.9;
      c.gate.alpha_temperature = 1.3;
      cases.push_back(c);
    }
  }
  Case both{"gpt", gate("pasilu", "self_gate")};
  both.gate.attention = true;
  cases.push_back(both);
  return cases;
}

double relative(const at::Tensor& found, const at::Tensor& truth) {
  const double size = truth.norm().item<double>();
  return (found.to(at::kDouble) - truth).norm().item<double>() / std::max(size, 1e-3);
}

}  // namespace

namespace {

/// Values and gradients of one case against the reference's answer, in double and on the fast path.
void check(const Case& c, const std::filesystem::path& weights, const model::NamedTensors& answer) {
  const ModelSettings settings = family(c.family);
  const Example example = example_of(settings, kLength, c.vocabulary);
  std::map<std::string, at::Tensor> truth;
  for (const auto& [name, tensor] : answer) truth[name] = tensor;
  for (const auto type : {at::kDouble, at::kFloat}) {
    const double limit = type == at::kDouble ? 1e-12 : 5e-6;
    const Network network(settings, c.gate, c.vocabulary, kLength, type);
    ParameterSet p(network.parameter_specs(), 6, type);
    model::import_weights(settings, "the test", model::read_safetensors(weights), p);
    const at::Tensor loss = network.loss_sum(p, example);
    loss.backward();
    BOOST_TEST(relative(network.logits(p, example).detach(), truth.at("logits")) < limit);
    BOOST_TEST(relative(loss.detach(), truth.at("loss").squeeze()) < limit);
    const auto tensors = model::published_tensors(settings, p.specs());
    double largest = 0;
    for (const auto& tensor : tensors) {
      const at::Tensor& expected = truth.at("gradient." + tensor.name);
      const at::Tensor found = model::published(tensor, p[tensor.parameter].grad());
      BOOST_TEST(relative(found, expected) < 10 * limit, tensor.name);
      largest = std::max(largest, expected.abs().max().item<double>());
    }
    BOOST_TEST(tensors.size() + 2 == truth.size());
    BOOST_TEST(largest > 0.1);  // there was something to compare
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(forward_and_gradient_equal_the_published_definition) {
  const ScratchFolder scratch;
  const auto cases = all_cases();
  const auto file = [&](std::size_t i, const char* what) {
    return scratch / fmt::format("{}-{}.safetensors", i, what);
  };
  nlohmann::json questions = nlohmann::json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const ModelSettings settings = family(cases[i].family);
    const Network network(settings, cases[i].gate, cases[i].vocabulary, kLength);
    ParameterSet parameters(network.parameter_specs(), 5);
    disturb(parameters);
    model::write_safetensors(file(i, "weights"),
                             model::export_weights(settings, named(parameters)));
    const Example example = example_of(settings, kLength, cases[i].vocabulary);
    nlohmann::json question = question_of(settings, cases[i].gate);
    question["weights"] = file(i, "weights").string();
    question["answer"] = file(i, "answer").string();
    question["inputs"] = rows_of(example.inputs_bt);
    question["targets"] = rows_of(example.targets_bt);
    question["encoder"] =
        example.encoder_bs.defined() ? rows_of(example.encoder_bs) : nlohmann::json::array();
    questions.push_back(question);
  }
  ask_reference(questions, scratch);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    BOOST_TEST_CONTEXT(cases[i]) {
      check(cases[i], file(i, "weights"), model::read_safetensors(file(i, "answer")));
    }
  }
}

BOOST_DATA_TEST_CASE(no_output_depends_on_a_later_token, boost::unit_test::data::make(families()),
                     name) {
  const ModelSettings settings = family(name);
  constexpr std::int64_t t = 24;
  constexpr std::int64_t kHalf = 11;
  for (const auto type : {at::kFloat, at::kDouble}) {
    const Network network(settings, {}, kVocabulary, t, type);
    ParameterSet parameters(network.parameter_specs(), 1, type);
    disturb(parameters);
    const at::NoGradGuard no_grad;
    Example example = example_of(settings, t);
    const at::Tensor before = network.logits(parameters, example).clone();
    example.inputs_bt.narrow(1, kHalf, t - kHalf).copy_(random_tokens(2, t - kHalf, 11, 9));
    const at::Tensor after = network.logits(parameters, example);
    const auto change = [&](std::int64_t first, std::int64_t n) {
      return (before.narrow(1, first, n) - after.narrow(1, first, n)).abs().max().item<double>();
    };
    if (settings.causal) {
      BOOST_TEST(change(0, kHalf) == 0.0);
    } else {
      BOOST_TEST(change(0, kHalf) > 1e-6);
    }
    BOOST_TEST(change(kHalf, t - kHalf) > 1e-3);
    if (settings.has_encoder()) {  // what the encoder reads is seen by all
      example.encoder_bs = random_tokens(2, 7, kVocabulary, 10);
      const at::Tensor other = network.logits(parameters, example);
      BOOST_TEST((other - after).narrow(1, 0, 1).abs().max().item<double>() > 1e-4);
    }
  }
}

BOOST_DATA_TEST_CASE(gradients_equal_finite_differences, boost::unit_test::data::make(families()),
                     name) {
  const ModelSettings settings = family(name);
  for (GateSettings g : {GateSettings{}, gate("pagelu", "anchored")}) {
    if (!g.is_vanilla()) g.policy = "learnable";
    ModelSettings dropped = settings;
    dropped.dropout = 0.2;
    const Network trained(dropped, g, 7, kLength, at::kDouble);
    ParameterSet parameters(trained.parameter_specs(), 3, at::kDouble);
    disturb(parameters);
    const Example example{random_tokens(2, kLength, 7, 1), random_tokens(2, kLength, 7, 2),
                          settings.has_encoder() ? random_tokens(2, 5, 7, 3) : at::Tensor()};
    model::PassOptions options;
    options.dropout = model::DropoutKey{8, 3, 5};
    options.label_smoothing = 0.1;
    BOOST_TEST(worst_gradient(trained, parameters, example, options, 7) < 1e-7);
  }
}

BOOST_DATA_TEST_CASE(checkpointed_activations_give_the_same_bits,
                     boost::unit_test::data::make(families()), name) {
  ModelSettings settings = family(name);
  settings.dropout = 0.2;
  const GateSettings g = gate("paglu", "anchored");
  const auto gradients = [&](bool again) {
    settings.activation_checkpointing = again;
    const Network network(settings, g, kVocabulary, kLength);
    ParameterSet parameters(network.parameter_specs(), 3);
    disturb(parameters);
    model::PassOptions options;
    options.dropout = model::DropoutKey{8, 3, 5};
    for (int i = 0; i < 2; ++i) {  // gradients add up
      network.loss_sum(parameters, example_of(settings), options).backward();
    }
    return parameters.gradients().clone();
  };
  const at::Tensor kept = gradients(false);
  const at::Tensor again = gradients(true);
  BOOST_TEST(relative(again, kept.to(at::kDouble)) < 1e-6);
  BOOST_TEST(kept.equal(again));
}

BOOST_DATA_TEST_CASE(operands_rounded_once_give_the_same_bits,
                     boost::unit_test::data::make(families()), name) {
  ModelSettings settings = family(name);
  settings.dropout = 0.2;
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    for (const bool checkpointing : {false, true}) {
      settings.activation_checkpointing = checkpointing;
      const Network network(settings, gate("paglu", "anchored"), kVocabulary, kLength);
      const auto numbers = [&](at::ScalarType operand_type) {
        ParameterSet parameters(network.parameter_specs(), 3, at::kFloat, at::kCPU, operand_type);
        disturb(parameters);
        parameters.values_changed();
        model::PassOptions options;
        options.dropout = model::DropoutKey{8, 3, 5};
        options.precision = precision;
        const at::Tensor loss = network.loss_sum(parameters, example_of(settings), options);
        loss.backward();
        const at::NoGradGuard no_grad;
        const at::Tensor without_graph =
            network.loss_sum(parameters, example_of(settings), options);
        return at::cat({loss.detach().view({1}), without_graph.view({1}),
                        parameters.gradients().to(at::kDouble)});
      };
      const at::Tensor each_time = numbers(at::kFloat);
      BOOST_TEST(each_time.equal(numbers(ops::scalar_type(precision))));
    }
  }
}

BOOST_DATA_TEST_CASE(anchored_at_alpha_zero_is_vanilla_bit_for_bit,
                     boost::unit_test::data::make(families()), name) {
  const ModelSettings settings = family(name);
  const auto gradients = [&](const GateSettings& g) {
    const Network network(settings, g, kVocabulary, kLength);
    ParameterSet parameters(network.parameter_specs(), 3);
    network.loss_sum(parameters, example_of(settings)).backward();
    return parameters.gradients().clone();
  };
  const at::Tensor vanilla = gradients({});
  for (const char* unit : {"paglu", "pagtu", "pareglu", "pagelu", "pagelu_tanh", "pasilu",
                           "paswishu", "pamishu", "paunit"}) {
    BOOST_TEST(vanilla.equal(gradients(gate(unit, "anchored", 0))), unit);
    // The unit's function may be the architecture's own: then every alpha is vanilla.
    const std::string g = unit;
    const bool same = settings.gated_mlp
                          ? (settings.activation == "silu" ? g == "pasilu" || g == "paswishu"
                                                           : g == "pagelu_tanh")
                          : settings.activation == "gelu" && g == "paunit";  // with Phi
    if (!same) BOOST_TEST(!vanilla.equal(gradients(gate(unit, "anchored", 0.5))), unit);
  }
}

BOOST_AUTO_TEST_CASE(in_gated_architectures_vanilla_stands_at_alpha_one) {
  const auto logits = [](const ModelSettings& settings, const GateSettings& g) {
    const Network network(settings, g, kVocabulary, kLength);
    ParameterSet parameters(network.parameter_specs(), 3);
    disturb(parameters);
    return network.logits(parameters, example_of(settings)).detach();
  };
  const auto distance = [&](const std::string& name, const std::string& unit, double alpha) {
    const ModelSettings settings = family(name);
    return relative(logits(settings, gate(unit, "glu", alpha)),
                    logits(settings, {}).to(at::kDouble));
  };
  BOOST_TEST(distance("llama", "pasilu", 1) < 1e-6);         // SwiGLU
  BOOST_TEST(distance("t5-v1.1", "pagelu_tanh", 1) < 1e-6);  // GEGLU
  BOOST_TEST(distance("llama", "pasilu", 0.5) > 1e-2);
  BOOST_TEST(distance("llama", "pagelu", 1) > 1e-2);
}

BOOST_AUTO_TEST_CASE(half_precision_products_are_those_of_rounded_operands) {
  const at::Tensor x = random_tokens(3, 40, 1000, 1).to(at::kFloat).sub(500).div(700);
  const at::Tensor w = random_tokens(5, 40, 1000, 2).to(at::kFloat).sub(500).div(300);
  for (const auto& [precision, type] : {std::pair(ops::Precision::bfloat16, at::kBFloat16),
                                        std::pair(ops::Precision::float16, at::kHalf)}) {
    const auto rounded = [&, t = type](const at::Tensor& a) { return a.to(t).to(at::kDouble); };
    at::Tensor a = x.clone().set_requires_grad(true);
    at::Tensor b = w.clone().set_requires_grad(true);
    const at::Tensor y = ops::linear(a, b, std::nullopt, precision);
    const at::Tensor expected = at::matmul(rounded(x), rounded(w).t());
    const double unit = type == at::kBFloat16 ? 0x1p-8 : 0x1p-11;
    BOOST_TEST(relative(y.detach(), expected) < 1e-6);
    const at::Tensor dy = x.narrow(1, 0, 5).contiguous();
    y.backward(dy);
    BOOST_TEST(relative(a.grad(), at::matmul(rounded(dy), rounded(w))) < 1e-6);
    BOOST_TEST(relative(b.grad(), at::matmul(rounded(dy).t(), rounded(x))) < unit);
    BOOST_TEST(b.grad().equal(b.grad().to(type).to(at::kFloat)));
  }
}

BOOST_AUTO_TEST_CASE(imports_name_what_does_not_fit) {
  const ScratchFolder scratch;
  const ModelSettings settings = family("gpt");
  const Network network(settings, {}, kVocabulary, kLength);
  ParameterSet parameters(network.parameter_specs(), 3);
  const model::NamedTensors good = model::export_weights(settings, named(parameters));
  const auto refused = [&](const model::NamedTensors& tensors, const std::string& name) {
    BOOST_CHECK_EXCEPTION(model::import_weights(settings, "file", tensors, parameters),
                          InvalidInput, [&](const InvalidInput& e) {
                            return std::string(e.what()).find(name) != std::string::npos;
                          });
  };
  model::NamedTensors missing = good;
  missing.erase(missing.begin() + 4);
  refused(missing, good[4].first);
  model::NamedTensors shaped = good;
  shaped[3].second = at::zeros({1, 2});
  refused(shaped, good[3].first);
  model::NamedTensors more = good;
  more.emplace_back("transformer.h.7.ln_1.weight", at::zeros({12}));
  refused(more, "transformer.h.7.ln_1.weight");

  // The names of a file without a head, with its masks, and with the tied head once more.
  model::NamedTensors bare = {{"h.0.attn.bias", at::ones({1, 1, 4, 4})},
                              {"lm_head.weight", at::ones({kVocabulary, 12})}};
  for (const auto& [name, tensor] : good) {
    bare.emplace_back(name.substr(std::string("transformer.").size()), tensor);
  }
  ParameterSet other(network.parameter_specs(), 4);
  model::import_weights(settings, "file", bare, other);
  BOOST_TEST(other.hash() == parameters.hash());
  ParameterSet halves(network.parameter_specs(), 4, at::kFloat, at::kCPU, at::kBFloat16);
  model::import_weights(settings, "file", bare, halves);
  for (std::size_t i = 0; i < halves.specs().size(); ++i) {
    const at::Tensor expected =
        halves.specs()[i].is_operand ? parameters[i].to(at::kBFloat16) : parameters[i];
    BOOST_TEST(halves.operand(i).equal(expected), halves.specs()[i].name);
  }

  // Where nothing has a published name, nothing may be absent.
  const ModelSettings own = family("resnet_bk");
  const Network mixer(own, {}, kVocabulary, kLength);
  ParameterSet mine(mixer.parameter_specs(), 3);
  BOOST_CHECK_THROW(model::import_weights(own, "file", {}, mine), InvalidInput);
  model::NamedTensors all = model::export_weights(own, named(mine));
  BOOST_CHECK_NO_THROW(model::import_weights(own, "file", all, mine));
  all.pop_back();
  BOOST_CHECK_THROW(model::import_weights(own, "file", all, mine), InvalidInput);

  // A gate starts from the seed where the file has none.
  GateSettings g = gate("paglu", "glu");
  const Network gated(settings, g, kVocabulary, kLength);
  ParameterSet p(gated.parameter_specs(), 4);
  model::import_weights(settings, "file", good, p);
  BOOST_TEST(p[p.index("embedding")].equal(parameters[parameters.index("embedding")]));
}

BOOST_AUTO_TEST_CASE(a_damaged_file_is_refused_with_its_name) {
  const ScratchFolder scratch;
  const auto file = scratch / "x.safetensors";
  model::write_safetensors(file, {{"a", at::ones({2, 3})}, {"b", at::zeros({0, 4})}});
  const auto tensors = model::read_safetensors(file);
  BOOST_REQUIRE(tensors.size() == 2U);
  BOOST_TEST(tensors[0].second.equal(at::ones({2, 3})));
  BOOST_TEST(tensors[1].second.size(1) == 4);
  const std::string content = read_file(file);
  for (const std::string& damaged :
       {content.substr(0, 5), content.substr(0, 30), content.substr(0, content.size() - 1),
        std::string(1, '\xff') + content.substr(1),
        content.substr(0, 8) + "}" + content.substr(9)}) {
    write_file(file, damaged);
    BOOST_CHECK_THROW(model::read_safetensors(file), InvalidInput);
  }
  BOOST_CHECK_THROW(model::read_safetensors(scratch / "absent"), IoError);
}
