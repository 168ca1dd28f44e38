#include "study/stop_signal.hpp"

#include <csignal>

namespace pg::study {
namespace {

// The only globals: a signal handler can reach nothing else.
volatile std::sig_atomic_t signals_received = 0;
volatile std::sig_atomic_t usr1_received = 0;

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

void remember(int signal) {
  signals_received = signals_received + 1;
  if (signal == SIGUSR1) usr1_received = usr1_received + 1;
  // SIGTERM never means "now": Slurm sends it to the rank and to srun, which passes it on; mpirun
  // repeats it after a second; and it may come before or after a SIGUSR1 that nobody repeated. Both
  // send SIGKILL in the end: until then there is time to save.
  const bool is_last_word =
      signal == SIGINT ? signals_received > 1 : signal == SIGUSR1 && usr1_received > 1;
  if (is_last_word) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

void install(void (*handler)(int)) {
  for (const int signal : kSignals) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

StopSignal::StopSignal() {
  signals_received = 0;
  usr1_received = 0;
  install(remember);
}

StopSignal::~StopSignal() {
  install(SIG_DFL);
}

bool StopSignal::received() const {
  return signals_received > 0;
}

}  // namespace pg::study
