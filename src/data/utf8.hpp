#pragma once

#include <string>
#include <string_view>

namespace pg::data {

/// Code points of UTF-8 text. Strict (Unicode 15, table 3-7): overlong forms, surrogates, values
/// above U+10FFFF, stray continuation bytes and cut sequences throw InvalidInput (data) that names
/// `origin` and the byte offset.
std::u32string decode_utf8(std::string_view bytes, const std::string& origin);

/// The inverse. Code points must be valid (as decode_utf8 returns them).
std::string encode_utf8(std::u32string_view text);

}  // namespace pg::data
