#pragma once

#include <cstdint>
#include <functional>

namespace pg {

/// Processors that this thread may run on, at least one: those that a launcher bound it to.
int n_processors();

/// Calls body(first, last) for parts of [0, n) that together are all of it, each of `least` or
/// more, on up to n_threads threads, this one among them, or fewer where there are none to be had.
/// Returns when all are done; throws what
/// one of them threw. For work that gives the same bits however it is cut.
void in_parallel(std::int64_t n, std::int64_t least, int n_threads,
                 const std::function<void(std::int64_t first, std::int64_t last)>& body);

}  // namespace pg
