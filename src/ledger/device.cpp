#include "ledger/device.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "ops/ops.hpp"

namespace pg::ledger {
namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;
constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

// LLaMA-2 7B took 184,320 A100-hours for 2.0e12 tokens (Touvron et al., 2023, table 2): 6 N D FLOPs
// over that time are 0.39 of the peak, everything included.
constexpr double kAmpereEfficiency = 0.39;
constexpr const char* kAmpereSource = "LLaMA-2 7B on A100, Touvron et al. 2023";
// Llama 3 405B in bfloat16 on H100: 0.38 to 0.43 (Dubey et al., 2024, table 4).
constexpr double kHopperEfficiency = 0.40;
constexpr const char* kHopperSource = "Llama 3 405B on H100, Dubey et al. 2024";

// A file system that a node reaches with 2 GB/s: assumed.
constexpr double kNodeDisk = 2 * kGiga;

/// Peaks and bandwidths: NVIDIA's data sheets of the SXM modules, dense; float32 without TF32,
/// which LibTorch's products do not use unless told. Memory: what nvidia-smi shows. Nodes: DGX A100
/// (NVLink 600 GB/s both ways, 8 x HDR 200 Gb/s), DGX H100 and H200 (900 GB/s, 8 x NDR 400 Gb/s).
std::vector<Device> table() {
  Device a100{"a100-40g",    true,         40960 * kMebibyte,
              19.5 * kTera,  312 * kTera,  kAmpereEfficiency,
              kAmpereSource, 1555 * kGiga, 8,
              300 * kGiga,   25 * kGiga,   kNodeDisk};
  Device a100_80 = a100;
  a100_80.name = "a100-80g";
  a100_80.memory_bytes = 81920 * kMebibyte;
  a100_80.memory_bytes_per_s = 2039 * kGiga;
  Device h100{"h100-80g",        true,          81559 * kMebibyte, 67 * kTera, 989 * kTera,
              kHopperEfficiency, kHopperSource, 3350 * kGiga,      8,          450 * kGiga,
              50 * kGiga,        kNodeDisk};
  Device h200 = h100;
  h200.name = "h200-141g";
  h200.memory_bytes = 143771 * kMebibyte;
  h200.memory_bytes_per_s = 4800 * kGiga;
  return {a100, a100_80, h100, h200};
}

/// Bytes read and written per second by one core, through buffers that fit no cache.
double measured_bandwidth() {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  std::vector<char> from(kBytes, 1);
  std::vector<char> to(kBytes, 0);
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = Clock::now();
    std::memcpy(to.data(), from.data(), kBytes);
    from[static_cast<std::size_t>(repeat)] = to[kBytes - 1];
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * static_cast<double>(kBytes) / seconds);
  }
  return best;
}

Device this_machine(int n_ranks) {
  Device d;
  d.name = "cpu";
  d.is_gpu = false;
  d.memory_bytes = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE) /
                   std::max(1, n_ranks);
  d.float32_flops = ops::measure_peak_flops();
  d.half_flops = d.float32_flops;
  d.efficiency = 0.5;
  d.efficiency_source = "assumed";
  d.memory_bytes_per_s = measured_bandwidth();
  d.ranks_per_node = n_ranks;
  // A message between processes of a machine is copied in and out of shared memory.
  d.node_link_bytes_per_s = d.memory_bytes_per_s / 4;
  d.link_bytes_per_s = d.node_link_bytes_per_s;
  d.disk_bytes_per_s = 0.5 * kGiga;
  return d;
}

}  // namespace

std::vector<std::string> known_devices() {
  std::vector<std::string> names;
  for (const Device& device : table()) names.push_back(device.name);
  names.emplace_back("cpu");
  return names;
}

Device device_named(const std::string& name, int n_ranks) {
  if (name == "cpu") return this_machine(n_ranks);
  for (const Device& device : table()) {
    if (device.name == name) return device;
  }
  const auto names = known_devices();
  throw_settings("unknown device '" + name + "'", join(names, ", "),
                 "the nearest is " + nearest_word(name, names).value_or(names[1]));
}

}  // namespace pg::ledger
