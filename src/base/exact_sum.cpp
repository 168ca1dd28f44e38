#include "base/exact_sum.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace pg {
namespace {

constexpr int kDigitBits = 32;
/// Bit 0 of digit 0 counts 2^-1088: a whole number of digits below the least double, 2^-1074.
constexpr int kBias = 34 * kDigitBits;
/// That of the greatest double's leading bits, as many as a word has.
constexpr int kMostPower = 960;
constexpr std::uint64_t kDigitMask = 0xFFFFFFFFU;
/// An addition changes a digit by less than 2^32, and a digit holds 63 bits.
constexpr std::int64_t kMostAdded = std::int64_t{1} << 29;

enum Special : std::size_t { kNan, kPlusInfinity, kMinusInfinity };

}  // namespace

void ExactSum::add_shifted(std::uint64_t magnitude, bool negative, int position) {
  const auto digit = static_cast<std::size_t>(position / kDigitBits);
  const int shift = position % kDigitBits;
  const unsigned __int128 wide = static_cast<unsigned __int128>(magnitude) << shift;
  const std::int64_t sign = negative ? -1 : 1;
  digits_[digit] += sign * static_cast<std::int64_t>(static_cast<std::uint64_t>(wide) & kDigitMask);
  digits_[digit + 1] +=
      sign * static_cast<std::int64_t>(static_cast<std::uint64_t>(wide >> 32) & kDigitMask);
  digits_[digit + 2] += sign * static_cast<std::int64_t>(static_cast<std::uint64_t>(wide >> 64));
  if (++n_added_ >= kMostAdded) normalise();
}

void ExactSum::add(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const int exponent = static_cast<int>((bits >> 52) & 0x7FFU);
  std::uint64_t mantissa = bits & ((std::uint64_t{1} << 52) - 1);
  const bool negative = (bits >> 63) != 0;
  if (exponent == 0x7FF) {
    ++specials_[mantissa != 0 ? kNan : negative ? kMinusInfinity : kPlusInfinity];
    return;
  }
  if (exponent != 0) mantissa |= std::uint64_t{1} << 52;
  add_shifted(mantissa, negative, std::max(exponent, 1) - 1075 + kBias);
}

void ExactSum::add(std::uint64_t magnitude, int power) {
  require(power >= -kBias && power <= kMostPower, "a power of two in the range of double");
  if (magnitude != 0) add_shifted(magnitude, false, power + kBias);
}

void ExactSum::add_squares(std::span<const float> values) {
  // The square of a 24-bit mantissa has 48 bits, so 2^16 of one exponent fit into 64: one integer
  // multiplication and one addition an element, and the wide number only once a block. Four tables
  // side by side, because neighbours tend to have the same exponent and would wait for each other.
  constexpr std::size_t kTables = 4;
  constexpr std::size_t kBlock = kTables << 16U;
  constexpr std::size_t kExponents = 256;
  for (std::size_t first = 0; first < values.size(); first += kBlock) {
    const auto block = values.subspan(first, std::min(kBlock, values.size() - first));
    std::array<std::array<std::uint64_t, kExponents>, kTables> sums{};
    for (std::size_t i = 0; i < block.size(); ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(block[i]);
      const std::uint32_t exponent = (bits >> 23U) & 0xFFU;
      const std::uint64_t mantissa =
          (bits & 0x7FFFFFU) | (static_cast<std::uint32_t>(exponent != 0) << 23U);
      if (exponent == 0xFF) {
        ++specials_[(bits & 0x7FFFFFU) != 0 ? kNan : kPlusInfinity];
        continue;
      }
      sums[i % kTables][exponent] += mantissa * mantissa;
    }
    for (const auto& table : sums) {
      for (std::size_t exponent = 0; exponent < kExponents; ++exponent) {
        add(table[exponent], 2 * (std::max(static_cast<int>(exponent), 1) - 150));
      }
    }
  }
}

void ExactSum::normalise() {
  for (std::size_t i = 0; i + 1 < kDigits; ++i) {
    digits_[i + 1] += digits_[i] >> kDigitBits;  // arithmetic: rounds down, so the digit is >= 0
    digits_[i] &= static_cast<std::int64_t>(kDigitMask);
  }
  n_added_ = 0;
}

double ExactSum::value() const {
  if (specials_[kNan] != 0 || (specials_[kPlusInfinity] != 0 && specials_[kMinusInfinity] != 0)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (specials_[kPlusInfinity] != 0) return std::numeric_limits<double>::infinity();
  if (specials_[kMinusInfinity] != 0) return -std::numeric_limits<double>::infinity();
  ExactSum sum = *this;
  sum.normalise();
  const bool negative = sum.digits_.back() < 0;
  if (negative) {
    for (std::int64_t& digit : sum.digits_) digit = -digit;
    sum.normalise();
  }
  std::size_t top = kDigits;
  while (top > 0 && sum.digits_[top - 1] == 0) --top;
  if (top == 0) return 0;
  // The leading 64 bits, the rest as one sticky bit below them: the conversion to double then
  // rounds as the exact number would. A sum of doubles has no bits below the least double, so
  // nothing is rounded twice there.
  const auto digit = [&](std::size_t i) {
    return i < kDigits ? static_cast<std::uint64_t>(sum.digits_[i]) : 0;
  };
  const int lead = std::bit_width(digit(top - 1));
  unsigned __int128 head = digit(top - 1);
  int taken = 1;
  for (; taken < 3; ++taken) {
    const std::size_t i = top - 1 - static_cast<std::size_t>(taken);
    head = (head << kDigitBits) | digit(i);  // digit(-1) and below are 0
  }
  const int drop = lead + 2 * kDigitBits - 64;
  bool sticky = (head & ((static_cast<unsigned __int128>(1) << drop) - 1)) != 0;
  for (std::size_t i = 0; i + 3 < top; ++i) sticky = sticky || sum.digits_[i] != 0;
  auto leading = static_cast<std::uint64_t>(head >> drop);
  if (sticky) leading |= 1U;
  const int power = (static_cast<int>(top) - 3) * kDigitBits - kBias + drop;
  const double magnitude = std::ldexp(static_cast<double>(leading), power);
  return negative ? -magnitude : magnitude;
}

std::array<std::int64_t, ExactSum::kWords> ExactSum::words() const {
  ExactSum sum = *this;
  sum.normalise();
  std::array<std::int64_t, kWords> words{};
  std::copy(sum.digits_.begin(), sum.digits_.end(), words.begin());
  std::copy(sum.specials_.begin(), sum.specials_.end(), words.begin() + kDigits);
  return words;
}

ExactSum ExactSum::from_words(std::span<const std::int64_t, kWords> words) {
  ExactSum sum;
  std::copy_n(words.begin(), kDigits, sum.digits_.begin());
  std::copy_n(words.begin() + kDigits, sum.specials_.size(), sum.specials_.begin());
  sum.normalise();
  return sum;
}

}  // namespace pg
