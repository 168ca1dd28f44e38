#pragma once

#include <cstdint>
#include <vector>

#include "config/settings.hpp"
#include "ledger/operators.hpp"
#include "ledger/tape.hpp"
#include "model/parameters.hpp"

namespace pg::ledger {

/// A network and a chunk of sequences, in sizes.
struct PassShape {
  config::ModelSettings model;
  config::GateSettings gate;
  std::vector<model::ParameterSpec> specs;  ///< of the network
  std::int64_t sequences = 1;
  std::int64_t n_targets = 0;  ///< of a sequence
  std::int64_t n_encoder = 0;  ///< 0: no encoder
};

/// The memory of one forward and backward pass: the fullest moment, by use. It goes through the
/// network as model::Network does, operator by operator; parameters and their gradients are not in
/// it.
BytesByUse pass_memory(const PassShape& shape, Products products, bool scales_loss);

}  // namespace pg::ledger
