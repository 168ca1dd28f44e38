#include "base/files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.hpp"

namespace pg {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSpaceHint = "check free space, quota and write permission of the folder";

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

void open_and_sync(const fs::path& path, int flags) {
  const Descriptor file(path, flags);
  if (file.get() < 0) throw_io("cannot open " + path.string(), errno, kSpaceHint);
  sync(file, path);
}

}  // namespace

Descriptor::Descriptor(const fs::path& path, int flags, unsigned mode)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void read_at(const Descriptor& file, std::span<std::byte> bytes, std::int64_t offset,
             const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(file.get(), bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io("cannot read " + path.string(), errno, "check the disk");
    if (count == 0) throw_io(path.string() + " ends too early", 0, "check who else writes to it");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void write_at(const Descriptor& file, std::span<const std::byte> bytes, std::int64_t offset,
              const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(file.get(), bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io("cannot write " + path.string(), errno, kSpaceHint);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void sync(const Descriptor& file, const fs::path& path) {
  // EINVAL: some network file systems do not sync folders; the rename itself is still atomic there.
  if (::fsync(file.get()) != 0 && errno != EINVAL) {
    throw_io("cannot sync " + path.string(), errno, kSpaceHint);
  }
}

void put_into_place(const fs::path& pending, const fs::path& target) {
  if (::rename(pending.c_str(), target.c_str()) != 0) {
    throw_io("cannot rename " + pending.string() + " to " + target.string(), errno, kSpaceHint);
  }
  open_and_sync(folder_of(target), O_RDONLY | O_DIRECTORY);
}

void make_folder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw_io("cannot make the folder " + folder.string(), failure.value(), kSpaceHint);
}

namespace {
constexpr const char* kPending = ".pending-";
}  // namespace

void remove_pending(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const bool pending = entry.path().extension().string().starts_with(kPending);
    if (pending && entry.is_regular_file(ignored)) fs::remove(entry.path(), ignored);
  }
}

PendingFile::PendingFile(fs::path target) : target_(std::move(target)), pending_(target_) {
  make_folder(folder_of(target_));
  pending_ += kPending + std::to_string(::getpid());
}

PendingFile::~PendingFile() {
  if (!committed_) ::unlink(pending_.c_str());
}

void PendingFile::commit() {
  open_and_sync(pending_, O_RDONLY);
  put_into_place(pending_, target_);
  committed_ = true;
}

void write_in_place(const fs::path& path, std::string_view content) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file.get() < 0) throw_io("cannot write " + path.string(), errno, kSpaceHint);
  write_at(file, std::as_bytes(std::span(content)), 0, path);
}

void write_file(const fs::path& path, std::string_view content) {
  PendingFile pending(path);
  write_in_place(pending.path(), content);
  pending.commit();
}

std::string read_file(const fs::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) {
    throw_io("cannot read " + path.string(), errno, "check the path and its permissions");
  }
  std::string content;
  std::string buffer(1 << 16, '\0');
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw_io("cannot read " + path.string(), errno, "check that it is a file and readable");
    }
    if (count == 0) return content;
    content.append(buffer, 0, static_cast<std::size_t>(count));
  }
}

void make_writable_folder(const fs::path& folder) {
  make_folder(folder);
  const fs::path probe = folder / (".probe-" + std::to_string(::getpid()));
  const Descriptor file(probe, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file.get() < 0) {
    throw_io("cannot write into the folder " + folder.string(), errno, kSpaceHint);
  }
  ::unlink(probe.c_str());
}

}  // namespace pg
