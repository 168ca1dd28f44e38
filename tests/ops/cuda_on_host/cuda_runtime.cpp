#include "cuda_runtime.h"

#include <ucontext.h>

#include <stdexcept>
#include <vector>

dim3 blockIdx;
dim3 threadIdx;

namespace {

constexpr std::size_t kStack = 64 * 1024;  // bytes of a thread

struct Thread {
  std::vector<char> stack = std::vector<char>(kStack);
  ucontext_t context{};
  bool ended = false;
};

/// The threads of the block that runs; they and the loop that gives them turns share one real one.
struct Block {
  std::vector<Thread> threads;
  ucontext_t loop{};
  const std::function<void()>* body = nullptr;
};

Block running;

void run_thread() {
  (*running.body)();
  running.threads[threadIdx.x].ended = true;
}

void run_block() {
  for (Thread& thread : running.threads) {
    thread.ended = false;
    ::getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = &running.loop;
    ::makecontext(&thread.context, run_thread, 0);
  }
  std::size_t n_ended = 0;
  while (n_ended == 0) {
    for (std::size_t i = 0; i < running.threads.size(); ++i) {
      threadIdx.x = static_cast<unsigned>(i);
      ::swapcontext(&running.loop, &running.threads[i].context);
      if (running.threads[i].ended) ++n_ended;
    }
  }
  if (n_ended != running.threads.size()) {
    throw std::logic_error("some threads of a block ended, the others wait at a barrier");
  }
}

}  // namespace

void __syncthreads() {
  ::swapcontext(&running.threads[threadIdx.x].context, &running.loop);
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid configuration argument";
}

cudaError_t pg_run_grid(const cudaLaunchConfig_t& config, const std::function<void()>& body) {
  if (config.gridDim.x == 0 || config.blockDim.x == 0 || config.blockDim.x > 1024) {
    return cudaErrorInvalidConfiguration;
  }
  running.threads.resize(config.blockDim.x);
  running.body = &body;
  for (unsigned block = 0; block < config.gridDim.x; ++block) {
    blockIdx.x = block;
    run_block();
  }
  return cudaSuccess;
}
