// A small generation with every type, odd shapes, an empty array, a scalar, and arrays that end
// before, at and behind the end of a block.
#pragma once

#include <cstring>
#include <filesystem>
#include <span>
#include <vector>

#include "base/random.hpp"
#include "checkpoint/content.hpp"
#include "checkpoint/layout.hpp"
#include "checkpoint/save.hpp"
#include "comm/communicator.hpp"

namespace pg::testing {

struct Sample {
  checkpoint::Content content;
  std::vector<std::vector<std::byte>> bytes;

  [[nodiscard]] std::vector<std::span<const std::byte>> data() const {
    return {bytes.begin(), bytes.end()};
  }
  void add(const std::string& name, checkpoint::Type type, std::vector<std::int64_t> shape) {
    content.arrays.push_back({name, type, std::move(shape)});
    const random::Stream stream(static_cast<std::uint64_t>(content.step), random::Purpose::test,
                                content.arrays.size());
    std::vector<std::byte> values(static_cast<std::size_t>(content.arrays.back().n_bytes()));
    for (std::size_t i = 0; i < values.size(); i += 2) {  // finite as a float of any type
      const auto bits = static_cast<std::uint16_t>(stream.uniform(i) * 0x7000);
      std::memcpy(&values[i], &bits, 2);
    }
    bytes.push_back(std::move(values));
  }
};

inline Sample sample(std::int64_t step, bool large = true) {
  using checkpoint::Type;
  Sample s;
  s.content.step = step;
  s.content.texts = {{"settings", "model: {n_layers: 1}\n"}, {"empty", ""}};
  s.content.integers = {{"n_clipped", 7}};
  constexpr std::int64_t kFloats = checkpoint::kBlockBytes / 4;
  s.add("parameters/embedding", Type::float32, {7, 3});
  s.add("parameters/half", Type::bfloat16, {3, 5, 2});
  if (large) {
    s.add("moment1/whole", Type::float32, {2, kFloats});
    s.add("moment1/long", Type::float32, {kFloats + 1});
  }
  s.add("log/none", Type::float64, {0});
  s.add("log/loss", Type::float64, {11});
  s.add("log/step", Type::int64, {11});
  s.add("log/one", Type::float64, {});
  return s;
}

/// Writes it from one rank.
inline void save_sample(const Sample& s, const std::filesystem::path& path) {
  const auto alone = comm::Communicator::alone();
  checkpoint::CopyBuffer buffer;
  checkpoint::Save save(path, s.content, checkpoint::whole(s.data()), alone, buffer);
  save.wait_written();
  save.commit({});
  save.wait_committed();
}

}  // namespace pg::testing
