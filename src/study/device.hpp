#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/exchange.hpp"

namespace pg::study {

/// What a rank computes on.
struct DeviceChoice {
  std::string kind = "cpu";  ///< cpu or cuda
  int ranks_per_gpu = 1;     ///< ranks that may share one GPU
};

/// The device of this rank: the CPU, or a GPU of its node. Collective. Throws InvalidInput
/// (settings) without a GPU, or where a node has more ranks than its GPUs may have: two ranks on
/// one GPU by accident halve the speed of both and say nothing.
at::Device device_of_rank(const DeviceChoice& choice, const comm::Communicator& world);

/// Makes what moves floats between the memories of such devices: MPI on the CPU, NCCL on GPUs,
/// where nothing may take longer than nine tenths of `hang_timeout_s` (0: no limit), so that it is
/// named before the watchdog ends the program. What is returned throws InvalidInput (settings) for
/// GPUs in a build without NCCL.
std::function<std::unique_ptr<comm::Exchange>(const comm::Communicator&)> exchange_on(
    at::Device device, double hang_timeout_s);

/// A rank among those that see the same GPUs.
struct GpuShare {
  int index = 0;
  int count = 1;
};
/// `views`: of every rank, its host and the GPUs that it sees, in words. A launcher that gives each
/// rank its own GPU makes every rank a group by itself.
GpuShare share_of_rank(const std::vector<std::string>& views, int rank);

/// Index of the GPU of a rank whose group sees `n_gpus`. Throws as device_of_rank().
int gpu_of_rank(int ranks_per_gpu, const GpuShare& share, int n_gpus);

}  // namespace pg::study
