#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "config/settings.hpp"
#include "model/parameters.hpp"
#include "ops/ops.hpp"

namespace pg::model {

/// What the dropout of a step draws from: the numbers of one chunk of its batch are a function of
/// these and of the place in the network and in the chunk.
struct DropoutKey {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t first_slot = 0;  ///< place in the batch of the chunk's first sequence
};

/// embedding -> n_layers x [x + attention(norm(x)); x + mlp(norm(x))] -> norm -> head, in two
/// kinds. `nano`: RMSNorm, no biases. `gpt`: LayerNorm, a bias wherever the blocks have a matrix,
/// and the initial weights of GPT-2 (Radford et al., 2019). Both with rotary, learned or no
/// positions as config allows, the head tied or not, dropout where GPT-2 has it: after the
/// embedding, of the attention's probabilities, and of both branches before they are added. A value
/// type: holds shapes and tables, never parameters.
class Transformer {
 public:
  /// `vocabulary` tokens; sequences up to `sequence_length`. Settings as validated by config.
  Transformer(const config::ModelSettings& model, const config::GateSettings& gate,
              std::int64_t vocabulary, std::int64_t sequence_length,
              at::ScalarType type = at::kFloat);

  /// The parameters in the order of the flat buffer.
  [[nodiscard]] std::vector<ParameterSpec> parameter_specs() const;

  /// tokens_bt (b, t) int64, t at most the sequence length -> logits (b, t, v). `parameters` as
  /// made from parameter_specs(). Without `dropout` there is none, whatever the settings say.
  [[nodiscard]] at::Tensor logits(const ParameterSet& parameters, const at::Tensor& tokens_bt,
                                  const std::optional<DropoutKey>& dropout = std::nullopt) const;

  /// Sum over all b * t targets of -log p(target), float64 scalar, differentiable.
  [[nodiscard]] at::Tensor loss_sum(const ParameterSet& parameters, const at::Tensor& tokens_bt,
                                    const at::Tensor& targets_bt,
                                    const std::optional<DropoutKey>& dropout = std::nullopt) const;

 private:
  /// Norm and linear map with the tensor at `index` and, in a gpt, the bias that follows it.
  [[nodiscard]] at::Tensor norm(const ParameterSet& parameters, std::size_t index,
                                const at::Tensor& x_btd) const;
  [[nodiscard]] at::Tensor linear(const ParameterSet& parameters, std::size_t index,
                                  const at::Tensor& x) const;

  config::ModelSettings model_;
  bool biased_;
  ops::GateSpec gate_;
  std::int64_t vocabulary_;
  std::int64_t sequence_length_;
  std::optional<ops::Rope> rope_;
};

/// The gate of the settings as an operator's specification. Throws InternalError for unknown words
/// (config has refused them before).
ops::GateSpec gate_spec(const config::GateSettings& gate);

}  // namespace pg::model
