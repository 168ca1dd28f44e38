// The parts that every network is put together from. A part registers its tensors when it is made
// and keeps their places; it holds no tensor itself.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "model/blueprint.hpp"
#include "model/gate_unit.hpp"
#include "model/parameters.hpp"
#include "model/pass.hpp"

namespace pg::model {

/// y = x W^T + b.
class Linear {
 public:
  /// Registers `name` (n_out, n_in) and, where `bias_init` is given, `name_bias` (n_out).
  Linear(SpecList& specs, const std::string& name, std::int64_t n_out, std::int64_t n_in, Init init,
         const std::optional<Init>& bias_init);
  [[nodiscard]] at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;
  [[nodiscard]] std::int64_t flops() const { return 2 * n_weights_; }  ///< of one row, forward

 private:
  std::size_t weight_;
  std::optional<std::size_t> bias_;
  std::int64_t n_weights_;
};

/// Multi-head attention with its projections: of a sequence to itself, or to an encoder's output.
class Attention {
 public:
  enum class Kind { self, cross };
  /// Tensors `name`_qkv, or `name`_q and `name`_kv for Kind::cross, and `name`_out.
  Attention(SpecList& specs, const std::string& name, const Blueprint& blueprint, Kind kind);

  /// x (b, t, d), memory (b, u, d) for Kind::cross -> (b, t, d). `bias_htu` is added to the scores
  /// where it is defined; `alpha` is the mixing parameter of the gate on the heads, if any.
  [[nodiscard]] at::Tensor operator()(const Pass& pass, const at::Tensor& x_btd,
                                      const at::Tensor& memory_bud, const at::Tensor& bias_htu,
                                      bool causal, const std::optional<ops::Rope>& rope,
                                      std::uint64_t dropout_place, double alpha) const;
  /// Forward FLOPs for `t` queries and `u` keys, of which `visible` are seen by each on average.
  [[nodiscard]] double flops(double t, double u, double visible) const;
  [[nodiscard]] std::optional<std::size_t> learned_alpha() const {
    return gate_ ? gate_->learned() : std::nullopt;
  }

 private:
  std::int64_t n_heads_;
  std::int64_t n_kv_heads_;
  std::int64_t d_head_;
  double scale_;
  std::optional<Linear> qkv_;
  std::optional<Linear> q_;
  std::optional<Linear> kv_;
  std::optional<GateUnit> gate_;
  std::optional<Linear> out_;
};

/// The MLP, vanilla or with a gate unit in any of its forms.
class Mlp {
 public:
  Mlp(SpecList& specs, const std::string& name, const Blueprint& blueprint);
  /// x (b, t, d) -> (b, t, d).
  [[nodiscard]] at::Tensor operator()(const Pass& pass, const at::Tensor& x_btd,
                                      double alpha) const;
  [[nodiscard]] std::int64_t flops() const;  ///< of one token, forward
  [[nodiscard]] std::optional<std::size_t> learned_alpha() const { return unit_->learned(); }

 private:
  std::optional<Norm> pre_norm_;
  std::optional<Linear> up_;
  std::optional<Linear> value_;  ///< with gate_input_: of a linear unit, of x or behind up_
  std::optional<Linear> gate_input_;
  std::optional<GateUnit> unit_;
  std::optional<Norm> post_norm_;
  std::optional<Linear> down_;
};

/// The sublayer of a ResNet-BK: a mixture of experts, whose output m sets a potential along the
/// sequence; the diagonal of a resolvent of the discrete Schroedinger operator with that potential
/// comes back as two features. y = m + s W [Re G, Im G].
class ResolventMixer {
 public:
  ResolventMixer(SpecList& specs, const std::string& name, const Blueprint& blueprint);
  /// x (b, t, d) -> (b, t, d).
  [[nodiscard]] at::Tensor operator()(const Pass& pass, const at::Tensor& x_btd,
                                      std::uint64_t dropout_place, double alpha) const;
  [[nodiscard]] std::int64_t flops() const;  ///< of one token, forward
  [[nodiscard]] std::optional<std::size_t> learned_alpha() const { return unit_->learned(); }

 private:
  /// Each token through the expert of the highest router logit. Fedus et al., "Switch
  /// transformers", 2021.
  [[nodiscard]] at::Tensor experts(const Pass& pass, const at::Tensor& x_nd,
                                   at::IntArrayRef sequences, std::uint64_t dropout_place,
                                   double alpha) const;

  struct Expert {
    Linear up;
    Linear down;
  };
  std::vector<Expert> experts_;
  std::optional<Linear> router_;
  std::optional<GateUnit> unit_;
  std::optional<Linear> potential_;
  std::optional<Linear> features_;
  std::size_t scale_ = 0;
  bool causal_;
  bool scaled_by_probability_;
  ops::ResolventGradient gradient_;
};

}  // namespace pg::model
