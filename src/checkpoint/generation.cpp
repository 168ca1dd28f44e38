#include "checkpoint/generation.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>

#include "base/error.hpp"
#include "base/text.hpp"

namespace pg::checkpoint {
namespace {

namespace fs = std::filesystem;
constexpr const char* kPrefix = "step_";
constexpr const char* kSuffix = ".h5";

std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const std::size_t first = std::string(kPrefix).size();
  const auto step = parse_integer(name.substr(first, name.size() - first - 3));
  return step && name == file_name(*step) ? step : std::nullopt;
}

}  // namespace

std::string file_name(std::int64_t step) {
  return fmt::format("{}{:09}{}", kPrefix, step, kSuffix);
}

std::vector<File> list(const fs::path& folder) {
  std::vector<File> files;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    if (const auto step = step_of(entry.path().filename().string())) {
      files.push_back({*step, entry.path()});
    }
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.step > b.step; });
  return files;
}

Generation::Generation(const std::filesystem::path& path)
    : path_(path),
      front_(read_front(path)),
      blocks_(blocks_of(front_.content.arrays)),
      file_(path, O_RDONLY) {
  if (file_.get() < 0) throw_io("cannot read " + path.string(), errno, "check its permissions");
  std::size_t block = 0;
  for (std::size_t i = 0; i < front_.content.arrays.size(); ++i) {
    first_block_.push_back(block);
    while (block < blocks_.size() && blocks_[block].array == i) ++block;
  }
}

void Generation::check_block(std::size_t block, std::span<const std::byte> bytes) const {
  if (digest_of(bytes) == front_.block_digests[block]) return;
  const Block& b = blocks_[block];
  throw_data(
      fmt::format("{}: bytes {} to {} of '{}' do not match their hash: damaged", path_.string(),
                  b.begin, b.begin + b.size, front_.content.arrays[b.array].name),
      "a whole, undamaged generation", "use an older generation, or a newer copy of this one");
}

void Generation::read(std::size_t array, std::int64_t begin, std::span<std::byte> out) const {
  const auto size = static_cast<std::int64_t>(out.size());
  require(begin >= 0 && begin + size <= front_.content.arrays[array].n_bytes(),
          "bytes within the array");
  std::vector<std::byte> buffer;
  std::int64_t at = begin;
  while (at < begin + size) {
    const std::size_t i = first_block_[array] + static_cast<std::size_t>(at / kBlockBytes);
    const Block& block = blocks_[i];
    const std::int64_t first = at - block.begin;
    const std::int64_t n = std::min(block.size - first, begin + size - at);
    const auto target =
        out.subspan(static_cast<std::size_t>(at - begin), static_cast<std::size_t>(n));
    if (n == block.size) {
      read_at(file_, target, front_.arrays_begin + block.offset, path_);
      check_block(i, target);
    } else {
      buffer.resize(static_cast<std::size_t>(block.size));
      read_at(file_, buffer, front_.arrays_begin + block.offset, path_);
      check_block(i, buffer);
      std::copy_n(buffer.begin() + first, n, target.begin());
    }
    at += n;
  }
}

void Generation::verify() const {
  std::vector<std::byte> buffer(static_cast<std::size_t>(kBlockBytes));
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto bytes = std::span(buffer).first(static_cast<std::size_t>(blocks_[i].size));
    read_at(file_, bytes, front_.arrays_begin + blocks_[i].offset, path_);
    check_block(i, bytes);
  }
}

}  // namespace pg::checkpoint
