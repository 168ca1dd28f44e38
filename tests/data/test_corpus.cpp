#define BOOST_TEST_MODULE data
#include <iconv.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/random.hpp"
#include "data/corpus.hpp"
#include "data/entropy.hpp"
#include "data/utf8.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::data;
using pg::testing::check_error;
using pg::testing::ScratchFolder;

namespace {

bool accepted(const std::string& bytes) {
  try {
    (void)decode_utf8(bytes, "text");
    return true;
  } catch (const InvalidInput&) {
    return false;
  }
}

/// The C library's opinion on the same bytes.
class Iconv {
 public:
  bool accepts(std::string bytes) {
    ::iconv(handle_, nullptr, nullptr, nullptr, nullptr);
    std::string out(4 * bytes.size() + 4, '\0');
    char* from = bytes.data();
    char* to = out.data();
    std::size_t from_left = bytes.size();
    std::size_t to_left = out.size();
    return ::iconv(handle_, &from, &from_left, &to, &to_left) != static_cast<std::size_t>(-1);
  }
  ~Iconv() { ::iconv_close(handle_); }

 private:
  iconv_t handle_ = ::iconv_open("UTF-32LE", "UTF-8");
};

}  // namespace

BOOST_AUTO_TEST_SUITE(utf8)

BOOST_AUTO_TEST_CASE(every_code_point_survives_a_round_trip) {
  std::u32string all;
  for (char32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point < 0xD800 || point > 0xDFFF) all += point;
  }
  BOOST_TEST((decode_utf8(encode_utf8(all), "all") == all));
  BOOST_TEST(encode_utf8(U"aé€😀") == "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
}

BOOST_AUTO_TEST_CASE(malformed_text_is_refused_with_the_byte_offset) {
  struct Case {
    std::string bytes;
    const char* offset;
    const char* what;
  };
  const Case cases[] = {
      {"\x80", "offset 0 (0x80)", "continuation"},
      {"ab\xBF", "offset 2 (0xBF)", "continuation"},
      {"é\xC3", "offset 2 (0xC3)", "cut short"},
      {"\xC3(", "offset 0 (0xC3)", "cut short"},
      {"\xE2\x82", "offset 0 (0xE2)", "cut short"},
      {"x\xE2\x28\xA1", "offset 1 (0xE2)", "cut short"},
      {"\xF0\x9F\x98", "offset 0 (0xF0)", "cut short"},
      {"\xF0\x9F\xC3\xA9", "offset 0 (0xF0)", "cut short"},
      {"\xC0\x80", "offset 0 (0xC0)", "overlong"},
      {"\xC1\xBF", "offset 0 (0xC1)", "overlong"},
      {"\xE0\x80\xAF", "offset 0 (0xE0)", "overlong"},
      {"\xE0\x9F\xBF", "offset 0 (0xE0)", "overlong"},
      {"\xF0\x80\x80\xAF", "offset 0 (0xF0)", "overlong"},
      {"\xF0\x8F\xBF\xBF", "offset 0 (0xF0)", "overlong"},
      {"\xED\xA0\x80", "offset 0 (0xED)", "surrogate"},
      {"\xED\xBF\xBF", "offset 0 (0xED)", "surrogate"},
      {"\xED\xA0\xBD\xED\xB8\x80", "offset 0 (0xED)", "surrogate"},  // a pair, as in CESU-8
      {"\xF4\x90\x80\x80", "offset 0 (0xF4)", "above U+10FFFF"},
      {"\xF7\xBF\xBF\xBF", "offset 0 (0xF7)", "above U+10FFFF"},
      {"\xF8\x88\x80\x80\x80", "offset 0 (0xF8)", "never uses"},
      {"ok\xFE", "offset 2 (0xFE)", "never uses"},
      {"\xFF\xFE"
       "a",
       "offset 0 (0xFF)", "never uses"},  // UTF-16
  };
  for (const Case& wrong : cases) {
    check_error([&] { (void)decode_utf8(wrong.bytes, "text.txt"); }, ExitCode::bad_data,
                {"text.txt", wrong.offset, wrong.what, "iconv"});
  }
}

