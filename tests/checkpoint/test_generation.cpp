#define BOOST_TEST_MODULE generation
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <map>

#include "base/files.hpp"
#include "checkpoint/generation.hpp"
#include "checkpoint/sample.hpp"
#include "support/support.hpp"

using pg::checkpoint::Generation;
using pg::testing::ScratchFolder;

namespace {

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

/// Debian's, which has the packages.
const std::string kPython = "/usr/bin/python3";

bool has(const std::string& program) {
  return !output_of("command -v " + program).empty();
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_comes_back) {
  const ScratchFolder folder;
  const auto path = folder / "step_000000012.h5";
  const auto s = pg::testing::sample(12);
  pg::testing::save_sample(s, path);
  const Generation g(path);
  g.verify();
  BOOST_TEST(g.content().step == 12);
  BOOST_TEST((g.content().texts == s.content.texts));
  BOOST_TEST((g.content().integers == s.content.integers));
  BOOST_REQUIRE(g.content().arrays.size() == s.content.arrays.size());
  for (std::size_t i = 0; i < s.bytes.size(); ++i) {
    BOOST_TEST(g.content().arrays[i].name == s.content.arrays[i].name);
    BOOST_TEST((g.content().arrays[i].type == s.content.arrays[i].type));
    BOOST_TEST((g.content().arrays[i].shape == s.content.arrays[i].shape));
    std::vector<std::byte> bytes(s.bytes[i].size());
    g.read(i, 0, bytes);
    BOOST_TEST((bytes == s.bytes[i]));
  }
  BOOST_TEST(folder.n_entries() == 1);  // nothing is left beside it
}

BOOST_AUTO_TEST_CASE(any_part_can_be_read) {
  const ScratchFolder folder;
  const auto path = folder / "g.h5";
  const auto s = pg::testing::sample(1);
  pg::testing::save_sample(s, path);
  const Generation g(path);
  const std::size_t array = g.content().index("moment1/whole");
  const std::int64_t n = g.content().arrays[array].n_bytes();
  const std::int64_t block = pg::checkpoint::kBlockBytes;
  for (const auto& [begin, end] : {std::pair{std::int64_t{0}, n},
                                   {block - 4, block + 4},
                                   {4, block},
                                   {block, block + 8},
                                   {n - 4, n},
                                   {12, 12}}) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(end - begin));
    g.read(array, begin, bytes);
    BOOST_TEST(std::equal(bytes.begin(), bytes.end(), s.bytes[array].begin() + begin));
  }
}

BOOST_AUTO_TEST_CASE(same_content_same_bytes) {
  const ScratchFolder folder;
  pg::testing::save_sample(pg::testing::sample(3), folder / "a.h5");
  pg::testing::save_sample(pg::testing::sample(3), folder / "b.h5");
  BOOST_TEST((pg::read_file(folder / "a.h5") == pg::read_file(folder / "b.h5")));
}

