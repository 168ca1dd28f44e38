#define BOOST_TEST_MODULE stop_signal
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <initializer_list>

#include "study/stop_signal.hpp"

namespace {

constexpr int kRemembered = 3;

/// How a process ends that listens and sends itself these signals.
int status_after(std::initializer_list<int> signals) {
  const pid_t child = ::fork();
  if (child == 0) {
    const pg::study::StopSignal stop;
    for (const int signal : signals) std::raise(signal);
    ::_exit(stop.received() ? kRemembered : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_signal_is_remembered) {
  BOOST_TEST(WEXITSTATUS(status_after({})) == 0);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    BOOST_TEST(WEXITSTATUS(status_after({signal})) == kRemembered);
  }
}

// Slurm and mpirun repeat SIGTERM; a run that saves must live until their SIGKILL.
BOOST_AUTO_TEST_CASE(sigterm_may_repeat) {
  const int status = status_after({SIGUSR1, SIGTERM, SIGTERM});
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == kRemembered);
}

BOOST_AUTO_TEST_CASE(a_second_sigusr1_ends_at_once) {
  const int status = status_after({SIGUSR1, SIGUSR1});
  BOOST_TEST(WIFSIGNALED(status));
  BOOST_TEST(WTERMSIG(status) == SIGUSR1);
  // One that follows a preemption's SIGTERM is no second one.
  BOOST_TEST(WEXITSTATUS(status_after({SIGTERM, SIGUSR1})) == kRemembered);
}

BOOST_AUTO_TEST_CASE(sigint_after_another_ends_at_once) {
  for (const int first : {SIGINT, SIGTERM, SIGUSR1}) {
    const int status = status_after({first, SIGINT});
    BOOST_TEST(WIFSIGNALED(status));
    BOOST_TEST(WTERMSIG(status) == SIGINT);
  }
}