BOOST_AUTO_TEST_CASE(the_c_library_accepts_the_same_bytes) {
  Iconv iconv;
  const auto agree = [&](const std::string& bytes) {
    BOOST_REQUIRE_MESSAGE(accepted(bytes) == iconv.accepts(bytes), "disagreement");
  };
  for (int first = 0; first < 256; ++first) {
    agree({static_cast<char>(first)});
    for (int second = 0; second < 256; second += first < 0x80 ? 37 : 1) {
      agree({static_cast<char>(first), static_cast<char>(second)});
    }
  }
  // Bytes at the edges of the ranges of the Unicode table, in every combination of four.
  const unsigned char edges[] = {0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1,
                                 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5};
  for (const unsigned char a : edges) {
    for (const unsigned char b : edges) {
      for (const unsigned char c : edges) {
        for (const unsigned char d : edges) {
          if (a < 0xC0) continue;
          agree({static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                 static_cast<char>(d)});
        }
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(corpus)

BOOST_AUTO_TEST_CASE(a_text_becomes_two_splits_of_ids) {
  const ScratchFolder folder;
  const std::string text = "hällo wörld, ein Text\nmit €uro und 😀.";
  write_file(folder / "text.txt", text);
  const Corpus corpus = read_text_corpus(folder / "text.txt", 0.25);
  const std::u32string characters = decode_utf8(text, "text");
  BOOST_TEST(corpus.train.size() == characters.size() * 3 / 4);
  BOOST_TEST(corpus.train.size() + corpus.validation.size() == characters.size());
  BOOST_TEST(text_of(corpus, corpus.train) + text_of(corpus, corpus.validation) == text);
  for (std::size_t i = 1; i < corpus.alphabet.size(); ++i) {
    BOOST_TEST((corpus.alphabet[i - 1] < corpus.alphabet[i]));
  }
  for (const char32_t point : corpus.alphabet) {
    BOOST_TEST((characters.find(point) != std::u32string::npos));
  }
  BOOST_TEST(corpus.vocabulary() == 22);
  BOOST_TEST(corpus.sha256 == sha256_hex(text));
  BOOST_TEST(corpus.name == "text.txt");
  BOOST_TEST(corpus.description.find(std::to_string(text.size()) + " bytes") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_last_tenth_is_held_out) {
  const ScratchFolder folder;
  for (const std::size_t size : {std::size_t{20}, std::size_t{99}, std::size_t{1'000'000}}) {
    std::string text(size, 'a');
    text.back() = 'b';
    write_file(folder / "text.txt", text);
    const Corpus corpus = read_text_corpus(folder / "text.txt", 0.1);
    BOOST_TEST(corpus.train.size() == size * 9 / 10);
    BOOST_TEST(corpus.validation.back() == 1U);  // the alphabet is that of the whole file
    BOOST_TEST(corpus.vocabulary() == 2);
  }
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_not_text) {
  const ScratchFolder folder;
  write_file(folder / "text.txt",
             "\xEF\xBB\xBF"
             "abab");
  const Corpus corpus = read_text_corpus(folder / "text.txt", 0.5);
  BOOST_TEST(corpus.vocabulary() == 2);
  BOOST_TEST(corpus.train.size() == 2U);
}

BOOST_AUTO_TEST_CASE(unusable_files_are_refused) {
  const ScratchFolder folder;
  const auto refuse = [&](const std::string& name, const std::string& content,
                          std::initializer_list<std::string_view> fragments) {
    write_file(folder / name, content);
    check_error([&] { (void)read_text_corpus(folder / name, 0.1); }, ExitCode::bad_data, fragments);
  };
  refuse("empty.txt", "", {"empty.txt", "is empty"});
  refuse("latin.txt", "na\xEFve", {"latin.txt", "byte offset 2"});
  refuse("mono.txt", "aaaa", {"mono.txt", "1 distinct"});
  refuse("mark.txt", "\xEF\xBB\xBF", {"mark.txt", "0 distinct"});
  check_error([&] { (void)read_text_corpus(folder / "missing.txt", 0.1); }, ExitCode::input_output,
              {"missing.txt", "No such file"});
  check_error([&] { (void)read_text_corpus(folder.path(), 0.1); }, ExitCode::input_output,
              {folder.path().string(), "is a folder"});
  check_error([] { (void)read_text_corpus("/dev/zero", 0.1); }, ExitCode::input_output,
              {"/dev/zero", "no regular file"});
  write_file(folder / "good.txt", "abcabc");
  for (const double fraction : {0.0, 1.0, -0.1, 2.0, std::nan("")}) {
    check_error([&] { (void)read_text_corpus(folder / "good.txt", fraction); }, ExitCode::usage,
                {"held-out fraction", "above 0 and below 1"});
  }
}

BOOST_AUTO_TEST_CASE(ids_have_sixteen_bits) {
  const ScratchFolder folder;
  std::u32string text;
  for (char32_t point = 0x10000; point < 0x10000 + 65'535; ++point) text += point;
  write_file(folder / "full.txt", encode_utf8(text));
  const Corpus corpus = read_text_corpus(folder / "full.txt", 0.1);
  BOOST_TEST(corpus.vocabulary() == 65'535);
  BOOST_TEST(corpus.validation.back() == 65'534U);
  write_file(folder / "over.txt", encode_utf8(text + U'a'));
  check_error([&] { (void)read_text_corpus(folder / "over.txt", 0.1); }, ExitCode::bad_data,
              {"over.txt", "65,536 distinct", "65,535"});
}

BOOST_AUTO_TEST_CASE(a_sequence_must_fit_into_both_splits) {
  const ScratchFolder folder;
  write_file(folder / "text.txt", "ab" + std::string(98, 'c'));
  const Corpus corpus = read_text_corpus(folder / "text.txt", 0.1);
  BOOST_CHECK_NO_THROW(require_length(corpus, 9));
  check_error([&] { require_length(corpus, 10); }, ExitCode::bad_data,
              {"validation", "text.txt", "10 tokens", "at least 11"});
  check_error([&] { require_length(corpus, 90); }, ExitCode::bad_data,
              {"training", "90 tokens", "at least 91"});
}

BOOST_AUTO_TEST_CASE(facts_about_tinyshakespeare) {
  const auto file = pg::testing::shared_data("tinyshakespeare.txt");
  if (!file) return;
  const Corpus corpus = read_text_corpus(*file, 0.1);
  BOOST_TEST(corpus.sha256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed");
  BOOST_TEST(corpus.vocabulary() == 65);
  BOOST_TEST(corpus.train.size() == 1'003'854U);  // the split in common use
  BOOST_TEST(corpus.validation.size() == 111'540U);
  BOOST_TEST((corpus.alphabet[0] == U'\n'));
  BOOST_TEST((corpus.alphabet[64] == U'z'));
  BOOST_TEST(text_of(corpus, std::span(corpus.train).first(14)) == "First Citizen:");
  BOOST_TEST(corpus.description.find("1,115,394 bytes, 65 characters") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(entropies)

BOOST_AUTO_TEST_CASE(small_texts_by_hand) {
  const std::vector<std::uint16_t> alternating = {0, 1, 0, 1, 0, 1, 0, 1};
  BOOST_TEST(unigram_entropy(alternating) == std::log(2.0), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(std::abs(bigram_entropy(alternating)) < 1e-14);  // the next is always known
  // 0 0 1 1 0: the pairs 00, 01, 11, 10 once each; the next is a coin toss.
  BOOST_TEST(bigram_entropy(std::vector<std::uint16_t>{0, 0, 1, 1, 0}) == std::log(2.0),
             boost::test_tools::tolerance(1e-14));
  // One in four: H(1/4) = ln 4 - 3/4 ln 3.
  BOOST_TEST(unigram_entropy(std::vector<std::uint16_t>{7, 65'534, 7, 7}) ==
                 std::log(4.0) - 0.75 * std::log(3.0),
             boost::test_tools::tolerance(1e-14));
  BOOST_TEST(unigram_entropy({}) == 0);
  BOOST_TEST(bigram_entropy({}) == 0);
  BOOST_TEST(bigram_entropy(std::vector<std::uint16_t>{3}) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
