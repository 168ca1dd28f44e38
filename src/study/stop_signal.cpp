#include "study/stop_signal.hpp"

#include <csignal>

namespace pg::study {
namespace {

// The one global: a signal handler can reach nothing else.
volatile std::sig_atomic_t signals_received = 0;

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

void remember(int signal) {
  signals_received = signals_received + 1;
  // Slurm sends SIGTERM to the rank and to srun, which passes it on; mpirun repeats it after a
  // second. Both send SIGKILL in the end: until then there is time to save.
  if (signal == SIGINT && signals_received > 1) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

void install(void (*handler)(int)) {
  for (const int signal : kSignals) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

StopSignal::StopSignal() {
  signals_received = 0;
  install(remember);
}

StopSignal::~StopSignal() {
  install(SIG_DFL);
}

bool StopSignal::received() const {
  return signals_received > 0;
}

}  // namespace pg::study
