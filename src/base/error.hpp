// base: errors, files, random numbers, hashes, text. Knows nothing of models, studies or MPI.
#pragma once

#include <stdexcept>
#include <string>

namespace pg {

/// Exit codes of every program here (sysexits where one fits).
enum class ExitCode : int {
  done = 0,
  failed_trials = 1,  ///< the study ended, but some trials failed (not: diverged)
  usage = 64,         ///< bad command line or settings
  bad_data = 65,      ///< bad data, result or checkpoint file
  internal = 70,      ///< a broken promise of this code, or numbers that no method here can handle
  input_output = 74,  ///< the system refused a read or a write
  stopped = 75,       ///< stopped early, everything finished is saved: run the same command again
};

/// What every message must say. `found` is a full clause naming the place ("corpus.txt is empty");
/// `expected` and `hint` may be empty only where there is truly nothing to add.
struct Problem {
  std::string found;
  std::string expected;
  std::string hint;
};

/// Base of the four error types. what() is the complete text for the user.
class Error : public std::runtime_error {
 public:
  Error(const Problem& problem, ExitCode code);
  [[nodiscard]] ExitCode exit_code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// Something the user gave us is wrong: settings and command line (64) or a file's content (65).
class InvalidInput : public Error {
 public:
  enum class Source { settings, data };
  InvalidInput(Source source, const Problem& problem);
};

/// The operating system or a storage library refused a read or a write (74).
class IoError : public Error {
 public:
  explicit IoError(const Problem& problem) : Error(problem, ExitCode::input_output) {}
};

/// A computation has no usable answer (70). A diverged trial is a result and never throws this.
class NumericalError : public Error {
 public:
  explicit NumericalError(const Problem& problem) : Error(problem, ExitCode::internal) {}
};

/// This code broke its own promise (70).
class InternalError : public Error {
 public:
  explicit InternalError(const Problem& problem) : Error(problem, ExitCode::internal) {}
};

[[noreturn]] void throw_settings(const std::string& found, const std::string& expected,
                                 const std::string& hint);
[[noreturn]] void throw_data(const std::string& found, const std::string& expected,
                             const std::string& hint);
/// Appends the system's words for `error_number` (an errno value; 0: none) to `found`.
[[noreturn]] void throw_io(const std::string& found, int error_number, const std::string& hint);

/// Throws InternalError when an invariant does not hold.
inline void require(bool holds, const char* invariant) {
  if (!holds)
    throw InternalError({std::string("broken invariant: ") + invariant, "", "please report this"});
}

/// Message and exit code for whatever is being handled; call inside a catch block.
/// Understands Error, std::bad_alloc, std::exception and anything else.
struct Failure {
  std::string message;
  ExitCode code;
};
Failure describe_current_exception();

}  // namespace pg
