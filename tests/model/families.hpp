// Small models of every family, and the question that tests/reference/families_reference.py takes.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "base/files.hpp"
#include "base/random.hpp"
#include "config/settings.hpp"
#include "model/network.hpp"
#include "model/safetensors.hpp"
#include "support/support.hpp"

namespace pg::testing {

/// A small model of odd shape. `name` is an architecture, or one with a variant after a dash.
inline config::ModelSettings family(const std::string& name) {
  config::ModelSettings m;
  m.n_layers = 2;
  m.d_model = 12;
  m.n_heads = 3;
  m.d_ff = 10;
  m.norm_eps = 1e-5;
  m.arch = name.substr(0, name.find('-'));
  if (m.arch == "gpt") {
    m.positions = name == "gpt-sinusoidal" ? "sinusoidal" : "learned";
    m.activation = name == "gpt-sinusoidal" ? "relu" : "gelu_tanh";
    m.tied_embeddings = name != "gpt-sinusoidal";
  } else if (m.arch == "llama") {
    m.activation = "silu";
    m.gated_mlp = true;
    m.tied_embeddings = false;
    m.n_heads = 6;
    m.n_kv_heads = name == "llama-gqa" ? 2 : 0;
    m.d_head = 4;
  } else if (m.arch == "t5") {
    m.positions = "relative";
    m.d_head = 5;
    m.activation = "relu";
    if (name == "t5-v1.1") {
      m.activation = "gelu_tanh";
      m.gated_mlp = true;
      m.tied_embeddings = false;
    }
  } else if (m.arch == "vaswani") {
    m.positions = "sinusoidal";
    m.activation = "relu";
  } else if (m.arch == "resnet_bk") {
    m.positions = "learned";
    m.activation = "relu";
    m.tied_embeddings = false;
    m.n_experts = 3;
    m.causal = name != "resnet_bk-both";
    if (name == "resnet_bk-upstream") m.router = "upstream";
  }
  return m;
}

inline at::Tensor random_tokens(std::int64_t b, std::int64_t t, std::int64_t vocabulary,
                                std::uint64_t seed) {
  const random::Stream stream(seed, random::Purpose::test);
  at::Tensor result = at::empty({b, t}, at::kLong);
  for (std::int64_t i = 0; i < result.numel(); ++i) {
    result.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        stream.below(static_cast<std::uint64_t>(vocabulary), static_cast<std::uint64_t>(i)));
  }
  return result;
}

/// Moves every parameter off its start, so that scales, biases and alphas count; to values that
/// float holds.
inline void disturb(model::ParameterSet& parameters) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.specs().size(); ++i) {
    at::Tensor leaf = parameters[i];
    const at::Tensor wave =
        at::arange(leaf.numel(), at::kDouble).mul(1.7).add(static_cast<double>(i)).sin();
    leaf.add_(wave.mul(0.2).view(leaf.sizes()));
    leaf.copy_(leaf.to(at::kFloat).to(leaf.scalar_type()));
  }
}

inline nlohmann::json rows_of(const at::Tensor& tokens_bt) {
  nlohmann::json rows = nlohmann::json::array();
  for (std::int64_t b = 0; b < tokens_bt.size(0); ++b) {
    const at::Tensor row = tokens_bt[b].contiguous();
    rows.push_back(std::vector<std::int64_t>(row.data_ptr<std::int64_t>(),
                                             row.data_ptr<std::int64_t>() + row.numel()));
  }
  return rows;
}

inline nlohmann::json question_of(const config::ModelSettings& m, const config::GateSettings& g) {
  return {{"model",
           {{"arch", m.arch},
            {"n_layers", m.n_layers},
            {"d_model", m.d_model},
            {"n_heads", m.n_heads},
            {"activation", m.activation},
            {"gated_mlp", m.gated_mlp},
            {"rope_theta", m.rope_theta},
            {"causal", m.causal},
            {"tied_embeddings", m.tied_embeddings},
            {"norm_eps", m.norm_eps},
            {"n_experts", m.n_experts},
            {"router", m.router}}},
          {"gate",
           {{"unit", g.unit},
            {"form", g.form},
            {"alpha", g.alpha},
            {"gate_norm", g.gate_norm},
            {"pre_norm", g.pre_norm},
            {"post_norm", g.post_norm},
            {"attention", g.attention},
            {"attention_alpha", g.attention_alpha},
            {"policy", g.policy},
            {"alpha_scale", g.alpha_scale},
            {"alpha_temperature", g.alpha_temperature}}}};
}

/// What the reference prints.
inline std::string ask_reference(const nlohmann::json& question, const ScratchFolder& scratch) {
  write_file(scratch / "question.json", question.dump());
  return output_of(fmt::format("{} {}/tests/reference/families_reference.py {}", PG_PYTHON,
                               PG_SOURCE_DIR, (scratch / "question.json").string()));
}

/// Parameters by their own names.
inline model::NamedTensors named(const model::ParameterSet& parameters) {
  model::NamedTensors tensors;
  for (std::size_t i = 0; i < parameters.specs().size(); ++i) {
    tensors.emplace_back(parameters.specs()[i].name, parameters[i]);
  }
  return tensors;
}

/// Largest deviation of the gradient of the summed loss from central differences, relative to
/// 1 + |it|, over every `stride`-th parameter; all in double precision.
inline double worst_gradient(const model::Network& network, model::ParameterSet& parameters,
                             const model::Example& example, const model::PassOptions& options,
                             std::int64_t stride) {
  parameters.gradients().zero_();
  network.loss_sum(parameters, example, options).backward();
  const at::Tensor gradient = parameters.gradients().clone();
  const at::NoGradGuard no_grad;
  auto* values = parameters.values().data_ptr<double>();
  const auto loss = [&] { return network.loss_sum(parameters, example, options).item<double>(); };
  double worst = 0;
  for (std::int64_t i = 0; i < parameters.n_parameters(); i += stride) {
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
  BOOST_TEST(gradient.abs().max().item<double>() > 0.1);  // there was something to compare
  return worst;
}

}  // namespace pg::testing
