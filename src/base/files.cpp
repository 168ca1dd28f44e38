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

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, mode_t mode = 0)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

void sync_path(const fs::path& path, int flags) {
  const Descriptor file(path, flags);
  if (file.get() < 0) throw_io("cannot open " + path.string(), errno, kSpaceHint);
  // EINVAL: some network file systems do not sync folders; the rename itself is still atomic there.
  if (::fsync(file.get()) != 0 && errno != EINVAL) {
    throw_io("cannot sync " + path.string(), errno, kSpaceHint);
  }
}

void make_folder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw_io("cannot make the folder " + folder.string(), failure.value(), kSpaceHint);
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

}  // namespace

PendingFile::PendingFile(fs::path target) : target_(std::move(target)), pending_(target_) {
  make_folder(folder_of(target_));
  pending_ += ".pending-" + std::to_string(::getpid());
}

PendingFile::~PendingFile() {
  if (!committed_) ::unlink(pending_.c_str());
}

void PendingFile::commit() {
  sync_path(pending_, O_RDONLY);
  if (::rename(pending_.c_str(), target_.c_str()) != 0) {
    throw_io("cannot rename " + pending_.string() + " to " + target_.string(), errno, kSpaceHint);
  }
  committed_ = true;
  sync_path(folder_of(target_), O_RDONLY | O_DIRECTORY);
}

void write_in_place(const fs::path& path, std::string_view content) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file.get() < 0) throw_io("cannot write " + path.string(), errno, kSpaceHint);
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_io("cannot write " + path.string(), errno, kSpaceHint);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
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
