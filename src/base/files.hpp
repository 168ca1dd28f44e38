#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

// Whole files: read, and written so that a reader sees the old content or the new, never half of
// it.

namespace pg {

/// An open file, closed at the end of its life; -1 where opening failed (errno says why).
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const std::filesystem::path& path, int flags, unsigned mode = 0);
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor();
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

/// All of `bytes`, from `offset` on. `path` is for the message. Throws IoError; a file that ends
/// too early is one, too.
void read_at(const Descriptor& file, std::span<std::byte> bytes, std::int64_t offset,
             const std::filesystem::path& path);
void write_at(const Descriptor& file, std::span<const std::byte> bytes, std::int64_t offset,
              const std::filesystem::path& path);
/// Returns when the content is on the disk. Throws IoError.
void sync(const Descriptor& file, const std::filesystem::path& path);
/// Renames a synced file into place in one step, and syncs the folder. Throws IoError.
void put_into_place(const std::filesystem::path& pending, const std::filesystem::path& target);
/// With its parents. Throws IoError.
void make_folder(const std::filesystem::path& folder);

/// A file written aside and renamed into place by commit(): written, closed by the caller, synced,
/// renamed, and the folder synced. Without commit() the destructor removes the unfinished file.
class PendingFile {
 public:
  /// Makes the folder of `target` where it is missing. Throws IoError.
  explicit PendingFile(std::filesystem::path target);
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  ~PendingFile();

  /// Where to write; on the same file system as the target.
  [[nodiscard]] const std::filesystem::path& path() const { return pending_; }
  /// Throws IoError, and leaves the old target in place, when a sync or the rename fails.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path pending_;
  bool committed_ = false;
};

/// Removes what killed processes left of their PendingFiles in a folder, not below it. For a time
/// at which nobody writes there. What cannot be removed stays.
void remove_pending(const std::filesystem::path& folder);

/// Makes or overwrites a file in place, unsynced: for PendingFile::path(). Throws IoError.
void write_in_place(const std::filesystem::path& path, std::string_view content);

/// Replaces the file's content in one step. Throws IoError.
void write_file(const std::filesystem::path& path, std::string_view content);

/// The whole content. Throws IoError (missing, unreadable, a folder).
std::string read_file(const std::filesystem::path& path);

/// Makes the folder and proves that a file can be made in it. Throws IoError naming the folder.
void make_writable_folder(const std::filesystem::path& folder);

}  // namespace pg
