#pragma once

#include <memory>

#include "comm/exchange.hpp"

namespace pg::comm {

/// Over NCCL, on memory of the GPU `device`, on a stream of its own: a collective starts when the
/// stream that is current at the call has come there, and Pending::wait() makes the stream that is
/// current then wait for its end. A buffer must not be given back before wait(): the caching
/// allocator may hand it out again in the order of the stream that computes.
///
/// Strict sums go from GPU to GPU in the order of the tree, as with MPI; other sums and the
/// gathers are NCCL's own. A NaN that a GPU adds is the GPU's NaN, not the first one.
///
/// Collective. The team must outlive it; its size must be a power of two, and each of its ranks
/// needs a GPU of its own: throws InvalidInput (settings) where two share one. What fails or does
/// not end within `timeout_s` of its start on the device (0: no limit) is aborted on this rank, and
/// every later call, progress() included, throws the IoError that says what it was. An aborted
/// collective leaves rubbish in its buffer: call progress() before what was computed from it is
/// saved. Give it less than the watchdog's time, or that one speaks first.
std::unique_ptr<Exchange> make_nccl_exchange(const Communicator& team, int device,
                                             double timeout_s);

}  // namespace pg::comm
