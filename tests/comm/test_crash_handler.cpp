#define BOOST_TEST_MODULE crash_handler
#include <sys/mman.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "comm/crash_handler.hpp"
#include "comm/processes.hpp"
#include "support/support.hpp"

namespace {

using namespace pg::comm;
using namespace pg::testing;

/// How a process with a crash handler ends, and what it wrote.
std::pair<int, std::string> crash(const std::function<void()>& body) {
  const ScratchFolder folder;
  Child child(folder / "stderr", [&] {
    FlightRecorder recorder(1, 4);
    recorder.attach(folder / "a.flight", "launch");
    const CrashHandler handler(recorder);
    recorder.enter_trial("b0064_lr0.001_s42", 5000);
    recorder.step(17);
    recorder.begin("all_reduce_tree", 543'210, 0, 4);
    body();
    return 0;
  });
  const int code = child.exit_code();
  BOOST_TEST((read_snapshot(folder / "a.flight")->said == Said::failure));
  return {code, child.said()};
}

// A page that nobody may touch: what a null pointer would be, were it not for the sanitizers, which
// find that one before the processor does.
void touch_a_forbidden_page() {
  void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(page) = 1;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_crash_prints_one_line_and_keeps_its_signal) {
  const std::string place = " on rank 1 of 4 on " + host_name() + " (pid ";
  const auto check = [&](const std::function<void()>& body, int signal, const std::string& name) {
    const auto [code, text] = crash(body);
    BOOST_TEST(code == -1000 - signal, name << " ended with " << code << " and wrote " << text);
    check_contains(text, {"pgmpi: " + name, place,
                          "trial b0064_lr0.001_s42, step 17 of 5000, in all_reduce_tree #1 "
                          "(543.2 kB, team 0-3) for ",
                          "the same command goes on"});
    BOOST_TEST(count_of(text, "pgmpi: ") == 1);
  };
  check(touch_a_forbidden_page, SIGSEGV, "SIGSEGV");
  check([] { ::raise(SIGFPE); }, SIGFPE, "SIGFPE");
  check([] { std::thread([] { touch_a_forbidden_page(); }).join(); }, SIGSEGV, "SIGSEGV");
  check([] { std::abort(); }, SIGABRT, "SIGABRT");
  check([] { std::thread([]() -> void { throw std::runtime_error("lost"); }).join(); }, SIGABRT,
        "SIGABRT");
}

BOOST_AUTO_TEST_CASE(the_crash_handler_puts_the_old_handlers_back) {
  static std::atomic<int> seen = 0;
  struct sigaction mine = {};
  mine.sa_handler = [](int) { ++seen; };
  struct sigaction old = {};
  ::sigaction(SIGFPE, &mine, &old);
  {
    FlightRecorder recorder(0, 1);
    const CrashHandler handler(recorder);
    BOOST_CHECK_THROW(CrashHandler{recorder}, pg::InternalError);
  }
  struct sigaction now = {};
  ::sigaction(SIGFPE, nullptr, &now);
  BOOST_TEST((now.sa_handler == mine.sa_handler));
  ::raise(SIGFPE);
  BOOST_TEST(seen == 1);
  ::sigaction(SIGFPE, &old, nullptr);
}
