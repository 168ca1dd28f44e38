#pragma once

#include "base/signal_stack.hpp"
#include "comm/flight_recorder.hpp"

namespace pg::comm {

/// While it lives, SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT (also of an exception that nobody
/// catches) first write one line naming rank, host, trial, step and collective, and then do what
/// they did before: a core file, a debugger, a sanitizer's report. One per process, made and
/// destroyed by the main thread; the recorder must outlive it.
class CrashHandler {
 public:
  explicit CrashHandler(FlightRecorder& recorder);
  ~CrashHandler();
  CrashHandler(const CrashHandler&) = delete;
  CrashHandler& operator=(const CrashHandler&) = delete;

 private:
  SignalStack stack_;  // an overflow of the thread's own is one of the reasons to be called
};

}  // namespace pg::comm
