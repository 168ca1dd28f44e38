#pragma once

#include <array>
#include <cstdint>
#include <string_view>

// Counter-based random numbers: a value is a function of (seed, purpose, step, index) and of
// nothing else, so there is no generator state to save, and no order of evaluation to keep (promise
// P1).

namespace pg::random {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// Constexpr, which is also what lets a GPU call it.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53U;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57U;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

/// What a number is for. Never renumber: results depend on the values.
enum class Purpose : std::uint32_t {
  initial_weight = 1,
  sample_order = 2,
  synthetic_text = 3,
  synthetic_rule = 4,
  dropout = 5,
  bootstrap = 6,
  test = 7,
  span_corruption = 8,
};

/// A stream of numbers addressed by (step, index); a value type without state.
class Stream {
 public:
  Stream(std::uint64_t seed, Purpose purpose, std::uint64_t step = 0);

  [[nodiscard]] std::uint64_t bits(std::uint64_t index) const;
  /// Uniform in [0, 1) with 53 bits.
  [[nodiscard]] double uniform(std::uint64_t index) const;
  /// Standard normal by Box-Muller from the two halves of one Philox block.
  [[nodiscard]] double normal(std::uint64_t index) const;
  /// Uniform integer in [0, bound), bound >= 1; bias below 2^-64 * bound.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound, std::uint64_t index) const;
  /// All four words at an index: philox4x32 of {index, step}, low words first, under key().
  [[nodiscard]] std::array<std::uint32_t, 4> block(std::uint64_t index) const;

  [[nodiscard]] std::array<std::uint32_t, 2> key() const { return key_; }

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint64_t step_;
};

/// 64-bit name hash (FNV-1a, then a finaliser), for streams that belong to a named tensor.
std::uint64_t name_hash(std::string_view name);

/// A keyed permutation of [0, size): a balanced Feistel network over the next power of four, walked
/// until the value falls inside. Evaluates any position on its own; nothing is shuffled in memory.
class Permutation {
 public:
  Permutation(std::uint64_t size, const Stream& stream);
  [[nodiscard]] std::uint64_t operator()(std::uint64_t position) const;

 private:
  std::uint64_t size_;
  std::uint32_t half_bits_;
  std::array<std::uint32_t, 8> round_keys_;
};

}  // namespace pg::random