BOOST_AUTO_TEST_CASE(nothing_but_texts) {
  const ScratchFolder folder;
  pg::testing::Sample s;
  s.content.step = 1;
  s.content.texts = {{"settings", std::string(60'000, 'x')}};
  pg::testing::save_sample(s, folder / "g.h5");
  const Generation g(folder / "g.h5");
  g.verify();
  BOOST_TEST(g.content().texts.at("settings").size() == 60'000U);
  BOOST_TEST(g.content().arrays.empty());
}

BOOST_AUTO_TEST_CASE(many_arrays) {
  const ScratchFolder folder;
  pg::testing::Sample s;
  for (int i = 0; i < 1500; ++i) {
    s.add("parameters/blocks." + std::to_string(i) + ".a_rather_long_name_of_a_tensor",
          pg::checkpoint::Type::float32, {2, 3});
  }
  pg::testing::save_sample(s, folder / "g.h5");
  const Generation g(folder / "g.h5");
  g.verify();
  BOOST_TEST(g.content().arrays.size() == 1500U);
}

// Each byte of a file counts: flipped, missing or added, the file is refused by name.
BOOST_AUTO_TEST_CASE(damage_is_always_named) {
  const ScratchFolder folder;
  const auto path = folder / "g.h5";
  pg::testing::save_sample(pg::testing::sample(5, /*large=*/false), path);
  const std::string whole = pg::read_file(path);
  const pg::random::Stream stream(1, pg::random::Purpose::test, 0);
  std::map<std::string, int> refused;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    std::string bytes = whole;
    const auto random = [&](std::uint64_t k, std::size_t n) {
      return static_cast<std::size_t>(stream.uniform(8 * i + k) * static_cast<double>(n));
    };
    std::string kind;
    switch (i % 8) {
      case 0:
      case 1:
      case 2:
        kind = "a bit flipped";
        bytes[random(0, bytes.size())] ^= static_cast<char>(1 << random(1, 8));
        break;
      case 3:
        kind = "cut short";
        bytes.resize(random(0, bytes.size()));
        break;
      case 4: {
        kind = "a hole of zeros";
        const std::size_t begin = random(0, bytes.size());
        const std::size_t end = std::min(bytes.size(), begin + 1 + random(1, 4096));
        bytes.replace(begin, end - begin, end - begin, '\0');
        if (bytes == whole) bytes += '\0';  // there were zeros before
        break;
      }
      case 5:
        kind = "something appended";
        bytes += std::string(1 + random(0, 600), static_cast<char>(random(1, 256)));
        break;
      case 6: {
        kind = "a foreign file";
        bytes = random(0, 2) == 0 ? std::string("\x89HDF\r\n\x1a\n") + whole.substr(512)
                                  : std::string(random(1, 2000), 'x');
        break;
      }
      case 7:
        kind = "a later version";
        bytes.replace(0, std::string("pgmpi generation 1").size(),
                      "pgmpi generation " + std::to_string(2 + random(0, 7)));
        break;
    }
    pg::write_in_place(path, bytes);
    try {
      const Generation g(path);
      g.verify();
      BOOST_ERROR("loaded: " + kind);
    } catch (const pg::InvalidInput& error) {
      BOOST_TEST(std::string(error.what()).find(path.string()) != std::string::npos);
      ++refused[kind];
    }
  }
  int total = 0;
  for (const auto& [kind, n] : refused) total += n;
  BOOST_TEST(total == 2000);
  BOOST_TEST(refused.size() == 6U);
  pg::write_in_place(path, "");
  BOOST_CHECK_THROW(Generation{path}, pg::InvalidInput);
  BOOST_CHECK_THROW(Generation(folder.path()), pg::InvalidInput);
  BOOST_CHECK_THROW(Generation(folder / "absent.h5"), pg::IoError);
}

BOOST_AUTO_TEST_CASE(a_later_version_is_called_that) {
  const ScratchFolder folder;
  const auto path = folder / "g.h5";
  pg::testing::save_sample(pg::testing::sample(5, false), path);
  std::string bytes = pg::read_file(path);
  bytes[std::string("pgmpi generation ").size()] = '2';
  pg::write_in_place(path, bytes);
  BOOST_CHECK_EXCEPTION(Generation{path}, pg::InvalidInput, [](const auto& error) {
    return std::string(error.what()).find("a newer pgmpi wrote it") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(other_readers_open_it) {
  const ScratchFolder folder;
  const auto path = folder / "g.h5";
  auto s = pg::testing::sample(5);
  const std::vector<std::uint16_t> halves = {0x3f80, 0xc049, 0x0001, 0x7f7f};  // bfloat16
  s.content.arrays.push_back({"values/half", pg::checkpoint::Type::bfloat16, {4}});
  const auto half_bytes = std::as_bytes(std::span(halves));
  s.bytes.emplace_back(half_bytes.begin(), half_bytes.end());
  pg::testing::save_sample(s, path);
  if (has("h5ls")) {
    const std::string listed = output_of("h5ls -r " + path.string());
    BOOST_TEST(listed.find("/parameters/half         Dataset {3, 5, 2}") != std::string::npos);
    BOOST_TEST(listed.find("/moment1/whole           Dataset {2, 65536}") != std::string::npos);
  } else {
    BOOST_TEST_MESSAGE("skipped: there is no h5ls here");
  }
  if (!output_of(kPython + " -c 'import h5py'").empty()) {
    BOOST_TEST_MESSAGE("skipped: there is no h5py here");
    return;
  }
  const auto script = folder / "read.py";
  pg::write_file(script, R"(import sys, h5py
file = h5py.File(sys.argv[1], "r")
print(file.attrs["format"].decode(), file.attrs["version"], file.attrs["step"])
def show(name, item):
    if isinstance(item, h5py.Dataset): print(name, item.shape)
file.visititems(show)
print([float(v) for v in file["values/half"].astype("f4")[:]])
print(file["moment1/whole"][:].tobytes().hex()[:32])
)");
  const std::string read = output_of(kPython + " " + script.string() + " " + path.string());
  BOOST_TEST_MESSAGE(read);
  BOOST_TEST(read.find("pgmpi generation 1 5\n") != std::string::npos);
  BOOST_TEST(read.find("moment1/whole (2, 65536)") != std::string::npos);
  BOOST_TEST(read.find("[1.0, -3.140625, 9.183549615799121e-41, 3.3895313892515355e+38]") !=
             std::string::npos);
  std::string expected;
  const auto& bytes = s.bytes[2];
  constexpr const char* kDigits = "0123456789abcdef";
  for (std::size_t i = 0; i < 16; ++i) {
    expected += kDigits[std::to_integer<int>(bytes[i]) >> 4];
    expected += kDigits[std::to_integer<int>(bytes[i]) & 15];
  }
  BOOST_TEST(read.find(expected) != std::string::npos);
}
