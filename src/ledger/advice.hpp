#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ledger/device.hpp"
#include "ledger/ledger.hpp"

namespace pg::ledger {

/// What to change so that a job fits its device.
struct Advice {
  std::vector<std::string> settings;  ///< path=value
  int n_ranks = 0;                    ///< 0: as many as before
  Job job;                            ///< with these changes

  /// "--set shard.degree=8 --set train.chunk=1 --ranks 64".
  [[nodiscard]] std::string words() const;
};

/// The nearest job that fits: with as few settings changed as possible; of those that change as
/// many, rather a higher degree than activation checkpointing, than smaller chunks, than bfloat16,
/// than more ranks; and each by as little as possible. Nothing if none of them fits. `job` has its
/// team of `n_ranks`. On this machine's CPU more ranks bring no memory and are not tried.
std::optional<Advice> nearest_fit(const Job& job, int n_ranks, const Device& device);

}  // namespace pg::ledger
