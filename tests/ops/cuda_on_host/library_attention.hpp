#pragma once

namespace pg::testing {

/// How often the kernels that stand in for the library's have run.
struct LibraryCalls {
  int flash = 0;
  int efficient = 0;
};
LibraryCalls& library_calls();

}  // namespace pg::testing
