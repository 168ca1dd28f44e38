#include "train/peak_memory.hpp"

#ifdef PG_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include <fstream>
#include <string>

namespace pg::train {
namespace {

double peak_on_gpu([[maybe_unused]] c10::Device device) {
#ifdef PG_CUDA
  // Its kinds of counts have another name in each version; the sum over all pools is the first.
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
  return static_cast<double>(stats.allocated_bytes[0].peak) / 1e6;
#else
  return 0;
#endif
}

}  // namespace

double peak_memory_mb(c10::Device device) {
  if (!device.is_cpu()) return peak_on_gpu(device);
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024 / 1e6;
  }
  return 0;
}

void forget_peak_memory(c10::Device device) {
  if (device.is_cpu()) {
    std::ofstream("/proc/self/clear_refs") << 5;  // proc(5): resets the peak resident set size
    return;
  }
#ifdef PG_CUDA
  c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
#endif
}

}  // namespace pg::train
