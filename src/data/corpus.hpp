// data: what the models read: corpora, the embedded synthetic language, and which sample belongs to
// which (seed, step, slot). Plain vectors and spans; may know base only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pg::data {

/// A text as token ids, split in two. An id is the position of its character in `alphabet`.
struct Corpus {
  std::vector<std::uint16_t> train;
  std::vector<std::uint16_t> validation;  ///< the end of the text
  std::u32string alphabet;                ///< code points, ascending, each once
  std::string sha256;                     ///< of the source bytes
  std::string name;                       ///< short, for tables: "tinyshakespeare.txt"
  std::string description;                ///< one line for the output: what it is and how large

  [[nodiscard]] std::int64_t vocabulary() const {
    return static_cast<std::int64_t>(alphabet.size());
  }
};

/// Reads any UTF-8 text file, one token per character (a leading byte-order mark is not part of the
/// text). The alphabet comes from the whole file; the first floor(n (1 - held_out_fraction)) of n
/// characters train, the rest validate. Throws IoError (missing, unreadable or no regular file),
/// InvalidInput data (empty, not UTF-8, fewer than 2 or more than 65,535 distinct characters) or
/// InvalidInput settings (fraction not in (0, 1)).
Corpus read_text_corpus(const std::filesystem::path& path, double held_out_fraction);

/// Splits `ids` (positions in `alphabet`) into a corpus. Throws InvalidInput settings as above.
Corpus split_corpus(std::span<const std::uint16_t> ids, std::u32string alphabet,
                    double held_out_fraction);

/// Whether both splits hold one window of sequence_length inputs and their targets.
bool is_long_enough(const Corpus& corpus, std::int64_t sequence_length);

/// Throws InvalidInput data unless both splits hold one window of sequence_length inputs and their
/// targets: sequence_length + 1 tokens.
void require_length(const Corpus& corpus, std::int64_t sequence_length);

/// UTF-8 text of token ids.
std::string text_of(const Corpus& corpus, std::span<const std::uint16_t> ids);

}  // namespace pg::data
