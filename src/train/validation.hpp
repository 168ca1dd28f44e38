#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.hpp"
#include "config/settings.hpp"
#include "data/corpus.hpp"
#include "data/objective.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"
#include "train/chunk_reader.hpp"

namespace pg::train {

/// Whether a validation follows after `step` steps.
bool validate_after(std::int64_t step, const config::Settings& settings);

/// Mean loss over the fixed validation windows, whose chunks the team shares out. The sum over
/// chunks is exact, so it does not matter who computes which.
class Validation {
 public:
  /// Corpus and team must outlive this.
  Validation(const config::Settings& settings, const data::Objective& objective,
             const data::Corpus& corpus, const comm::Communicator& team, at::Device device);

  /// Nats per target, the same on every rank. Collective; `tick` is called after every chunk.
  /// `together`: every pass needs all ranks, so one without a chunk makes a pass that does not
  /// count.
  double loss(const model::Network& model, const model::Parameters& parameters,
              const model::PassOptions& options, bool together, const std::function<void()>& tick);

  /// The same on every rank.
  [[nodiscard]] model::Example first_chunk() const;
  /// Chunks of one validation, over all ranks.
  [[nodiscard]] std::int64_t n_chunks() const;
  /// By this rank since the start, and the time it took.
  [[nodiscard]] std::int64_t n_chunks_done() const { return n_chunks_done_; }
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  const comm::Communicator& team_;
  ChunkReader reader_;
  std::vector<std::int64_t> positions_;
  std::int64_t chunk_;
  std::int64_t n_targets_;  ///< of a sequence
  std::int64_t n_chunks_done_ = 0;
  double seconds_ = 0;
};

}  // namespace pg::train
