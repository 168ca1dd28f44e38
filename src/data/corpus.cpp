#include "data/corpus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "data/utf8.hpp"

namespace pg::data {
namespace {

constexpr std::size_t kMaxAlphabet = std::numeric_limits<std::uint16_t>::max();

void require_regular_file(const std::filesystem::path& path) {
  std::error_code failure;
  const auto status = std::filesystem::status(path, failure);
  // A missing file is reported by the read, with the system's words.
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) return;
  const bool folder = std::filesystem::is_directory(status);
  throw IoError({fmt::format("{} is {}", path.string(), folder ? "a folder" : "no regular file"),
                 "one UTF-8 text file",
                 folder ? "name a file inside it" : "save the text to a file first"});
}

std::u32string sorted_alphabet(const std::u32string& text) {
  std::vector<bool> seen(0x110000);
  for (const char32_t point : text) seen[point] = true;
  std::u32string alphabet;
  for (char32_t point = 0; point < seen.size(); ++point) {
    if (seen[point]) alphabet += point;
  }
  return alphabet;
}

}  // namespace

Corpus split_corpus(std::span<const std::uint16_t> ids, std::u32string alphabet,
                    double held_out_fraction) {
  if (!(held_out_fraction > 0 && held_out_fraction < 1)) {
    throw_settings("the held-out fraction is " + shortest(held_out_fraction),
                   "a number above 0 and below 1", "0.1");
  }
  const auto n_train = static_cast<std::size_t>(
      std::floor(static_cast<double>(ids.size()) * (1 - held_out_fraction)));
  Corpus corpus;
  corpus.train.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n_train));
  corpus.validation.assign(ids.begin() + static_cast<std::ptrdiff_t>(n_train), ids.end());
  corpus.alphabet = std::move(alphabet);
  return corpus;
}

Corpus read_text_corpus(const std::filesystem::path& path, double held_out_fraction) {
  require_regular_file(path);
  const std::string bytes = read_file(path);
  if (bytes.empty()) {
    throw_data(path.string() + " is empty", "UTF-8 text",
               "another file, or no file: the embedded synthetic language needs none");
  }
  std::u32string text = decode_utf8(bytes, path.string());
  constexpr char32_t kByteOrderMark = 0xFEFF;
  if (text.front() == kByteOrderMark) text.erase(0, 1);
  std::u32string alphabet = sorted_alphabet(text);
  if (alphabet.size() < 2 || alphabet.size() > kMaxAlphabet) {
    throw_data(
        fmt::format("{} has {} distinct character(s)", path.string(), grouped(alphabet.size())),
        "2 to " + grouped(kMaxAlphabet), "another text file");
  }
  std::vector<std::uint16_t> id_of(alphabet.back() + 1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    id_of[alphabet[i]] = static_cast<std::uint16_t>(i);
  }
  std::vector<std::uint16_t> ids(text.size());
  std::transform(text.begin(), text.end(), ids.begin(),
                 [&](char32_t point) { return id_of[point]; });
  const std::string size = grouped(bytes.size());
  const std::string distinct = grouped(alphabet.size());
  Corpus corpus = split_corpus(ids, std::move(alphabet), held_out_fraction);
  corpus.sha256 = sha256_hex(bytes);
  corpus.name = path.filename().string();
  corpus.description =
      fmt::format("text file {}, {} bytes, {} characters", path.string(), size, distinct);
  return corpus;
}

bool is_long_enough(const Corpus& corpus, std::int64_t sequence_length) {
  return static_cast<std::int64_t>(std::min(corpus.train.size(), corpus.validation.size())) >
         sequence_length;
}

void require_length(const Corpus& corpus, std::int64_t sequence_length) {
  const auto needed = static_cast<std::size_t>(sequence_length) + 1;
  for (const auto& [split, count] : {std::pair("training", corpus.train.size()),
                                     std::pair("validation", corpus.validation.size())}) {
    if (count >= needed) continue;
    throw_data(fmt::format("the {} split of {} has {} tokens", split, corpus.name, grouped(count)),
               fmt::format("at least {}: a sequence of {} and its last target", grouped(needed),
                           sequence_length),
               "a longer text, a shorter sequence or another held-out fraction");
  }
}

std::string text_of(const Corpus& corpus, std::span<const std::uint16_t> ids) {
  std::u32string text;
  text.reserve(ids.size());
  for (const std::uint16_t id : ids) {
    require(id < corpus.alphabet.size(), "token ids inside the alphabet");
    text += corpus.alphabet[id];
  }
  return encode_utf8(text);
}

}  // namespace pg::data
