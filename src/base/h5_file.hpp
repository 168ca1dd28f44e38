#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

// A thin, typed face of HDF5 for one process: attributes of the root and named one-dimensional
// datasets. Errors become IoError (cannot write) or InvalidInput (what was read is damaged);
// HDF5's own error print-outs are off.

namespace pg::h5 {

/// "1.10.8", of the library at run time.
std::string library_version();

/// Builds a file in memory; close() writes it to `path`, in place. Before the HDF5 image stands a
/// block of 512 bytes (a "user block", which HDF5 tools skip) with the SHA-256 of all that follows;
/// Reader checks it, so that no damaged byte goes unnoticed. The library itself touches no disk,
/// here and in Reader: it does not survive a failed write, and takes a locked or unreadable file
/// for a damaged one. Throws IoError. Without close() nothing is written.
class Writer {
 public:
  explicit Writer(const std::filesystem::path& path);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void attribute(const std::string& name, double value);
  void attribute(const std::string& name, std::int64_t value);
  /// At most 64,000 bytes, without a zero byte.
  void attribute(const std::string& name, const std::string& value);
  /// `name` may contain groups ("train/loss"); they are made.
  void dataset(const std::string& name, const std::vector<double>& values);
  void dataset(const std::string& name, const std::vector<std::int64_t>& values);
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Reader {
 public:
  /// Throws IoError if the file cannot be read, InvalidInput if it is not a whole HDF5 file.
  explicit Reader(const std::filesystem::path& path);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[nodiscard]] double real(const std::string& attribute) const;
  [[nodiscard]] std::int64_t integer(const std::string& attribute) const;
  [[nodiscard]] std::string text(const std::string& attribute) const;
  [[nodiscard]] std::vector<double> reals(const std::string& dataset) const;
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& dataset) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pg::h5
