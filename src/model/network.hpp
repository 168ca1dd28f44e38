// model: networks built from ops; a network is a list of named tensors and a pure function of them.
// May know ops, config and base.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "model/blueprint.hpp"
#include "model/parameters.hpp"
#include "model/parts.hpp"
#include "model/pass.hpp"
#include "ops/ops.hpp"

namespace pg::model {

/// Every architecture: embedding and positions, an encoder where there is one, n_layers blocks,
/// a norm and a head. A block adds to the residual stream the attention of its normed input, in a
/// decoder beside an encoder the attention to the encoder's output, and an MLP; that of a ResNet-BK
/// adds one ResolventMixer. In what the families differ stands in Blueprint. Dropout is where GPT-2
/// has it: after the embedding, of the attention's probabilities, and of the branches before they
/// are added; in a ResNet-BK inside the experts. A value type: holds shapes and tables, never
/// parameters.
class Network {
 public:
  /// `vocabulary` rows of the embedding; sequences up to `sequence_length`. Settings as validated
  /// by config.
  Network(const config::ModelSettings& model, const config::GateSettings& gate,
          std::int64_t vocabulary, std::int64_t sequence_length, at::ScalarType type = at::kFloat);

  /// The parameters in the order of the flat buffer.
  [[nodiscard]] std::vector<ParameterSpec> parameter_specs() const { return specs_.specs(); }
  /// Units, by the places of their parameters in that list: what a pass uses together, in the order
  /// in which it does. Unit 0 is what stands outside the blocks, then each block, the encoder's
  /// first, then final norm and head, of which a network may have neither.
  [[nodiscard]] const std::vector<std::vector<std::size_t>>& units() const { return units_; }

  /// (b, t, v), t at most the sequence length. `parameters` as made from parameter_specs(). The
  /// example's targets are not read. What a graph of it needs is kept alive by the graph, except
  /// the network and the parameters.
  [[nodiscard]] at::Tensor logits(const Parameters& parameters, const Example& example,
                                  const PassOptions& options = {}) const;
  /// Of a network without an encoder.
  [[nodiscard]] at::Tensor logits(const Parameters& parameters, const at::Tensor& tokens_bt) const;

  /// Sum over all b * t targets of -log p(target), float64 scalar, differentiable.
  [[nodiscard]] at::Tensor loss_sum(const Parameters& parameters, const Example& example,
                                    const PassOptions& options = {}) const;

  /// Blocks whose gates have an alpha: the encoder's, then the decoder's.
  [[nodiscard]] std::size_t n_blocks() const;
  /// The alphas of these blocks: of `options`, or learned ones from the parameters, or, where they
  /// are the token's, their means over the example.
  [[nodiscard]] Alphas alphas(const Parameters& parameters, const Example& example,
                              const PassOptions& options) const;

  /// Matrix products and the resolvent of a forward pass over a sequence with `n_targets` targets
  /// and `n_encoder` tokens in the encoder, a multiply-add as two; of causal attention the visible
  /// half.
  [[nodiscard]] double forward_flops(std::int64_t n_targets, std::int64_t n_encoder) const;

 private:
  struct Block {
    std::optional<Norm> attention_norm;
    std::optional<Attention> attention;
    std::optional<Norm> cross_norm;
    std::optional<Attention> cross;
    std::optional<Norm> mlp_norm;
    std::optional<Mlp> mlp;
    std::optional<ResolventMixer> mixer;  ///< in place of attention and MLP
  };
  /// Where in a network: an encoder or a decoder, and its layer.
  struct Where {
    bool encoder;
    std::size_t layer;
  };
  struct Head {
    at::Tensor weights_vd;
    std::optional<at::Tensor> bias_v;
  };
  /// The specs that were added since the last call belong to `unit`.
  void assign_unit(std::size_t unit);
  Block make_block(const std::string& name, bool has_cross);
  [[nodiscard]] at::Tensor embedded(const Pass& pass, const at::Tensor& tokens_bt,
                                    std::uint64_t dropout_place) const;
  [[nodiscard]] at::Tensor through(const Pass& pass, const Where& where, const at::Tensor& x_btd,
                                   const at::Tensor& memory_bud, const at::Tensor& bias_htu,
                                   const std::optional<ops::Rope>& rope) const;
  /// The blocks one after another, each computed again in the backward pass where that is asked.
  [[nodiscard]] at::Tensor stack(const Parameters& parameters, const PassOptions& options,
                                 bool encoder, at::Tensor x_btd,
                                 const at::Tensor& memory_bud) const;
  /// The residual stream that the head reads.
  [[nodiscard]] at::Tensor hidden(const Pass& pass, const Example& example) const;
  /// What the head multiplies.
  [[nodiscard]] at::Tensor features(const Pass& pass, at::Tensor x_btd) const;
  [[nodiscard]] Head head(const Pass& pass) const;
  [[nodiscard]] at::Tensor relative_bias(const Pass& pass, bool encoder, std::int64_t t) const;

  Blueprint blueprint_;
  SpecList specs_;
  std::vector<std::vector<std::size_t>> units_;
  std::size_t n_assigned_ = 0;
  std::int64_t vocabulary_;
  std::size_t embedding_ = 0;
  std::optional<std::size_t> positions_;
  std::optional<std::size_t> encoder_bias_;  ///< (buckets, n_heads)
  std::optional<std::size_t> decoder_bias_;
  std::vector<Block> encoder_;
  std::vector<Block> decoder_;
  std::optional<Norm> encoder_norm_;
  std::optional<Norm> final_norm_;
  std::optional<std::size_t> head_;
  std::optional<std::size_t> head_bias_;
  std::optional<ops::Rope> rope_;
  at::Tensor sinusoids_td_;
  Alphas alphas_;  ///< of the settings, at the first step
};

}  // namespace pg::model
