#include "config/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"

namespace pg::config {
namespace {

/// Every option and command that would have been understood where the parse stopped.
std::vector<std::string> known_words(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    words.push_back(command->get_name());
    if (!command->parsed()) continue;
    for (std::string& word : known_words(*command)) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

int end_parse(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {  // --help and --version arrive as exceptions
    return app.exit(error);
  }
  std::string message = error.what();
  for (const std::string& word : app.remaining(true)) {
    const std::string name = word.substr(0, word.find('='));
    if (const auto near = nearest_word(name, known_words(app))) {
      message += fmt::format("\n  '{}': did you mean '{}'?", name, *near);
    }
  }
  fmt::print(stderr, "{}: {}\n  try: {} --help\n", app.get_name(), message, app.get_name());
  return static_cast<int>(ExitCode::usage);
}

int end_failure(const std::string& program) {
  const Failure failure = describe_current_exception();
  fmt::print(stderr, "{}: {}\n", program, failure.message);
  return static_cast<int>(failure.code);
}

}  // namespace pg::config
