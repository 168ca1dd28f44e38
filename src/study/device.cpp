#include "study/device.hpp"

#include <fmt/format.h>
#include <torch/cuda.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/error.hpp"
#ifdef PG_HAS_NCCL
#include "comm/nccl_exchange.hpp"
#endif

namespace pg::study {

GpuShare share_of_rank(const std::vector<std::string>& views, int rank) {
  GpuShare share{0, 0};
  for (std::size_t other = 0; other < views.size(); ++other) {
    if (views[other] != views[static_cast<std::size_t>(rank)]) continue;
    if (static_cast<int>(other) < rank) ++share.index;
    ++share.count;
  }
  return share;
}

int gpu_of_rank(int ranks_per_gpu, const GpuShare& share, int n_gpus) {
  if (n_gpus < 1) {
    throw_settings("--device cuda: this rank sees no CUDA device",
                   "a CUDA build of LibTorch and at least one visible GPU",
                   "--device cpu, or look at nvidia-smi and CUDA_VISIBLE_DEVICES on this node");
  }
  if (share.count > n_gpus * ranks_per_gpu) {
    throw_settings(
        fmt::format("{} ranks share {} GPU{} of a node, and a GPU may have {}", share.count, n_gpus,
                    n_gpus == 1 ? "" : "s", ranks_per_gpu),
        fmt::format("at most {} ranks there", n_gpus * ranks_per_gpu),
        fmt::format("fewer ranks, or --ranks-per-gpu {} (with CUDA MPS) for small models",
                    (share.count + n_gpus - 1) / n_gpus));
  }
  return share.index / ranks_per_gpu;
}

at::Device device_of_rank(const DeviceChoice& choice, const comm::Communicator& world) {
  if (choice.kind == "cpu") return at::kCPU;
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const auto views =
      world.all_gather(fmt::format("{} {}", host.data(), visible != nullptr ? visible : "all"));
  const auto n_gpus = static_cast<int>(torch::cuda::device_count());
  const int gpu = gpu_of_rank(choice.ranks_per_gpu, share_of_rank(views, world.rank()), n_gpus);
  return {at::kCUDA, static_cast<at::DeviceIndex>(gpu)};
}

std::function<std::unique_ptr<comm::Exchange>(const comm::Communicator&)> exchange_on(
    at::Device device, [[maybe_unused]] double hang_timeout_s) {
  if (!device.is_cuda()) return comm::make_mpi_exchange;
#ifdef PG_HAS_NCCL
  return [device, hang_timeout_s](const comm::Communicator& team) {
    return comm::make_nccl_exchange(team, device.index(), 0.9 * hang_timeout_s);
  };
#else
  return [](const comm::Communicator&) -> std::unique_ptr<comm::Exchange> {
    throw_settings("parameters shared out over GPUs travel over NCCL, and this build has none",
                   "a build with -DPG_NCCL=ON", "--set shard.degree=1, or --device cpu");
  };
#endif
}

}  // namespace pg::study
