#include "comm/process_state.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <optional>
#include <string_view>

#include "base/text.hpp"

namespace pg::comm {
namespace {

/// The first bytes of a small system file; nothing if it cannot be read.
std::optional<std::string> first_bytes(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::array<char, 1024> buffer{};
  const ssize_t count = ::read(file, buffer.data(), buffer.size());
  ::close(file);
  if (count <= 0) return std::nullopt;
  return std::string(buffer.data(), static_cast<std::size_t>(count));
}

struct Stat {
  char state = '?';
  std::uint64_t start = 0;
};

std::optional<Stat> read_stat(std::int64_t pid) {
  const auto text = first_bytes("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  const auto name_end = text->rfind(')');  // the name before it may hold blanks and brackets
  if (name_end == std::string::npos || name_end + 2 >= text->size()) return std::nullopt;
  const auto fields = split(std::string_view(*text).substr(name_end + 2), ' ');
  constexpr std::size_t kStart =
      22 - 3;  // proc(5) counts from 1, and the first one here is its 3rd
  if (fields.size() <= kStart || fields[0].empty()) return std::nullopt;
  const auto start = parse_integer(fields[kStart]);
  return Stat{fields[0][0], static_cast<std::uint64_t>(start.value_or(0))};
}

std::int64_t nanoseconds(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::uint64_t process_start(std::int64_t pid) {
  const auto stat = read_stat(pid);
  return stat ? stat->start : 0;
}

Life process_life(std::int64_t pid, std::uint64_t start) {
  if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return Life::dead;
  const auto stat = read_stat(pid);
  if (!stat) {
    // Either it ended between the two questions, or there is no /proc here.
    return ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH ? Life::dead : Life::running;
  }
  if (stat->state == 'Z' || stat->state == 'X') return Life::dead;
  if (start != 0 && stat->start != 0 && stat->start != start) return Life::dead;
  return stat->state == 'T' || stat->state == 't' ? Life::stopped : Life::running;
}

std::string host_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "unknown host";
  return buffer.data();
}

std::uint64_t boot_number() {
  const auto text = first_bytes("/proc/sys/kernel/random/boot_id");
  if (!text) return 0;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : *text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::uint64_t process_namespace() {
  struct stat info = {};
  return ::stat("/proc/self/ns/pid", &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
}

std::int64_t monotonic_ns() {
  return nanoseconds(CLOCK_MONOTONIC);
}

std::int64_t wall_ns() {
  return nanoseconds(CLOCK_REALTIME);
}

void write_to_stderr(const char* text, std::size_t length) {
  while (length > 0) {
    const ssize_t written = ::write(STDERR_FILENO, text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody listens; there is nowhere to say so
    text += written;
    length -= static_cast<std::size_t>(written);
  }
}

}  // namespace pg::comm
