#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>

#include "model/blueprint.hpp"
#include "ops/gate_spec.hpp"

namespace pg::model {

/// The elementwise part of an MLP: its vanilla activation, or a paGating unit
///   y = x [alpha N(g(h)) + (1 - alpha) b(h)],
/// with x = h where the MLP makes one tensor, and N a LayerNorm or nothing. The mixing parameter is
/// a number given with each pass, a tensor that is learned, or a function of the token.
class GateUnit {
 public:
  enum class Place {
    mlp,          ///< x = h
    linear_unit,  ///< x and h from two matrices
    heads,        ///< x = h, the concatenated output of the attention heads
  };
  /// Registers `name`_gate_norm and `name`_alpha where the settings ask for them.
  GateUnit(SpecList& specs, const std::string& name, const Blueprint& blueprint, Place place,
           std::int64_t width);

  /// x and h (b, t, width), the same tensor outside a linear unit -> (b, t, width). `alpha` is used
  /// where it is neither learned nor the token's.
  [[nodiscard]] at::Tensor operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& h,
                                      double alpha) const;

  /// Place of the learned parameter p, alpha = sigmoid(p), if there is one.
  [[nodiscard]] std::optional<std::size_t> learned() const { return learned_; }

 private:
  enum class Source { number, learned, entropy, confidence };
  [[nodiscard]] at::Tensor alpha_tensor(const Pass& pass, const at::Tensor& h) const;
  void show(const Pass& pass, const at::Tensor& token_alpha) const;

  ops::GateSpec spec_;
  bool of_heads_;
  bool vanilla_;
  bool tanh_of_value_ = false;
  Source source_ = Source::number;
  double scale_;
  double temperature_;
  std::optional<Norm> norm_;
  std::optional<std::size_t> learned_;
};

/// The factor phi(h) / h of an activation, e.g. Phi for gelu.
ops::GateFunction factor_of(const std::string& activation);

}  // namespace pg::model
