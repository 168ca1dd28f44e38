#include "train/peak_memory.hpp"

#include <fstream>
#include <string>

namespace pg::train {

double peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024 / 1e6;
  }
  return 0;
}

void forget_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << 5;  // proc(5): resets the peak resident set size
}

}  // namespace pg::train
