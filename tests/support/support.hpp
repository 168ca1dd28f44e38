// What several test programs need: a folder that goes away, the shared data, checked errors.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace pg::testing {

/// A new folder under the system's temporary folder, removed with everything in it at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pgmpi-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no scratch folder");
    path_ = pattern;
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
    return path_ / name;
  }
  [[nodiscard]] std::size_t n_entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

/// While it lives, no file of this process grows beyond `bytes`: what a full disk looks like, for
/// root too.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

/// A file of the data folder that is not part of the repository: $PG_SHARED_DATA or
/// ../shared/data beside the source tree; nothing, said aloud, when it is not there.
inline std::optional<std::filesystem::path> shared_data(const std::string& name) {
  const char* folder = std::getenv("PG_SHARED_DATA");
  const auto file =
      (folder != nullptr ? std::filesystem::path(folder)
                         : std::filesystem::path(PG_SOURCE_DIR).parent_path() / "shared/data") /
      name;
  if (std::filesystem::exists(file)) return file;
  std::cout << "skipped: " << file.string() << " is not there (set PG_SHARED_DATA)" << std::endl;
  return std::nullopt;
}

/// What a command prints; it must end well.
inline std::string output_of(const std::string& command) {
  std::string output;
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) output += buffer.data();
  const int status = pclose(pipe);
  BOOST_REQUIRE_MESSAGE(status == 0, output);
  return output;
}

/// Checks that `action` throws an Error with this exit code whose text holds every fragment.
template <typename Action>
void check_error(Action&& action, ExitCode code,
                 std::initializer_list<std::string_view> fragments) {
  try {
    action();
    BOOST_ERROR("no error was thrown");
  } catch (const Error& error) {
    const std::string message = error.what();
    BOOST_TEST(static_cast<int>(error.exit_code()) == static_cast<int>(code), message);
    for (const std::string_view fragment : fragments) {
      BOOST_TEST(message.find(fragment) != std::string::npos,
                 "'" << fragment << "' is missing in: " << message);
    }
  }
}

}  // namespace pg::testing
