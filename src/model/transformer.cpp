#include "model/transformer.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace pg::model {
namespace {

// One block's tensors stand together in the flat buffer, in this order.
enum BlockTensor : std::size_t {
  kAttentionNorm,
  kQkv,
  kAttentionOut,
  kMlpNorm,
  kMlpUp,
  kMlpDown,
  kBlockTensors
};

constexpr std::size_t kEmbedding = 0;
constexpr std::size_t kFirstBlock = 1;

}  // namespace

ops::GateSpec gate_spec(const config::GateSettings& gate) {
  constexpr std::array<std::pair<const char*, ops::GateUnit>, 5> kUnits{
      {{"gelu", ops::GateUnit::gelu},
       {"paglu", ops::GateUnit::paglu},
       {"pagelu", ops::GateUnit::pagelu},
       {"pareglu", ops::GateUnit::pareglu},
       {"pasilu", ops::GateUnit::pasilu}}};
  ops::GateSpec spec;
  spec.alpha = gate.alpha;
  spec.form = gate.form == "anchored" ? ops::GateForm::anchored : ops::GateForm::self_gate;
  for (const auto& [word, unit] : kUnits) {
    if (gate.unit == word) {
      spec.unit = unit;
      return spec;
    }
  }
  throw InternalError({"unknown gate unit '" + gate.unit + "'", "", ""});
}

Transformer::Transformer(const config::ModelSettings& model, const config::GateSettings& gate,
                         std::int64_t vocabulary, std::int64_t sequence_length, at::ScalarType type)
    : model_(model), gate_(gate_spec(gate)), vocabulary_(vocabulary) {
  if (model_.positions == "rope") {
    rope_ =
        ops::make_rope(sequence_length, model_.d_model / model_.n_heads, model_.rope_theta, type);
  }
}

std::vector<ParameterSpec> Transformer::parameter_specs() const {
  const std::int64_t d = model_.d_model;
  const std::int64_t f = model_.d_ff;
  std::vector<ParameterSpec> specs;
  specs.push_back({"embedding", {vocabulary_, d}, Init::normal(model_.init_std)});
  for (std::int64_t layer = 0; layer < model_.n_layers; ++layer) {
    const std::string block = fmt::format("blocks.{}.", layer);
    specs.push_back({block + "attention_norm", {d}, Init::ones()});
    specs.push_back({block + "attention_qkv", {3 * d, d}, Init::linear(d)});
    specs.push_back({block + "attention_out", {d, d}, Init::linear(d)});
    specs.push_back({block + "mlp_norm", {d}, Init::ones()});
    specs.push_back({block + "mlp_up", {f, d}, Init::linear(d)});
    specs.push_back({block + "mlp_down", {d, f}, Init::linear(f)});
  }
  specs.push_back({"final_norm", {d}, Init::ones()});
  if (!model_.tied_embeddings) {
    specs.push_back({"head", {vocabulary_, d}, Init::normal(model_.init_std)});
  }
  return specs;
}

at::Tensor Transformer::logits(const ParameterSet& parameters, const at::Tensor& tokens_bt) const {
  at::Tensor x_btd = at::embedding(parameters[kEmbedding], tokens_bt);
  std::size_t block = kFirstBlock;
  for (std::int64_t layer = 0; layer < model_.n_layers; ++layer, block += kBlockTensors) {
    const auto tensor = [&](BlockTensor which) { return parameters[block + which]; };
    const at::Tensor a_btd = ops::rms_norm(x_btd, tensor(kAttentionNorm), model_.norm_eps);
    const at::Tensor heads_btd =
        ops::attention(ops::linear(a_btd, tensor(kQkv)), model_.n_heads, model_.causal, rope_);
    x_btd = x_btd + ops::linear(heads_btd, tensor(kAttentionOut));
    const at::Tensor m_btd = ops::rms_norm(x_btd, tensor(kMlpNorm), model_.norm_eps);
    const at::Tensor h_btf = ops::gate(ops::linear(m_btd, tensor(kMlpUp)), gate_);
    x_btd = x_btd + ops::linear(h_btf, tensor(kMlpDown));
  }
  x_btd = ops::rms_norm(x_btd, parameters[block], model_.norm_eps);
  return ops::linear(x_btd,
                     model_.tied_embeddings ? parameters[kEmbedding] : parameters[block + 1]);
}

at::Tensor Transformer::loss_sum(const ParameterSet& parameters, const at::Tensor& tokens_bt,
                                 const at::Tensor& targets_bt) const {
  const at::Tensor logits_btv = logits(parameters, tokens_bt);
  return ops::cross_entropy_sum(logits_btv.view({-1, vocabulary_}), targets_bt.reshape({-1}));
}

}  // namespace pg::model
