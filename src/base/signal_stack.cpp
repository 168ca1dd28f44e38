#include "base/signal_stack.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "base/error.hpp"

namespace pg {

SignalStack::SignalStack() {
  // The system writes all registers there before the handler runs: 11 KB where there are tiles.
  constexpr std::size_t kForHandlers = std::size_t{64} * 1024;
  const long registers = std::max(::sysconf(_SC_MINSIGSTKSZ), 0L);
  stack_t mine = {};
  mine.ss_size = kForHandlers + static_cast<std::size_t>(registers);
  memory_ = std::make_unique<char[]>(mine.ss_size);
  mine.ss_sp = memory_.get();
  require(::sigaltstack(&mine, &before_) == 0, "the system takes a stack for signals");
}

SignalStack::~SignalStack() {
  ::sigaltstack(&before_, nullptr);
}

}  // namespace pg
