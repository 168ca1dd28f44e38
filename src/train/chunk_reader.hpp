#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "data/sampler.hpp"

namespace pg::train {

/// Makes chunks of sequences out of tokens, on the device of the model.
class ChunkReader {
 public:
  /// `tokens` must outlive the reader.
  ChunkReader(std::span<const std::uint16_t> tokens, std::int64_t sequence_length,
              at::Device device)
      : tokens_(tokens), sequence_length_(sequence_length), device_(device) {}

  struct Chunk {
    at::Tensor inputs_bt;   ///< int64
    at::Tensor targets_bt;  ///< the inputs, one further
  };
  /// The sequences that begin at these positions.
  [[nodiscard]] Chunk read(std::span<const std::int64_t> positions) const {
    const auto b = static_cast<std::int64_t>(positions.size());
    const at::Tensor inputs_bt = at::empty({b, sequence_length_}, at::kLong);
    const at::Tensor targets_bt = at::empty({b, sequence_length_}, at::kLong);
    const auto count = static_cast<std::size_t>(b * sequence_length_);
    data::gather_windows(tokens_, positions, sequence_length_,
                         {inputs_bt.data_ptr<std::int64_t>(), count},
                         {targets_bt.data_ptr<std::int64_t>(), count});
    return {inputs_bt.to(device_), targets_bt.to(device_)};
  }

 private:
  std::span<const std::uint16_t> tokens_;
  std::int64_t sequence_length_;
  at::Device device_;
};

}  // namespace pg::train
