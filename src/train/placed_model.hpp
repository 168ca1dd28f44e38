#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "comm/communicator.hpp"
#include "comm/exchange.hpp"
#include "config/settings.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"
#include "ops/ops.hpp"
#include "shard/sharded_parameters.hpp"
#include "train/batch_gradient.hpp"

namespace pg::train {

/// Where a trial's tensors are and what moves them; changes no bit of a result.
struct Placement {
  at::Device device = at::kCPU;
  config::ShardSettings shard = {};
  /// For the memory of the device.
  std::function<std::unique_ptr<comm::Exchange>(const comm::Communicator&)> make_exchange =
      comm::make_mpi_exchange;
};

/// Ranks of a team that share out the parameters: shard.degree, at most all of them.
int degree_of(const config::ShardSettings& shard, int team_size);

/// The parameters of a model on a team of ranks, and what sums their gradients.
class PlacedModel {
 public:
  /// For passes of this precision. Collective over the team, which must outlive this.
  PlacedModel(const comm::Communicator& team, const Placement& placement,
              const model::Network& network, ops::Precision precision, std::uint64_t seed,
              std::int64_t n_chunks, comm::Exchange::Order order);

  [[nodiscard]] model::Parameters& parameters() { return *parameters_; }
  [[nodiscard]] const model::Parameters& parameters() const { return *parameters_; }
  [[nodiscard]] BatchGradient& gradient() { return *gradient_; }
  [[nodiscard]] const BatchGradient& gradient() const { return *gradient_; }
  /// Whether every pass is made by all ranks together.
  [[nodiscard]] bool is_sharded() const { return sharded_ != nullptr; }
  /// For PassOptions: null where every rank holds all parameters.
  [[nodiscard]] model::UnitObserver* units() const { return sharded_; }
  /// The flat gradient that a backward pass adds into; undefined where they are shared out.
  [[nodiscard]] at::Tensor whole_gradient() const;

 private:
  std::unique_ptr<comm::Communicator> group_;   ///< ranks that share the parameters
  std::unique_ptr<comm::Communicator> across_;  ///< ranks of the same place in each group
  std::unique_ptr<comm::Exchange> exchange_;
  std::unique_ptr<comm::Exchange> across_exchange_;
  std::unique_ptr<model::Parameters> parameters_;
  model::ParameterSet* replicated_ = nullptr;  ///< one of these two
  shard::ShardedParameters* sharded_ = nullptr;
  std::unique_ptr<BatchGradient> gradient_;
};

}  // namespace pg::train
