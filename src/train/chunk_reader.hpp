#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "data/objective.hpp"
#include "model/pass.hpp"

namespace pg::train {

/// Makes chunks of examples out of tokens, on the device of the model.
class ChunkReader {
 public:
  /// `tokens`, each below `vocabulary`, must outlive the reader.
  ChunkReader(std::span<const std::uint16_t> tokens, std::int64_t vocabulary,
              const data::Objective& objective, data::Objective::Split split,
              std::int64_t sequence_length, at::Device device);

  /// The windows that begin at these positions: the samples `first_sample` and following.
  [[nodiscard]] model::Example read(std::span<const std::int64_t> positions,
                                    std::int64_t first_sample) const;

 private:
  std::span<const std::uint16_t> tokens_;
  std::int64_t vocabulary_;
  data::Objective objective_;
  data::Objective::Split split_;
  std::size_t window_;  ///< tokens
  at::Device device_;
};

}  // namespace pg::train
