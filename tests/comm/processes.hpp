// Processes that a test starts, pauses and kills, and what they wrote to stderr.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "base/files.hpp"
#include "comm/flight_recorder.hpp"

namespace pg::testing {

inline void pause_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

/// Waits for `condition` for at most ten seconds.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    pause_ms(10);
  }
  return condition();
}

/// A forked process that runs `body` and ends with its value, without destructors of the parent's
/// objects. Killed at the end of the test if it still lives.
class Child {
 public:
  Child(std::filesystem::path stderr_file, const std::function<int()>& body)
      : stderr_file_(std::move(stderr_file)) {
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    // Boost.Test's own handlers would take a crash for a failed check of the parent.
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM, SIGALRM}) {
      std::signal(signal, SIG_DFL);
    }
    const int file = ::open(stderr_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(file, STDERR_FILENO);
    ::_exit(body());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0 || done_) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void send(int signal) const { ::kill(pid_, signal); }
  /// The wait status; -1 if it has not ended within `seconds`.
  int wait(double seconds = 20) {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    while (Clock::now() < until) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        done_ = true;
        return status;
      }
      pause_ms(10);
    }
    return -1;
  }
  /// The exit code; -1000 - s: ended by signal s; -1: still running.
  int exit_code(double seconds = 20) {
    const int status = wait(seconds);
    if (status == -1) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1000 - WTERMSIG(status);
  }
  [[nodiscard]] std::string said() const {
    return std::filesystem::exists(stderr_file_) ? read_file(stderr_file_) : std::string();
  }

 private:
  std::filesystem::path stderr_file_;
  pid_t pid_ = -1;
  bool done_ = false;
};

inline int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

inline void check_contains(const std::string& text, std::initializer_list<std::string> parts) {
  for (const std::string& part : parts) {
    BOOST_TEST(text.find(part) != std::string::npos, "'" << part << "' is missing in: " << text);
  }
}

}  // namespace pg::testing
