#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pg {

/// The candidate nearest to `word` by edit distance, if it is near enough to be a slip of the hand.
std::optional<std::string> nearest_word(std::string_view word,
                                        std::span<const std::string> candidates);

/// The shortest decimal text that reads back as the same double: 0.001, 3e-05, 64.
std::string shortest(double value);

/// "45 s", "3 min 20 s", "2 h 05 min", "3 d 4 h"; "unknown" for what is no time (negative, not
/// finite, over 30,000 years).
std::string duration(double seconds);

/// "950", "12.3 k", "4.56 M", "9.10 G".
std::string quantity(double value);

/// "1,115,394".
std::string grouped(long long number);

std::string join(std::span<const std::string> parts, std::string_view separator);
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

/// Strict number parsing of the whole text; nothing for anything else ("1e-3x", "", "nan").
std::optional<double> parse_real(std::string_view text);
std::optional<long long> parse_integer(std::string_view text);

}  // namespace pg
