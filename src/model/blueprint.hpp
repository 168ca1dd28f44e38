#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "model/parameters.hpp"
#include "model/pass.hpp"

namespace pg::model {

/// The parameters of a network while it is being put together, in the order of the flat buffer.
class SpecList {
 public:
  std::size_t add(std::string name, std::vector<std::int64_t> shape, Init init, bool decays = true);
  /// A matrix that nothing but products uses.
  std::size_t add_operand(std::string name, std::vector<std::int64_t> shape, Init init);
  [[nodiscard]] const std::vector<ParameterSpec>& specs() const { return specs_; }

 private:
  std::vector<ParameterSpec> specs_;
};

/// RMSNorm, or LayerNorm with its bias. A plain LayerNorm is what gate units are normed with.
class Norm {
 public:
  enum class Kind { rms, layer };
  Norm(SpecList& specs, const std::string& name, std::int64_t width, Kind kind, double eps);
  [[nodiscard]] at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;

 private:
  std::size_t scale_;
  std::optional<std::size_t> bias_;
  double eps_;
};

/// What the name of an architecture and its settings mean for the parts: everything in which the
/// families differ stands here.
struct Blueprint {
  config::ModelSettings model;
  config::GateSettings gate;

  Norm::Kind norm = Norm::Kind::rms;
  bool has_biases = false;  ///< wherever a block has a matrix
  bool head_has_bias = false;
  bool norm_first = true;      ///< x + f(norm(x)), else norm(x + f(x))
  double attention_scale = 1;  ///< of the scores
  double embedding_scale = 1;  ///< of the tokens' embedding, before positions
  double output_scale = 1;     ///< before the head
  bool splits_query = false;   ///< q and kv are two tensors in self-attention too

  /// Initial weights of the matrix that makes `n_out` from `n_in` in a part of a block.
  enum class Role { input, query, branch_end };
  [[nodiscard]] Init matrix(std::int64_t n_out, std::int64_t n_in, Role role) const;
  [[nodiscard]] std::optional<Init> bias(std::int64_t n_in) const;  ///< nothing without biases
  [[nodiscard]] Init embedding() const;
  [[nodiscard]] Init head() const;
  [[nodiscard]] Init positions() const;
  [[nodiscard]] Norm make_norm(SpecList& specs, const std::string& name) const;

  /// Settings as validated by config.
  static Blueprint of(const config::ModelSettings& model, const config::GateSettings& gate);
};

}  // namespace pg::model
