#include "comm/nccl_channel.hpp"

#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr auto kPeriod = std::chrono::milliseconds(100);
/// A longer gap between two looks means that this process did not run; the rest is not counted.
constexpr nanoseconds kLongestGap = 2 * kPeriod;
constexpr auto kPause = std::chrono::microseconds(20);

nanoseconds in_ns(double seconds) {
  return std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(seconds));
}

double in_s(nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

int world_rank(const Communicator& team) {
  const Communicator::Handle& handle = team.handle();
  return handle.recorder != nullptr ? handle.recorder->snapshot().rank : team.rank();
}

/// NCCL says only "invalid usage" to this, or hangs.
void refuse_shared_gpus(const Communicator& team, int device) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  std::array<char, 64> bus{};
  if (cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device) != cudaSuccess) {
    throw IoError(
        {fmt::format("rank {} cannot look at GPU {} of {}", world_rank(team), device, host.data()),
         "", "look at nvidia-smi on that node"});
  }
  const std::vector<std::string> gpus =
      team.all_gather(fmt::format("{} of {}", bus.data(), host.data()));
  for (std::size_t rank = 1; rank < gpus.size(); ++rank) {
    for (std::size_t other = 0; other < rank; ++other) {
      if (gpus[other] != gpus[rank]) continue;
      throw_settings(fmt::format("ranks {} and {} of a team share GPU {}", other, rank, gpus[rank]),
                     "a GPU for each rank of a team that exchanges over NCCL",
                     "one rank for each GPU, without --ranks-per-gpu");
    }
  }
}

ncclUniqueId shared_id(const Communicator& team) {
  ncclUniqueId id;
  if (team.rank() == 0) {
    const ncclResult_t result = ncclGetUniqueId(&id);
    if (result != ncclSuccess) {
      throw IoError(
          {fmt::format("ncclGetUniqueId failed: {}", ncclGetErrorString(result)), "",
           "set NCCL_DEBUG=WARN to see what NCCL met, NCCL_SOCKET_IFNAME to the network"});
    }
  }
  const std::string text = team.broadcast(std::string(id.internal, sizeof(id.internal)));
  std::copy(text.begin(), text.end(), id.internal);
  return id;
}

}  // namespace

NcclChannel::NcclChannel(const Communicator& team, int device, double timeout_s)
    : team_(team),
      device_(device),
      timeout_(in_ns(timeout_s)),
      stream_(c10::cuda::getStreamFromPool(true, static_cast<c10::DeviceIndex>(device))) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  refuse_shared_gpus(team, device);
  connect();
  watcher_ = std::thread([this] { watch(); });
}

NcclChannel::~NcclChannel() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  watcher_.join();
  if (nccl_ == nullptr) return;
  // Finalising is collective: not in the error path.
  bool finalised = false;
  if (std::uncaught_exceptions() == 0) {
    const ncclResult_t result = ncclCommFinalize(nccl_);
    const auto start = Clock::now();
    while (result == ncclInProgress && state() == ncclInProgress &&
           !over_time(Clock::now() - start)) {
      std::this_thread::sleep_for(kPause);
    }
    finalised = (result == ncclSuccess || result == ncclInProgress) && state() == ncclSuccess;
  }
  if (finalised) {
    ncclCommDestroy(nccl_);
  } else {
    ncclCommAbort(nccl_);
  }
}

void NcclChannel::connect() {
  ncclUniqueId id = shared_id(team_);
  // Whoever starts to connect must find rank 0 listening and nobody still in the broadcast: a rank
  // that is lost until here is MPI's to name, not a time-out inside of NCCL.
  team_.wait_for_all([] {});
  NcclOperation operation;
  operation.name = "connect_nccl";
  const Recorded recorded(team_, operation.name, 0);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  {
    const std::lock_guard lock(mutex_);
    const ncclResult_t result =
        ncclCommInitRankConfig(&nccl_, team_.size(), id, team_.rank(), &config);
    if (result != ncclSuccess && result != ncclInProgress) fail(operation, words_for(result));
  }
  settle(operation);
}

void NcclChannel::check() {
  const std::lock_guard lock(mutex_);
  throw_if_failed();
}

