#include "data/utf8.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace pg::data {
namespace {

/// What a lead byte announces: the length of the sequence, the payload bits of the lead byte and
/// the smallest code point that needs this length.
struct Lead {
  std::size_t length;
  unsigned char payload_mask;
  char32_t smallest;
};

Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0x7F, 0};
  if ((byte & 0xE0) == 0xC0) return {2, 0x1F, 0x80};
  if ((byte & 0xF0) == 0xE0) return {3, 0x0F, 0x800};
  if ((byte & 0xF8) == 0xF0) return {4, 0x07, 0x10000};
  return {0, 0, 0};
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes, const std::string& origin) {
  std::u32string text;
  text.reserve(bytes.size());
  std::size_t at = 0;
  const auto refuse = [&](std::size_t offset, const std::string& what) {
    throw_data(fmt::format("{}: {} at byte offset {} (0x{:02X})", origin, what, offset,
                           static_cast<unsigned char>(bytes[offset])),
               "UTF-8 text", "convert the file, for example with iconv -f LATIN1 -t UTF-8");
  };
  while (at < bytes.size()) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const Lead lead = lead_of(first);
    if (lead.length == 0) {
      refuse(at, (first & 0xC0) == 0x80 ? "a continuation byte without its first byte"
                                        : "a byte that UTF-8 never uses");
    }
    if (at + lead.length > bytes.size()) refuse(at, "a character that is cut short");
    char32_t point = first & lead.payload_mask;
    for (std::size_t i = 1; i < lead.length; ++i) {
      const auto next = static_cast<unsigned char>(bytes[at + i]);
      if ((next & 0xC0) != 0x80) refuse(at, "a character that is cut short");
      point = (point << 6) | (next & 0x3F);
    }
    if (point < lead.smallest) refuse(at, "an overlong character");
    if (point >= 0xD800 && point <= 0xDFFF) refuse(at, "a surrogate");
    if (point > 0x10FFFF) refuse(at, "a character above U+10FFFF");
    text += point;
    at += lead.length;
  }
  return text;
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t point : text) {
    const auto tail = [&](int shift) {
      bytes += static_cast<char>(0x80 | ((point >> shift) & 0x3F));
    };
    if (point < 0x80) {
      bytes += static_cast<char>(point);
    } else if (point < 0x800) {
      bytes += static_cast<char>(0xC0 | (point >> 6));
      tail(0);
    } else if (point < 0x10000) {
      bytes += static_cast<char>(0xE0 | (point >> 12));
      tail(6);
      tail(0);
    } else {
      bytes += static_cast<char>(0xF0 | (point >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }
  return bytes;
}

}  // namespace pg::data
