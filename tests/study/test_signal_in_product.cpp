// A signal that arrives within a matrix product, where oneDNN's stack pointer points into the heap.
#define BOOST_TEST_MODULE signal_in_product
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pthread.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <thread>

#include "ops/ops.hpp"
#include "study/stop_signal.hpp"

namespace {

/// Sends SIGTERM, as often as a thread can, to the thread that made it.
class Sender {
 public:
  Sender() : target_(::pthread_self()), thread_([this] { send(); }) {}
  ~Sender() {
    over_ = true;
    thread_.join();
  }

 private:
  void send() {
    while (!over_) {
      ::pthread_kill(target_, SIGTERM);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  std::atomic<bool> over_ = false;
  pthread_t target_;
  std::thread thread_;
};

void multiply_under_signals() {
  const at::NoGradGuard no_grad;
  for (const auto precision : {pg::ops::Precision::float32, pg::ops::Precision::bfloat16}) {
    for (const std::int64_t size : {48, 200, 520}) {
      const at::Tensor x = at::randn({size, size});
      const at::Tensor w = at::randn({size, size});
      const at::Tensor y = pg::ops::linear(x, w, std::nullopt, precision);
      const Sender sender;
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
      bool same = true;
      while (std::chrono::steady_clock::now() < end) {
        same = same && at::equal(pg::ops::linear(x, w, std::nullopt, precision), y);
      }
      BOOST_TEST(same, "size " << size);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_product_is_the_same) {
  std::signal(SIGABRT, SIG_DFL);  // of a heap written into: nothing is left to report with
  const pg::study::StopSignal stop;
  multiply_under_signals();
  BOOST_TEST(stop.received());
}
