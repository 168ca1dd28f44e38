#include "model/hugging_face.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace pg::model {
namespace {

/// "blocks.3.mlp_up_bias" in its pieces.
struct OwnName {
  std::string side;   ///< "blocks", "encoder" or empty
  std::string layer;  ///< "3" or empty
  std::string part;   ///< "mlp_up"
  bool bias = false;
};

OwnName taken_apart(const std::string& name, bool biases) {
  OwnName own;
  own.part = name;
  const auto pieces = split(name, '.');
  if (pieces.size() == 3 && (pieces[0] == "blocks" || pieces[0] == "encoder")) {
    own = {pieces[0], pieces[1], pieces[2], false};
  }
  constexpr std::string_view kBias = "_bias";
  if (biases && own.part.ends_with(kBias)) {
    own.part.resize(own.part.size() - kBias.size());
    own.bias = true;
  }
  return own;
}

constexpr std::string_view kOwn = "pgmpi.";

/// Checkpoints of GPT2Model, which most GPT-2 files are, lack the prefix of GPT2LMHeadModel.
std::string full_name(const std::string& name) {
  const bool bare = name.starts_with("h.") || name.starts_with("wte.") ||
                    name.starts_with("wpe.") || name.starts_with("ln_f.");
  return bare ? "transformer." + name : name;
}

/// What published files hold beside parameters: masks, tables, and second names of a tensor.
bool is_no_parameter(const std::string& name, const config::ModelSettings& model) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rotary_emb.inv_freq") || name == "encoder.embed_tokens.weight" ||
         name == "decoder.embed_tokens.weight" ||
         (name == "lm_head.weight" && model.tied_embeddings);
}

using Words = std::map<std::string, std::string>;

std::string word(const Words& words, const std::string& key) {
  const auto found = words.find(key);
  return found == words.end() ? std::string() : found->second;
}

class Names {
 public:
  Names(const config::ModelSettings& model, const std::vector<ParameterSpec>& specs)
      : model_(model), specs_(specs) {}

  std::vector<PublishedTensor> all() {
    for (index_ = 0; index_ < specs_.size(); ++index_) {
      const std::size_t before = tensors_.size();
      if (model_.arch == "gpt") gpt();
      if (model_.arch == "llama") llama();
      if (model_.arch == "t5") t5();
      if (tensors_.size() == before) add(std::string(kOwn) + specs_[index_].name);
    }
    return std::move(tensors_);
  }

 private:
  void add(const std::string& name, std::int64_t first_row, std::int64_t n_rows, bool transposed) {
    tensors_.push_back({name, index_, first_row, n_rows, transposed});
  }
  void add(const std::string& name, bool transposed = false) {
    add(name, 0, specs_[index_].shape[0], transposed);
  }

  void gpt() {
    static const Words kOutside = {{"embedding", "transformer.wte"},
                                   {"positions", "transformer.wpe"},
                                   {"final_norm", "transformer.ln_f"},
                                   {"head", "lm_head"}};
    static const Words kInside = {
        {"attention_norm", "ln_1"},       {"attention_qkv", "attn.c_attn"},
        {"attention_out", "attn.c_proj"}, {"mlp_norm", "ln_2"},
        {"mlp_up", "mlp.c_fc"},           {"mlp_down", "mlp.c_proj"}};
    const OwnName own = taken_apart(specs_[index_].name, /*biases=*/true);
    const char* kind = own.bias ? ".bias" : ".weight";
    const std::string published = word(own.layer.empty() ? kOutside : kInside, own.part);
    if (published.empty()) return;
    if (own.layer.empty()) {
      add(published + kind);
      return;
    }
    const bool conv1d = specs_[index_].shape.size() == 2;  // keeps (n_in, n_out)
    add(fmt::format("transformer.h.{}.{}{}", own.layer, published, kind), conv1d);
  }

  /// q, k and v apart.
  void add_qkv(const std::string& prefix, const std::vector<const char*>& names) {
    const std::int64_t kv = model_.kv_heads() * model_.head_size();
    std::int64_t row = specs_[index_].shape[0] - 2 * kv;  // of q, none in a kv
    std::size_t next = 0;
    if (row > 0) add(fmt::format("{}{}.weight", prefix, names[next++]), 0, row, false);
    for (int i = 0; i < 2; ++i, row += kv) {
      add(fmt::format("{}{}.weight", prefix, names[next++]), row, kv, false);
    }
  }

