#include "model/transformer.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace pg::model {
namespace {

// One block's tensors stand together in the flat buffer, in this order; in a gpt each is followed
// by its bias.
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
constexpr std::size_t kPositions = 1;  // where they are learned

// Places of dropout. Never renumber: results depend on the values.
enum BlockDropout : std::uint64_t { kProbabilities, kAttentionBranch, kMlpBranch, kBlockDropouts };

constexpr std::uint64_t kEmbeddingDropout = 0;
constexpr std::uint64_t kFirstBlockDropout = 1;

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
    : model_(model),
      biased_(model.arch == "gpt"),
      gate_(gate_spec(gate)),
      vocabulary_(vocabulary),
      sequence_length_(sequence_length) {
  if (model_.positions == "rope") {
    rope_ =
        ops::make_rope(sequence_length, model_.d_model / model_.n_heads, model_.rope_theta, type);
  }
}

std::vector<ParameterSpec> Transformer::parameter_specs() const {
  const std::int64_t d = model_.d_model;
  const std::int64_t f = model_.mlp_width();
  const Init narrow = Init::normal(model_.init_std);
  std::vector<ParameterSpec> specs;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, Init init) {
    const std::int64_t n_out = shape[0];
    specs.push_back({name, std::move(shape), init});
    if (biased_) specs.push_back({name + "_bias", {n_out}, Init::zeros()});
  };
  // What is added to the residual stream starts smaller, so that the sum of all 2 n_layers branches
  // has the variance of one matrix, however deep the network (GPT-2, section 2.3).
  const Init branch =
      Init::normal(model_.init_std / std::sqrt(2 * static_cast<double>(model_.n_layers)));
  const auto matrix = [&](std::int64_t n_in) { return biased_ ? narrow : Init::linear(n_in); };
  const auto branch_end = [&](std::int64_t n_in) { return biased_ ? branch : Init::linear(n_in); };

  specs.push_back({"embedding", {vocabulary_, d}, narrow});
  if (model_.positions == "learned") {
    specs.push_back({"positions", {sequence_length_, d}, narrow});
  }
  for (std::int64_t layer = 0; layer < model_.n_layers; ++layer) {
    const std::string block = fmt::format("blocks.{}.", layer);
    add(block + "attention_norm", {d}, Init::ones());
    add(block + "attention_qkv", {3 * d, d}, matrix(d));
    add(block + "attention_out", {d, d}, branch_end(d));
    add(block + "mlp_norm", {d}, Init::ones());
    add(block + "mlp_up", {f, d}, matrix(d));
    add(block + "mlp_down", {d, f}, branch_end(f));
  }
  add("final_norm", {d}, Init::ones());
  if (!model_.tied_embeddings) specs.push_back({"head", {vocabulary_, d}, narrow});
  return specs;
}

at::Tensor Transformer::norm(const ParameterSet& parameters, std::size_t index,
                             const at::Tensor& x_btd) const {
  return biased_ ? ops::layer_norm(x_btd, parameters[index], parameters[index + 1], model_.norm_eps)
                 : ops::rms_norm(x_btd, parameters[index], model_.norm_eps);
}

at::Tensor Transformer::linear(const ParameterSet& parameters, std::size_t index,
                               const at::Tensor& x) const {
  return biased_ ? ops::linear(x, parameters[index], parameters[index + 1])
                 : ops::linear(x, parameters[index]);
}

at::Tensor Transformer::logits(const ParameterSet& parameters, const at::Tensor& tokens_bt,
                               const std::optional<DropoutKey>& dropout) const {
  const auto site = [&](std::uint64_t place) -> ops::DropoutSite {
    if (!dropout) return {};
    return {model_.dropout, dropout->seed, static_cast<std::uint64_t>(dropout->step), place,
            dropout->first_slot};
  };
  const bool learned = model_.positions == "learned";
  const std::size_t stride = biased_ ? 2 : 1;

  at::Tensor x_btd = at::embedding(parameters[kEmbedding], tokens_bt);
  if (learned) x_btd = x_btd + parameters[kPositions].narrow(0, 0, tokens_bt.size(1));
  x_btd = ops::dropout(x_btd, site(kEmbeddingDropout));
  std::size_t block = learned ? kPositions + 1 : kEmbedding + 1;
  std::uint64_t places = kFirstBlockDropout;
  for (std::int64_t layer = 0; layer < model_.n_layers; ++layer) {
    const auto normed = [&](BlockTensor which) {
      return norm(parameters, block + which * stride, x_btd);
    };
    const auto mapped = [&](BlockTensor which, const at::Tensor& x) {
      return linear(parameters, block + which * stride, x);
    };
    const at::Tensor qkv_bt3d = mapped(kQkv, normed(kAttentionNorm));
    const at::Tensor heads_btd = ops::attention(qkv_bt3d, model_.n_heads, model_.causal, rope_,
                                                site(places + kProbabilities));
    x_btd = x_btd + ops::dropout(mapped(kAttentionOut, heads_btd), site(places + kAttentionBranch));
    const at::Tensor h_btf = ops::gate(mapped(kMlpUp, normed(kMlpNorm)), gate_);
    x_btd = x_btd + ops::dropout(mapped(kMlpDown, h_btf), site(places + kMlpBranch));
    block += kBlockTensors * stride;
    places += kBlockDropouts;
  }
  x_btd = norm(parameters, block, x_btd);
  return ops::linear(x_btd, parameters[model_.tied_embeddings ? kEmbedding : block + stride]);
}

at::Tensor Transformer::loss_sum(const ParameterSet& parameters, const at::Tensor& tokens_bt,
                                 const at::Tensor& targets_bt,
                                 const std::optional<DropoutKey>& dropout) const {
  const at::Tensor logits_btv = logits(parameters, tokens_bt, dropout);
  return ops::cross_entropy_sum(logits_btv.view({-1, vocabulary_}), targets_bt.reshape({-1}));
}

}  // namespace pg::model
