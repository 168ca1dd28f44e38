#include "train/placed_model.hpp"

#include <algorithm>
#include <utility>

namespace pg::train {

int degree_of(const config::ShardSettings& shard, int team_size) {
  return shard.degree == 0 ? team_size
                           : static_cast<int>(std::min<std::int64_t>(shard.degree, team_size));
}

PlacedModel::PlacedModel(const comm::Communicator& team, const Placement& placement,
                         const model::Network& network, ops::Precision precision,
                         std::uint64_t seed, std::int64_t n_chunks, comm::Exchange::Order order) {
  const int degree = degree_of(placement.shard, team.size());
  if (degree == 1) {
    exchange_ = comm::make_mpi_exchange(team);  // the sum goes through host memory
    auto parameters = std::make_unique<model::ParameterSet>(
        network.parameter_specs(), seed, at::kFloat, placement.device, ops::scalar_type(precision));
    replicated_ = parameters.get();
    gradient_ = replicated_gradient(team, *exchange_, n_chunks, parameters->gradients(), order);
    parameters_ = std::move(parameters);
    return;
  }
  const int group = team.rank() / degree;
  const int place = team.rank() % degree;
  group_ = team.split(group);
  exchange_ = placement.make_exchange(*group_);
  if (degree < team.size()) {
    across_ = team.split(place);
    across_exchange_ = comm::make_mpi_exchange(*across_);
  }
  auto parameters = std::make_unique<shard::ShardedParameters>(
      network.parameter_specs(), network.units(), seed,
      shard::ShardedParameters::Group{*exchange_, place, degree, order}, placement.shard,
      placement.device, ops::scalar_type(precision));
  sharded_ = parameters.get();
  gradient_ = sharded_gradient(team, degree, across_exchange_.get(), n_chunks, *parameters, order);
  parameters_ = std::move(parameters);
}

at::Tensor PlacedModel::whole_gradient() const {
  return replicated_ != nullptr ? replicated_->gradients() : at::Tensor();
}

}  // namespace pg::train