  void llama() {
    static const Words kOutside = {{"embedding", "model.embed_tokens.weight"},
                                   {"final_norm", "model.norm.weight"},
                                   {"head", "lm_head.weight"}};
    static const Words kInside = {{"attention_norm", "input_layernorm"},
                                  {"attention_out", "self_attn.o_proj"},
                                  {"mlp_norm", "post_attention_layernorm"},
                                  {"mlp_up", "mlp.up_proj"},
                                  {"mlp_gate", "mlp.gate_proj"},
                                  {"mlp_down", "mlp.down_proj"}};
    const OwnName own = taken_apart(specs_[index_].name, /*biases=*/false);
    if (own.layer.empty()) {
      const std::string published = word(kOutside, own.part);
      if (!published.empty()) add(published);
      return;
    }
    const std::string prefix = fmt::format("model.layers.{}.", own.layer);
    if (own.part == "attention_qkv") {
      add_qkv(prefix, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"});
      return;
    }
    const std::string published = word(kInside, own.part);
    if (!published.empty()) add(prefix + published + ".weight");
  }

  void t5() {
    static const Words kOutside = {
        {"embedding", "shared"},
        {"encoder_norm", "encoder.final_layer_norm"},
        {"final_norm", "decoder.final_layer_norm"},
        {"head", "lm_head"},
        {"encoder_relative_bias", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
        {"relative_bias", "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"}};
    const OwnName own = taken_apart(specs_[index_].name, /*biases=*/false);
    if (own.layer.empty()) {
      const std::string published = word(kOutside, own.part);
      if (!published.empty()) add(published + ".weight");
      return;
    }
    const bool encoder = own.side == "encoder";
    const std::string block =
        fmt::format("{}.block.{}.layer.", encoder ? "encoder" : "decoder", own.layer);
    const std::string mlp = block + (encoder ? "1." : "2.");
    const std::string dense = mlp + "DenseReluDense.";
    const Words inside = {{"attention_norm", block + "0.layer_norm"},
                          {"attention_q", block + "0.SelfAttention.q"},
                          {"attention_out", block + "0.SelfAttention.o"},
                          {"cross_norm", block + "1.layer_norm"},
                          {"cross_q", block + "1.EncDecAttention.q"},
                          {"cross_out", block + "1.EncDecAttention.o"},
                          {"mlp_norm", mlp + "layer_norm"},
                          {"mlp_up", dense + (model_.gated_mlp ? "wi_1" : "wi")},
                          {"mlp_gate", model_.gated_mlp ? dense + "wi_0" : std::string()},
                          {"mlp_down", dense + "wo"}};
    if (own.part == "attention_kv") {
      add_qkv(block + "0.SelfAttention.", {"k", "v"});
    } else if (own.part == "cross_kv") {
      add_qkv(block + "1.EncDecAttention.", {"k", "v"});
    } else if (const std::string published = word(inside, own.part); !published.empty()) {
      add(published + ".weight");
    }
  }

  const config::ModelSettings& model_;
  const std::vector<ParameterSpec>& specs_;
  std::size_t index_ = 0;
  std::vector<PublishedTensor> tensors_;
};

}  // namespace

std::vector<PublishedTensor> published_tensors(const config::ModelSettings& model,
                                               const std::vector<ParameterSpec>& specs) {
  return Names(model, specs).all();
}

at::Tensor published(const PublishedTensor& tensor, const at::Tensor& parameter) {
  const at::Tensor rows = parameter.detach().narrow(0, tensor.first_row, tensor.n_rows);
  return (tensor.transposed ? rows.t() : rows).cpu().contiguous();
}

NamedTensors export_weights(const config::ModelSettings& model, const NamedTensors& own) {
  std::vector<ParameterSpec> specs;
  for (const auto& [name, tensor] : own) specs.push_back({name, tensor.sizes().vec(), {}});
  NamedTensors tensors;
  for (const PublishedTensor& tensor : published_tensors(model, specs)) {
    tensors.emplace_back(tensor.name,
                         published(tensor, own[tensor.parameter].second).to(at::kFloat));
  }
  return tensors;
}

void import_weights(const config::ModelSettings& model, const std::string& origin,
                    const NamedTensors& tensors, Parameters& parameters) {
  std::map<std::string, const at::Tensor*> given;
  for (const auto& [name, tensor] : tensors) {
    if (!is_no_parameter(name, model)) given[full_name(name)] = &tensor;
  }
  const bool has_published_names =
      model.arch == "gpt" || model.arch == "llama" || model.arch == "t5";
  for (const PublishedTensor& tensor : published_tensors(model, parameters.specs())) {
    const auto found = given.find(tensor.name);
    if (found == given.end()) {
      if (has_published_names && tensor.name.starts_with(kOwn)) continue;  // a gate: from the seed
      throw_data(fmt::format("{}: lacks '{}'", origin, tensor.name),
                 fmt::format("the tensors of a {} of these settings", model.arch),
                 "compare n_layers, tied_embeddings and the name of the architecture");
    }
    std::vector<std::int64_t> shape = parameters.specs()[tensor.parameter].shape;
    shape[0] = tensor.n_rows;
    if (tensor.transposed) std::swap(shape.front(), shape.back());
    if (found->second->sizes() != at::IntArrayRef(shape)) {
      throw_data(fmt::format("{}: '{}' is ({})", origin, tensor.name,
                             fmt::join(found->second->sizes(), ", ")),
                 fmt::format("({})", fmt::join(shape, ", ")),
                 "compare d_model, n_heads, d_ff, vocab_size and n_positions");
    }
    parameters.set_rows(tensor.parameter, tensor.first_row,
                        tensor.transposed ? found->second->t() : *found->second);
    given.erase(found);
  }
  if (!given.empty()) {
    throw_data(fmt::format("{}: '{}' and {} more have no place in this model", origin,
                           given.begin()->first, given.size() - 1),
               fmt::format("the tensors of a {} of these settings", model.arch),
               "compare n_layers and the name of the architecture");
  }
  parameters.values_changed();
}

}  // namespace pg::model
