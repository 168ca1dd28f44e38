// shard: parameters that no rank holds whole: gathered unit by unit before they are used, released
// after, their gradients summed to where the shards are. May know model, comm, config and base.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/exchange.hpp"
#include "config/settings.hpp"
#include "model/parameters.hpp"
#include "model/pass.hpp"
#include "shard/hollow_tensor.hpp"
#include "shard/unit_layout.hpp"

namespace pg::shard {

/// Parameters, each cut on dimension 0 over a group of ranks. values() is this rank's shard, unit
/// after unit. The leaves are whole while a pass runs through their unit: they share a buffer whose
/// memory comes and goes, so that what autograd has kept of them sees the gathered values again
/// (as PyTorch's FSDP does it). Rajbhandari et al., "ZeRO", 2020; Zhao et al., "PyTorch FSDP",
/// 2023.
///
/// All ranks of the group make the same passes in the same order. A training pass is
/// begin_backward(), a forward and a backward pass with PassOptions::units = this, and
/// finish_backward(). Forward passes alone need nothing around them.
class ShardedParameters final : public model::Parameters, public model::UnitObserver {
 public:
  struct Group {
    comm::Exchange& exchange;  ///< of the group's ranks
    int rank = 0;
    int degree = 1;
    comm::Exchange::Order order = comm::Exchange::Order::tree;
  };
  /// `units`: Network::units(). The exchange must outlive this. With an `operand_type` of half
  /// precision operands are rounded before they are gathered, half the memory and half the bytes:
  /// the values that the products would round them to. Their leaves then hold NaN and take
  /// gradients alone.
  ShardedParameters(std::vector<model::ParameterSpec> specs,
                    const std::vector<std::vector<std::size_t>>& units, std::uint64_t seed,
                    const Group& group, const config::ShardSettings& settings,
                    at::Device device = at::kCPU, at::ScalarType operand_type = at::kFloat);
  ~ShardedParameters() override;

  /// Before a training pass, of which the first `n_present` ranks' gradients count.
  void begin_backward(int n_present);
  /// This rank's shard of the sum of the gradients of the ranks that count, laid out like values();
  /// valid until the next training pass. Collective, like all that follows.
  const at::Tensor& finish_backward();

  void values_changed() override;
  [[nodiscard]] at::Tensor whole(std::size_t i, const at::Tensor& flat) const override;

  void before_forward(std::size_t unit) override;
  void after_forward(std::size_t unit) override;
  void before_backward(std::size_t unit) override;

 private:
  /// The buffers of a layout, and what is under way on them.
  struct Exchanged;
  struct Unit;
  /// The elements of a piece in a buffer of words.
  [[nodiscard]] at::Tensor elements(const at::Tensor& words, bool is_half, std::int64_t begin,
                                    std::int64_t count) const;
  [[nodiscard]] at::Tensor full(const Exchanged& buffers, const UnitLayout::Piece& piece) const;
  [[nodiscard]] at::Tensor exchanged(const Exchanged& buffers,
                                     const UnitLayout::Piece& piece) const;
  [[nodiscard]] at::Tensor floats(std::int64_t n) const;
  /// This rank's part of `flat`, laid out like values().
  void start_gather(const UnitLayout& layout, const std::vector<std::size_t>& members,
                    const at::Tensor& flat, Exchanged& buffers) const;
  void finish_gather(const UnitLayout& layout, Exchanged& buffers) const;
  void start_gather(Unit& unit);
  void gather(Unit& unit);
  void release(Unit& unit);
  void make_gradients(Unit& unit);
  void start_reduction(Unit& unit);
  void finish_reduction(Unit& unit);
  void finish_units_after(std::size_t unit);

  Group group_;
  int part_;  ///< of this rank in all that is exchanged
  config::ShardSettings settings_;
  std::vector<Unit> units_;
  at::Tensor gradient_;
  int n_present_ = 0;
};

}  // namespace pg::shard
