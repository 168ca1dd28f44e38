// Networks on a GPU against the same on the CPU in double precision. Without a device it says so.
#define BOOST_TEST_MODULE gpu
#include <boost/test/unit_test.hpp>
#include <string>

#include "model/families.hpp"
#include "support/gpu.hpp"

using namespace pg;
using namespace pg::testing;

namespace {

constexpr std::int64_t kVocabulary = 11;
constexpr std::int64_t kLength = 9;

const std::vector<std::string> kFamilies = {
    "nano", "gpt",     "gpt-sinusoidal", "llama",     "llama-gqa",
    "t5",   "t5-v1.1", "vaswani",        "resnet_bk", "resnet_bk-both"};

model::Example example_on(at::Device device, const config::ModelSettings& settings) {
  const auto tokens = [&](std::int64_t t, std::uint64_t seed) {
    return random_tokens(4, t, kVocabulary, seed).to(device);
  };
  return {tokens(kLength, 1), tokens(kLength, 2),
          settings.has_encoder() ? tokens(7, 3) : at::Tensor()};
}

struct Result {
  at::Tensor logits;
  at::Tensor gradients;
};

Result run(const config::ModelSettings& settings, const config::GateSettings& gate,
           at::Device device, at::ScalarType type, const model::PassOptions& options = {}) {
  const model::Network network(settings, gate, kVocabulary, kLength, type);
  model::ParameterSet start(network.parameter_specs(), 5, type);
  disturb(start);
  model::ParameterSet parameters(network.parameter_specs(), 5, type, device);
  parameters.values().copy_(start.values());
  const model::Example example = example_on(device, settings);
  network.loss_sum(parameters, example, options).backward();
  const at::NoGradGuard no_grad;
  return {network.logits(parameters, example, options).cpu().to(at::kDouble),
          parameters.gradients().cpu().to(at::kDouble)};
}

double distance(const at::Tensor& found, const at::Tensor& truth) {
  return ((found - truth).norm() / truth.norm()).item<double>();
}

model::PassOptions dropped() {
  model::PassOptions options;
  options.dropout = model::DropoutKey{8, 3, 5};
  options.label_smoothing = 0.1;
  return options;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_family_computes_there_what_it_computes_here) {
  if (!has_gpu()) return;
  for (const std::string& name : kFamilies) {
    config::ModelSettings settings = family(name);
    settings.dropout = 0.2;  // the masks are the same function of the same counters
    for (const char* policy : {"none", "fixed", "learnable", "entropy"}) {
      config::GateSettings gate;
      if (policy != std::string("none")) {
        gate.unit = "pagelu";
        gate.form = "anchored";
        gate.policy = policy;
        gate.attention = name.find("resnet") == std::string::npos;
      }
      const Result truth = run(settings, gate, at::kCPU, at::kDouble, dropped());
      const Result exact = run(settings, gate, at::kCUDA, at::kDouble, dropped());
      const Result single = run(settings, gate, at::kCUDA, at::kFloat, dropped());
      BOOST_TEST_CONTEXT(name << " " << policy) {
        BOOST_TEST(distance(exact.logits, truth.logits) < 1e-12);
        BOOST_TEST(distance(exact.gradients, truth.gradients) < 1e-11);
        BOOST_TEST(distance(single.logits, truth.logits) < 1e-5);
        BOOST_TEST(distance(single.gradients, truth.gradients) < 1e-4);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(checkpointed_activations_change_nothing_there) {
  if (!has_gpu()) return;
  for (const std::string& name : kFamilies) {
    config::ModelSettings settings = family(name);
    const Result kept = run(settings, {}, at::kCUDA, at::kDouble);
    settings.activation_checkpointing = true;
    const Result again = run(settings, {}, at::kCUDA, at::kDouble);
    BOOST_TEST(distance(again.gradients, kept.gradients) < 1e-13, name);
  }
}

BOOST_AUTO_TEST_CASE(half_precision_there_is_off_by_its_rounding) {
  if (!has_gpu()) return;
  for (const auto precision : {ops::Precision::bfloat16, ops::Precision::float16}) {
    model::PassOptions options;
    options.precision = precision;
    const double unit = precision == ops::Precision::bfloat16 ? 0x1p-7 : 0x1p-10;
    for (const char* name : {"gpt", "llama", "t5-v1.1"}) {
      const config::ModelSettings settings = family(name);
      const Result exact = run(settings, {}, at::kCPU, at::kDouble);
      const Result there = run(settings, {}, at::kCUDA, at::kFloat, options);
      const double logits = distance(there.logits, exact.logits) / unit;
      const double gradients = distance(there.gradients, exact.gradients) / unit;
      BOOST_TEST_MESSAGE(name << ": logits off by " << logits << ", gradients by " << gradients
                              << " units of the precision");
      BOOST_TEST(logits < 1, name);
      BOOST_TEST(logits > 0.01, name);  // it did round
      BOOST_TEST(gradients < 4, name);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_optimizer_steps_there_as_here) {
  if (!has_gpu()) return;
  const auto step = [](at::Device device) {
    const auto wave = [&](double frequency) {
      return at::arange(1000, at::kDouble).mul(frequency).sin().to(at::kFloat).to(device);
    };
    at::Tensor parameter = wave(1);
    at::Tensor moment1 = at::zeros_like(parameter);
    at::Tensor moment2 = at::zeros_like(parameter);
    for (std::int64_t t = 1; t <= 5; ++t) {
      ops::adamw_step(parameter, moment1, moment2, wave(0.1 * static_cast<double>(t)), 0.5, t,
                      {1e-2, 0.9, 0.999, 1e-8, 0.1});
    }
    return parameter.cpu().to(at::kDouble);
  };
  BOOST_TEST(distance(step(at::kCUDA), step(at::kCPU)) < 1e-6);
}
