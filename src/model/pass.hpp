#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

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

/// Mixing parameters of the gates at one step, by block (decoder's blocks after the encoder's).
struct Alphas {
  std::vector<double> mlp;
  std::vector<double> attention;
};

/// Tokens of a chunk.
struct Example {
  at::Tensor inputs_bt;   ///< int64
  at::Tensor targets_bt;  ///< int64: for each input the token to predict
  at::Tensor encoder_bs;  ///< int64: what an encoder reads; undefined without one
};

/// Told where a pass needs which parameters: those of a unit from before_forward() to
/// after_forward(), and in the backward pass, where a unit's tensors have gradients, from
/// before_backward() to that of a unit before it. Unit 0 (embeddings and what else stands outside
/// the blocks) is needed from its before_forward() to the end of the backward pass.
class UnitObserver {
 public:
  virtual ~UnitObserver() = default;
  virtual void before_forward(std::size_t unit) = 0;
  virtual void after_forward(std::size_t unit) = 0;
  virtual void before_backward(std::size_t unit) = 0;
};

/// What a forward pass depends on beside parameters and tokens.
struct PassOptions {
  std::optional<DropoutKey> dropout =
      std::nullopt;                             ///< none: no dropout, whatever the settings say
  std::optional<Alphas> alphas = std::nullopt;  ///< none: the alphas of the settings
  double label_smoothing = 0;
  ops::Precision precision = ops::Precision::float32;  ///< of the operands of matrix products
  /// Where every attention leaves its probabilities (b, n_heads, t, u), in the order in which they
  /// run: each encoder block's, then each decoder block's and its cross-attention's. Not owned.
  std::vector<at::Tensor>* attention_maps = nullptr;
  /// Where gates whose alpha is the token's leave its mean; of the right sizes and NaN before. Of
  /// several attentions in a block the first counts. Not owned.
  Alphas* token_alphas = nullptr;
  UnitObserver* units = nullptr;  ///< outlives the graph; not owned
};

/// One forward pass, as the parts of a network see it.
struct Pass {
  const Parameters& parameters;
  const PassOptions& options;
  double dropout = 0;     ///< chance
  std::size_t block = 0;  ///< the one that runs: the encoder's count first

  [[nodiscard]] const at::Tensor& operator[](std::size_t index) const { return parameters[index]; }
  [[nodiscard]] at::Tensor operand(std::size_t index) const { return parameters.operand(index); }
  /// The dropout at a place of the network.
  [[nodiscard]] ops::DropoutSite site(std::uint64_t place) const {
    if (!options.dropout) return {};
    const DropoutKey& key = *options.dropout;
    return {dropout, key.seed, static_cast<std::uint64_t>(key.step), place, key.first_slot};
  }
};

}  // namespace pg::model
