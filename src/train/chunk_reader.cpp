#include "train/chunk_reader.hpp"

#include "base/error.hpp"

namespace pg::train {

ChunkReader::ChunkReader(std::span<const std::uint16_t> tokens, std::int64_t vocabulary,
                         const data::Objective& objective, data::Objective::Split split,
                         std::int64_t sequence_length, at::Device device)
    : tokens_(tokens),
      vocabulary_(vocabulary),
      objective_(objective),
      split_(split),
      window_(static_cast<std::size_t>(sequence_length) + 1),
      device_(device) {}

model::Example ChunkReader::read(std::span<const std::int64_t> positions,
                                 std::int64_t first_sample) const {
  const auto b = static_cast<std::int64_t>(positions.size());
  const at::Tensor inputs_bt = at::empty({b, objective_.n_targets()}, at::kLong);
  const at::Tensor targets_bt = at::empty_like(inputs_bt);
  const at::Tensor encoder_bs = at::empty({b, objective_.n_encoder()}, at::kLong);
  const auto row = [](const at::Tensor& all, std::size_t k) {
    const auto n = static_cast<std::size_t>(all.size(1));
    return std::span(all.data_ptr<std::int64_t>() + k * n, n);
  };
  for (std::size_t k = 0; k < positions.size(); ++k) {
    const auto first = static_cast<std::size_t>(positions[k]);
    require(positions[k] >= 0 && first + window_ <= tokens_.size(), "a window inside the split");
    objective_.cut(tokens_.subspan(first, window_), vocabulary_, split_,
                   first_sample + static_cast<std::int64_t>(k), row(encoder_bs, k),
                   row(inputs_bt, k), row(targets_bt, k));
  }
  return {inputs_bt.to(device_), targets_bt.to(device_),
          objective_.n_encoder() > 0 ? encoder_bs.to(device_) : at::Tensor()};
}

}  // namespace pg::train
