#include "base/error.hpp"

#include <cstring>
#include <filesystem>
#include <new>

namespace pg {
namespace {

std::string compose(const Problem& problem) {
  std::string text = problem.found;
  if (!problem.expected.empty()) text += "\n  expected: " + problem.expected;
  if (!problem.hint.empty()) text += "\n  try: " + problem.hint;
  return text;
}

}  // namespace

Error::Error(const Problem& problem, ExitCode code)
    : std::runtime_error(compose(problem)), code_(code) {}

InvalidInput::InvalidInput(Source source, const Problem& problem)
    : Error(problem, source == Source::settings ? ExitCode::usage : ExitCode::bad_data) {}

void throw_settings(const std::string& found, const std::string& expected,
                    const std::string& hint) {
  throw InvalidInput(InvalidInput::Source::settings, {found, expected, hint});
}

void throw_data(const std::string& found, const std::string& expected, const std::string& hint) {
  throw InvalidInput(InvalidInput::Source::data, {found, expected, hint});
}

void throw_io(const std::string& found, int error_number, const std::string& hint) {
  const std::string why = error_number != 0 ? std::string(": ") + std::strerror(error_number) : "";
  throw IoError({found + why, "", hint});
}

Failure describe_current_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.what(), error.exit_code()};
  } catch (const std::bad_alloc&) {
    return {"out of memory\n  try: a smaller chunk, model or number of ranks per node",
            ExitCode::internal};
  } catch (const std::filesystem::filesystem_error& error) {
    return {std::string(error.what()) + "\n  try: another folder, or the rights to write there",
            ExitCode::input_output};
  } catch (const std::exception& error) {
    return {std::string("unexpected failure: ") + error.what(), ExitCode::internal};
  } catch (...) {
    return {"unexpected failure of unknown type", ExitCode::internal};
  }
}

}  // namespace pg
