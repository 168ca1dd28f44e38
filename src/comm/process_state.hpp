#pragma once

#include <cstdint>
#include <string>

// What the system says of this process and of others on this machine. No MPI here.

namespace pg::comm {

enum class Life {
  running,
  stopped,  ///< alive, but paused (SIGSTOP, a debugger)
  dead,     ///< gone or a zombie, or its process number belongs to another process by now
  unknown,  ///< on another machine, or in another process namespace
};

/// When a process started, in the kernel's ticks since boot; 0: there is no such process, or the
/// system does not say. Together with the process number it names a process for good.
std::uint64_t process_start(std::int64_t pid);

/// Of a process of this machine and namespace; `start` from process_start, 0: not compared.
Life process_life(std::int64_t pid, std::uint64_t start);

std::string host_name();
/// A hash of what the kernel drew at boot; 0: unknown.
std::uint64_t boot_number();
/// Process numbers can be compared only where this is the same; 0: unknown.
std::uint64_t process_namespace();

/// Nanoseconds of a clock that all processes of a machine share and nobody sets. Safe in a signal
/// handler, as the next one.
std::int64_t monotonic_ns();
/// Nanoseconds since 1970.
std::int64_t wall_ns();

/// All of `text` in one write(2) where the system takes it, so that the lines of several ranks do
/// not mix. Safe in a signal handler.
void write_to_stderr(const char* text, std::size_t length);

}  // namespace pg::comm
