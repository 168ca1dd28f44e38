#pragma once

#include "base/signal_stack.hpp"

namespace pg::study {

/// From construction on, SIGTERM, SIGINT and SIGUSR1 are remembered instead of ending the process;
/// SIGINT after any of them, or a second SIGUSR1, ends it at once. One per process; restores the
/// default handlers when destroyed. Made and destroyed by the main thread, to which the system
/// gives such signals.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  [[nodiscard]] bool received() const;

 private:
  SignalStack stack_;
};

}  // namespace pg::study
