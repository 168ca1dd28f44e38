#pragma once

#include <string>

// What every program's main() does when its command line or its work fails.

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace pg::config {

/// Ends a failed parse: prints help or version where they were asked for (exit code 0), else what
/// is wrong on stderr, with the nearest known option or command, and gives exit code 64.
int end_parse(const CLI::App& app, const CLI::ParseError& error);

/// Prints the exception being handled as "program: message" on stderr and gives its exit code; call
/// inside a catch block.
int end_failure(const std::string& program);

}  // namespace pg::config
