#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "base/files.hpp"
#include "support/support.hpp"

namespace pg::test {

struct Run {
  int code = -1;
  std::string out;
  std::string err;
};

/// Runs the program; `environment` goes before the command ("PATH=/nowhere ").
inline Run pgpost(const std::string& arguments, const std::string& environment = "") {
  const pg::testing::ScratchFolder folder;
  const std::string out = (folder / "out").string();
  const std::string err = (folder / "err").string();
  const std::string command =
      environment + PG_BINARY_DIR + "/bin/pgpost " + arguments + " >" + out + " 2>" + err;
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

}  // namespace pg::test
