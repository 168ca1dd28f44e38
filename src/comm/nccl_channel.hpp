#pragma once

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "comm/communicator.hpp"

// Inside comm only: a communicator of NCCL that cannot hang its host.

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 14, 0)
#error "NCCL 2.14 or later is needed: older ones have no communicator that does not block"
#endif

namespace pg::comm {

/// A collective on the stream of communication, by its events there.
struct NcclOperation {
  const char* name = "";  ///< in the flight recorder and in messages
  std::size_t bytes = 0;
  at::cuda::CUDAEvent began;
  at::cuda::CUDAEvent ended;
  std::chrono::nanoseconds waited{0};  ///< since it began, as the watcher saw it
};

/// NCCL's communicator of a team, non-blocking, with the stream that it works on. A thread looks at
/// it ten times a second: at NCCL's own errors, and at operations that began and do not end. It
/// aborts the communicator then, which ends what waits on the device, and the thread that computes
/// gets the IoError from its next call. One mutex orders the calls of the two; nothing is held
/// while it waits, and no error path talks to another rank.
class NcclChannel {
 public:
  /// Collective over the team, which must outlive it. `timeout_s` is that of make_nccl_exchange.
  NcclChannel(const Communicator& team, int device, double timeout_s);
  /// Collective where nothing failed; an abort otherwise.
  ~NcclChannel();
  NcclChannel(const NcclChannel&) = delete;
  NcclChannel& operator=(const NcclChannel&) = delete;

  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] const c10::cuda::CUDAStream& stream() const { return stream_; }

  /// Throws the IoError of whatever has failed so far.
  void check();
  /// Hands a group of calls to NCCL and returns when they are on the stream. `calls` gets the
  /// communicator and a function that takes each call's result. Throws IoError.
  using Take = std::function<void(ncclResult_t)>;
  using Calls = std::function<void(ncclComm_t, const Take&)>;
  void group(const NcclOperation& operation, const Calls& calls);
  /// From here on the watcher looks at it; both its events must be on the stream.
  void watch_over(std::shared_ptr<NcclOperation> operation);

 private:
  using Lock = std::unique_lock<std::mutex>;

  void connect();
  /// Waits until NCCL has taken what it was given.
  void settle(const NcclOperation& operation);
  void watch();
  void look(std::chrono::nanoseconds elapsed);
  /// With the mutex: an error that NCCL has met, or ncclInProgress, or ncclSuccess.
  [[nodiscard]] ncclResult_t state() const;
  [[nodiscard]] std::string words_for(ncclResult_t result) const;
  [[nodiscard]] bool over_time(std::chrono::nanoseconds waited) const;
  /// With the mutex: notes what failed and aborts the communicator.
  void fail(const NcclOperation& operation, const std::string& what);
  void fail_late(const NcclOperation& operation, std::chrono::nanoseconds waited);
  /// With the mutex: throws what fail() noted.
  void throw_if_failed() const;

  const Communicator& team_;
  int device_;
  std::chrono::nanoseconds timeout_;
  c10::cuda::CUDAStream stream_;
  std::mutex mutex_;           ///< of what follows
  ncclComm_t nccl_ = nullptr;  ///< null: not there yet, or aborted
  struct Failed {
    const char* name;
    std::size_t bytes;
    std::string text;
  };
  std::unique_ptr<Failed> failed_;
  std::deque<std::shared_ptr<NcclOperation>> under_way_;  ///< in the order of the stream
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread watcher_;  ///< last: it uses all of the above
};

}  // namespace pg::comm
