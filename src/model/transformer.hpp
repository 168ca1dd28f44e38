#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "config/settings.hpp"
#include "model/parameters.hpp"
#include "ops/ops.hpp"

namespace pg::model {

/// The nano transformer: embedding -> n_layers x [x + attention(norm(x)); x + mlp(norm(x))] -> norm
/// -> head. RMSNorm, no biases, no dropout; rotary positions or none; the head tied or not.
/// A value type: holds shapes and tables, never parameters.
class Transformer {
 public:
  /// `vocabulary` tokens; sequences up to `sequence_length`. Settings as validated by config.
  Transformer(const config::ModelSettings& model, const config::GateSettings& gate,
              std::int64_t vocabulary, std::int64_t sequence_length,
              at::ScalarType type = at::kFloat);

  /// The parameters in the order of the flat buffer.
  [[nodiscard]] std::vector<ParameterSpec> parameter_specs() const;

  /// tokens_bt (b, t) int64 -> logits (b, t, v). `parameters` as made from parameter_specs().
  [[nodiscard]] at::Tensor logits(const ParameterSet& parameters,
                                  const at::Tensor& tokens_bt) const;

  /// Sum over all b * t targets of -log p(target), float64 scalar, differentiable.
  [[nodiscard]] at::Tensor loss_sum(const ParameterSet& parameters, const at::Tensor& tokens_bt,
                                    const at::Tensor& targets_bt) const;

 private:
  config::ModelSettings model_;
  ops::GateSpec gate_;
  std::int64_t vocabulary_;
  std::optional<ops::Rope> rope_;
};

/// The gate of the settings as an operator's specification. Throws InternalError for unknown words
/// (config has refused them before).
ops::GateSpec gate_spec(const config::GateSettings& gate);

}  // namespace pg::model
