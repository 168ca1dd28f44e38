#include "comm/crash_handler.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "base/error.hpp"

namespace pg::comm {
namespace {

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// Globals: a signal handler can reach nothing else.
std::atomic<FlightRecorder*> watched = nullptr;
std::atomic<int> crashes = 0;
std::array<struct sigaction, kSignals.size()> old_actions;

std::string_view words_for(int signal) {
  switch (signal) {
    case SIGSEGV: return "SIGSEGV (an access outside of its memory)";
    case SIGBUS: return "SIGBUS (an access that memory or disk could not serve)";
    case SIGFPE: return "SIGFPE (an integer division that has no result)";
    case SIGILL: return "SIGILL (an instruction that this processor does not have)";
    case SIGABRT: return "SIGABRT (it ended itself)";
    default: return "a signal";
  }
}

void restore_actions() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &old_actions[i], nullptr);
  }
}

void handle(int signal, siginfo_t* info, void* /*context*/) {
  FlightRecorder* recorder = watched.load();
  if (crashes.fetch_add(1) > 0) {
    ::poll(nullptr, 0, 1000);  // another thread is about to write the line and to end the process
  } else if (recorder != nullptr) {
    FixedText<1024> text;
    Line place;
    add_description(place, recorder->snapshot());
    text.add("pgmpi: ").add(words_for(signal)).add(" on ").add(place.view());
    text.add("\n  try: please report this; the same command goes on with what is finished\n");
    recorder->said(Said::failure);
    write_to_stderr(text.view().data(), text.view().size());
  }
  restore_actions();
  // A faulting instruction is met again on return, with its address still known to the old
  // handler; what somebody sent has to be sent again. It arrives when this handler returns.
  const bool sent = info == nullptr || info->si_code <= 0;
  if (sent) ::raise(signal);
}

}  // namespace

CrashHandler::CrashHandler(FlightRecorder& recorder) {
  FlightRecorder* nobody = nullptr;
  require(watched.compare_exchange_strong(nobody, &recorder), "one crash handler at a time");
  crashes = 0;
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : kSignals) ::sigaddset(&action.sa_mask, signal);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &action, &old_actions[i]);
  }
}

CrashHandler::~CrashHandler() {
  restore_actions();
  watched = nullptr;
}

}  // namespace pg::comm
