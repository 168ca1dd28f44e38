#include "base/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace pg {

int n_processors() {
  cpu_set_t mine;
  // Fails where the system has more processors than the set: one of them, then.
  return ::sched_getaffinity(0, sizeof(mine), &mine) == 0 ? std::max(CPU_COUNT(&mine), 1) : 1;
}

void in_parallel(std::int64_t n, std::int64_t least, int n_threads,
                 const std::function<void(std::int64_t first, std::int64_t last)>& body) {
  const std::int64_t most_parts = std::max<std::int64_t>(n / std::max<std::int64_t>(least, 1), 1);
  const auto n_parts = std::clamp<std::int64_t>(n_threads, 1, most_parts);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(n_parts));
  const auto run = [&](std::int64_t part) {
    try {
      body(n * part / n_parts, n * (part + 1) / n_parts);
    } catch (...) {
      failures[static_cast<std::size_t>(part)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    std::int64_t next = 1;
    try {
      for (; next < n_parts; ++next) others.emplace_back(run, next);
    } catch (const std::system_error&) {
      // The system gives no more threads: the rest is for this one.
    }
    run(0);
    for (; next < n_parts; ++next) run(next);
  }
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace pg
