// Philox for whole vectors of counters, and what dropout makes of it. Included once per instruction
// set, like ops/simd-inl.hpp.
#if defined(PG_OPS_DROPOUT_INL_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef PG_OPS_DROPOUT_INL_HPP_
#undef PG_OPS_DROPOUT_INL_HPP_
#else
#define PG_OPS_DROPOUT_INL_HPP_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "ops/dropout.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// One round on a block a lane of 64 bits, of which the low half is the word: that is what MulEven
/// reads, and its product stands where the next round wants it. The high halves hold rubbish.
template <class V32, class V64>
HWY_INLINE void philox_round(V32 multiplier0, V32 multiplier1, V64 key0, V64 key1, V64& c0, V64& c1,
                             V64& c2, V64& c3) {
  const hn::DFromV<V32> d32;
  const auto product0 = hn::MulEven(hn::BitCast(d32, c0), multiplier0);
  const auto product1 = hn::MulEven(hn::BitCast(d32, c2), multiplier1);
  c0 = hn::Xor(hn::Xor(c1, key0), hn::ShiftRight<32>(product1));
  c1 = product1;
  c2 = hn::Xor(hn::Xor(c3, key1), hn::ShiftRight<32>(product0));
  c3 = product0;
}

/// The factors of elements [first, first + n), 0 or 1 / (1 - p), into `buffer`, which has room for
/// n + kDropoutSlack floats; returns where in it the first of them stands.
HWY_INLINE const float* dropout_factors(const DropoutStream& stream, std::uint64_t first,
                                        std::int64_t n, float* buffer) {
  const auto lead = static_cast<std::int64_t>(first % 4);
  const std::int64_t n_blocks = (lead + n + 3) / 4;
  const std::uint64_t first_block = stream.first_block + first / 4;
#if HWY_TARGET == HWY_SCALAR  // whose vectors of one lane are nothing to pack words in
  for (std::int64_t i = 0; i < n_blocks; ++i) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(i);
    const auto words = random::philox4x32(
        {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
         static_cast<std::uint32_t>(stream.step), static_cast<std::uint32_t>(stream.step >> 32)},
        {stream.key[0], stream.key[1]});
    for (std::size_t w = 0; w < 4; ++w) {
      buffer[4 * i + static_cast<std::int64_t>(w)] =
          words[w] < stream.threshold ? 0.0F : stream.scale;
    }
  }
#else
  const hn::ScalableTag<std::uint64_t> d64;
  const hn::Repartition<std::uint32_t, decltype(d64)> d32;
  static_assert(8 * hn::MaxLanes(d64) + 6 <= kDropoutSlack);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d64));
  const auto multiplier0 = hn::Set(d32, 0xD2511F53U);
  const auto multiplier1 = hn::Set(d32, 0xCD9E8D57U);
  const auto threshold = hn::Set(d32, stream.threshold);
  std::uint32_t scale_bits = 0;
  std::memcpy(&scale_bits, &stream.scale, sizeof(scale_bits));
  const auto scale = hn::Set(d32, scale_bits);
  const auto factors = [&](auto even, auto odd) HWY_ATTR {
    const auto words =
        hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(odd)), hn::BitCast(d32, even));
    return hn::BitCast(d64, hn::IfThenZeroElse(hn::Lt(words, threshold), scale));
  };

  // Two groups of blocks at a time: a round waits for its products, and the other group's fill in.
  for (std::int64_t i = 0; i < n_blocks; i += 2 * lanes) {
    const auto start = first_block + static_cast<std::uint64_t>(i);
    auto a0 = hn::Iota(d64, start);
    auto b0 = hn::Iota(d64, start + static_cast<std::uint64_t>(lanes));
    auto a1 = hn::ShiftRight<32>(a0);
    auto b1 = hn::ShiftRight<32>(b0);
    auto a2 = hn::Set(d64, stream.step);
    auto b2 = a2;
    auto a3 = hn::Set(d64, stream.step >> 32);
    auto b3 = a3;
    std::uint32_t key0 = stream.key[0];
    std::uint32_t key1 = stream.key[1];
    for (int round = 0; round < 10; ++round) {
      const auto k0 = hn::Set(d64, key0);
      const auto k1 = hn::Set(d64, key1);
      philox_round(multiplier0, multiplier1, k0, k1, a0, a1, a2, a3);
      philox_round(multiplier0, multiplier1, k0, k1, b0, b1, b2, b3);
      key0 += 0x9E3779B9U;
      key1 += 0xBB67AE85U;
    }
    auto* to = reinterpret_cast<std::uint64_t*>(buffer + 4 * i);
    hn::StoreInterleaved2(factors(a0, a1), factors(a2, a3), d64, to);
    hn::StoreInterleaved2(factors(b0, b1), factors(b2, b3), d64, to + 2 * lanes);
  }
#endif
  return buffer + lead;
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
