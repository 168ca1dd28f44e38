#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

// Text without allocation, for code that a signal handler runs.

namespace pg::comm {

/// At most `kCapacity` bytes; what does not fit is cut off.
template <std::size_t kCapacity>
class FixedText {
 public:
  [[nodiscard]] std::string_view view() const { return {data_.data(), size_}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  FixedText& add(std::string_view text) {
    for (const char c : text) {
      if (size_ == kCapacity) break;
      data_[size_++] = c;
    }
    return *this;
  }
  FixedText& add(std::int64_t number) {
    std::array<char, 20> digits{};
    std::size_t count = 0;
    auto rest = static_cast<std::uint64_t>(number);
    if (number < 0) rest = 0 - rest;
    do {
      digits[count++] = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest != 0);
    if (number < 0) add("-");
    while (count > 0) add(std::string_view(&digits[--count], 1));
    return *this;
  }
  /// value / unit with one decimal, rounded down; both at least 0.
  FixedText& add_tenths(std::int64_t value, std::int64_t unit) {
    return add(value / unit).add(".").add(value % unit / (unit / 10));
  }
  /// "543.2 kB"
  FixedText& add_bytes(std::int64_t bytes) {
    if (bytes < 1000) return add(bytes).add(" B");
    if (bytes < 1'000'000) return add_tenths(bytes, 1000).add(" kB");
    if (bytes < 1'000'000'000) return add_tenths(bytes, 1'000'000).add(" MB");
    return add_tenths(bytes, 1'000'000'000).add(" GB");
  }
  /// "0.3 ms" below a second, "31.2 s" from there on; a negative time is none.
  FixedText& add_time(std::int64_t nanoseconds) {
    if (nanoseconds < 0) nanoseconds = 0;
    if (nanoseconds < 1'000'000'000) return add_tenths(nanoseconds, 1'000'000).add(" ms");
    return add_tenths(nanoseconds, 1'000'000'000).add(" s");
  }

 private:
  std::array<char, kCapacity> data_{};
  std::size_t size_ = 0;
};

}  // namespace pg::comm
