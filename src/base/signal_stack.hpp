#pragma once

#include <signal.h>

#include <memory>

namespace pg {

/// A stack on which this thread handles the signals whose handler asks for one (SA_ONSTACK). Every
/// handler of ours must: oneDNN's float32 products (up to its 3.11.1) keep a pointer into the heap
/// in the stack pointer while they run (its issue 4845), and a handler on the thread's own stack
/// would write into the numbers. A stack that the thread has for it already may be too small; it
/// comes back when this one is destroyed, by the thread that made it, the last first.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  std::unique_ptr<char[]> memory_;
  stack_t before_ = {};
};

}  // namespace pg
