#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pg {

/// The exact sum of any doubles and of squares of floats, rounded once at the end: the same value
/// in whatever order, grouping and place the parts were added (promise P1). A fixed-point number
/// wide enough for every double (Kulisch, "Computer arithmetic and validity", 2008), kept in digits
/// of 32 bits with room for carries (Neal, "Fast exact summation using small and large
/// superaccumulators", 2015).
class ExactSum {
 public:
  /// Digits, and three counts of what is not a number: NaN, +infinity, -infinity.
  static constexpr std::size_t kDigits = 69;
  static constexpr std::size_t kWords = kDigits + 3;

  void add(double value);
  /// magnitude * 2^power, for powers from -1088 on up to 960.
  void add(std::uint64_t magnitude, int power);
  /// Adds x * x for every x, without rounding it.
  void add_squares(std::span<const float> values);

  /// The sum, rounded to nearest, ties to even; NaN or an infinity where one was added (both
  /// infinities: NaN); an infinity beyond the range of double.
  [[nodiscard]] double value() const;

  /// The state as integers. Adding another sum's words to them, one by one, adds the other sum: an
  /// integer all-reduce over up to 2^30 sums is exact in any order.
  [[nodiscard]] std::array<std::int64_t, kWords> words() const;
  static ExactSum from_words(std::span<const std::int64_t, kWords> words);

 private:
  void add_shifted(std::uint64_t magnitude, bool negative, int position);
  void normalise();

  std::array<std::int64_t, kDigits> digits_{};  ///< digit i counts 2^(32 i - kBias)
  std::array<std::int64_t, 3> specials_{};
  std::int64_t n_added_ = 0;  ///< since the carries were last passed on
};

}  // namespace pg
