#pragma once

#include <filesystem>
#include <string>
#include <string_view>

// Whole files: read, and written so that a reader sees the old content or the new, never half of
// it.

namespace pg {

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

/// Makes or overwrites a file in place, unsynced: for PendingFile::path(). Throws IoError.
void write_in_place(const std::filesystem::path& path, std::string_view content);

/// Replaces the file's content in one step. Throws IoError.
void write_file(const std::filesystem::path& path, std::string_view content);

/// The whole content. Throws IoError (missing, unreadable, a folder).
std::string read_file(const std::filesystem::path& path);

/// Makes the folder and proves that a file can be made in it. Throws IoError naming the folder.
void make_writable_folder(const std::filesystem::path& folder);

}  // namespace pg