void NcclChannel::group(const NcclOperation& operation, const Calls& calls) {
  {
    const std::lock_guard lock(mutex_);
    throw_if_failed();
    ncclResult_t first_error = ncclSuccess;
    const auto take = [&](ncclResult_t result) {
      if (first_error == ncclSuccess && result != ncclInProgress) first_error = result;
    };
    take(ncclGroupStart());
    calls(nccl_, take);
    take(ncclGroupEnd());
    if (first_error != ncclSuccess) fail(operation, words_for(first_error));
  }
  settle(operation);
}

void NcclChannel::settle(const NcclOperation& operation) {
  const auto start = Clock::now();
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      throw_if_failed();
      const ncclResult_t now = state();
      if (now == ncclSuccess) return;
      const nanoseconds waited = Clock::now() - start;
      if (now != ncclInProgress) {
        fail(operation, words_for(now));
      } else if (over_time(waited)) {
        fail_late(operation, waited);
      }
      throw_if_failed();
    }
    std::this_thread::sleep_for(kPause);
  }
}

void NcclChannel::watch_over(std::shared_ptr<NcclOperation> operation) {
  const std::lock_guard lock(mutex_);
  under_way_.push_back(std::move(operation));
}

void NcclChannel::watch() {
  // Or the first look at an event would make a context on GPU 0, for every rank.
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
  Lock lock(mutex_);
  auto last_look = Clock::now();
  while (!wake_.wait_for(lock, kPeriod, [&] { return stopping_; })) {
    if (failed_ != nullptr) return;
    const auto now = Clock::now();
    const nanoseconds elapsed = std::min<nanoseconds>(now - last_look, kLongestGap);
    last_look = now;
    try {
      look(elapsed);
    } catch (const std::exception& error) {  // of the device
      fail(*under_way_.front(), error.what());
    }
  }
}

void NcclChannel::look(nanoseconds elapsed) {
  const auto progress = [&] {
    FlightRecorder* const recorder = team_.handle().recorder;
    if (recorder != nullptr) recorder->progress();
  };
  while (!under_way_.empty() && under_way_.front()->ended.query()) {
    under_way_.pop_front();
    progress();
  }
  if (under_way_.empty()) return;
  NcclOperation& first = *under_way_.front();
  const ncclResult_t now = state();
  if (now != ncclSuccess && now != ncclInProgress) {
    fail(first, words_for(now));
    return;
  }
  if (!first.began.query()) return;  // what it is to send is still computed
  if (first.waited == nanoseconds(0)) progress();
  first.waited += elapsed;
  if (over_time(first.waited)) fail_late(first, first.waited);
}

ncclResult_t NcclChannel::state() const {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(nccl_, &state);
  return asked == ncclSuccess || asked == ncclInProgress ? state : asked;
}

std::string NcclChannel::words_for(ncclResult_t result) const {
  const char* last = nccl_ != nullptr ? ncclGetLastError(nccl_) : nullptr;
  const std::string more = last != nullptr && *last != '\0' ? fmt::format(" ({})", last) : "";
  return fmt::format("NCCL says: {}{}", ncclGetErrorString(result), more);
}

bool NcclChannel::over_time(nanoseconds waited) const {
  return timeout_ > nanoseconds(0) && waited >= timeout_;
}

void NcclChannel::fail_late(const NcclOperation& operation, nanoseconds waited) {
  fail(operation, fmt::format("it is not over after {:.1f} s", in_s(waited)));
}

void NcclChannel::fail(const NcclOperation& operation, const std::string& what) {
  // A communicator that was split off knows the ranks that it was split from.
  const Communicator::Handle& handle = team_.handle();
  failed_ = std::make_unique<Failed>(
      Failed{operation.name, operation.bytes,
             fmt::format("rank {} failed in {} of {} bytes among ranks {} to {}, on GPU {}: {}",
                         world_rank(team_), operation.name, operation.bytes, handle.first_rank,
                         handle.first_rank + handle.size - 1, device_, what)});
  if (nccl_ != nullptr) ncclCommAbort(std::exchange(nccl_, nullptr));
}

void NcclChannel::throw_if_failed() const {
  if (failed_ == nullptr) return;
  // Left by an exception it stays open, so that whatever tells of the failure names the operation.
  const Recorded recorded(team_, failed_->name, failed_->bytes);
  throw IoError(
      {failed_->text, "every rank of the team in the same operation",
       "look for a dead rank or node in the launcher's output and for Xid lines in dmesg; "
       "NCCL_DEBUG=WARN says more; a longer --hang-timeout, if the work takes that long"});
}

}  // namespace pg::comm
