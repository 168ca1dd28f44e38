#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "config/settings.hpp"
#include "data/corpus.hpp"
#include "study/provenance.hpp"

namespace pg::study {

/// What must be the same on every rank, each as a hash or a short text.
struct RankIdentity {
  std::string host;
  std::string settings;
  std::string program;
  std::string corpus;
};
/// Names what differs between ranks, and where; empty if nothing does.
std::string rank_differences(const std::vector<RankIdentity>& ranks);

/// Compares the ranks before anything is computed. Collective. Throws InvalidInput (settings) on
/// every rank if they differ.
void require_same_on_all_ranks(const comm::Communicator& world, const config::Study& study,
                               const Build& build, const data::Corpus& corpus);

}  // namespace pg::study
