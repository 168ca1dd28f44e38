#include "base/random.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace pg::random {

namespace {

std::uint64_t finalise(std::uint64_t x) {  // the mixer of SplitMix64
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9U;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

double unit_interval(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32) | low;
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace

Stream::Stream(std::uint64_t seed, Purpose purpose, std::uint64_t step) : key_{}, step_(step) {
  // The purpose goes into the key and not into the counter: the counter's 128 bits are all taken by
  // step and index.
  const std::uint64_t mixed =
      finalise(seed + 0x9E3779B97F4A7C15U * (static_cast<std::uint64_t>(purpose) + 1));
  key_ = {static_cast<std::uint32_t>(mixed), static_cast<std::uint32_t>(mixed >> 32)};
}

std::array<std::uint32_t, 4> Stream::block(std::uint64_t index) const {
  return philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                     static_cast<std::uint32_t>(step_), static_cast<std::uint32_t>(step_ >> 32)},
                    key_);
}

std::uint64_t Stream::bits(std::uint64_t index) const {
  const auto words = block(index);
  return (static_cast<std::uint64_t>(words[0]) << 32) | words[1];
}

double Stream::uniform(std::uint64_t index) const {
  const auto words = block(index);
  return unit_interval(words[0], words[1]);
}

double Stream::normal(std::uint64_t index) const {
  const auto words = block(index);
  const double radius = std::sqrt(-2.0 * std::log1p(-unit_interval(words[0], words[1])));
  return radius * std::cos(2.0 * std::numbers::pi * unit_interval(words[2], words[3]));
}

std::uint64_t Stream::below(std::uint64_t bound, std::uint64_t index) const {
  require(bound > 0, "a bound of at least one");
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits(index)) * bound) >> 64);
}

std::uint64_t name_hash(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3U;
  }
  return finalise(hash);
}

Permutation::Permutation(std::uint64_t size, const Stream& stream)
    : size_(size), half_bits_(1), round_keys_{} {
  require(size > 0, "a permutation of at least one element");
  const auto bits = static_cast<std::uint32_t>(std::bit_width(size - 1));
  half_bits_ = std::max<std::uint32_t>(1, (bits + 1) / 2);
  for (std::size_t i = 0; i < round_keys_.size(); ++i) {
    round_keys_[i] = static_cast<std::uint32_t>(stream.bits(i));
  }
}

std::uint64_t Permutation::operator()(std::uint64_t position) const {
  require(position < size_, "a position inside the permutation");
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  do {  // cycle walking: at most four times the size, so about two rounds on average, at worst
    std::uint64_t left = position >> half_bits_;
    std::uint64_t right = position & mask;
    for (const std::uint32_t key : round_keys_) {
      const std::uint64_t mixed = finalise((right << 32) ^ key) & mask;
      const std::uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    position = (left << half_bits_) | right;
  } while (position >= size_);
  return position;
}

}  // namespace pg::random
