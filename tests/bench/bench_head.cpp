// The loss of 1,024 rows of 256 features over a large vocabulary, forward plus backward: all logits
// at once beside pieces of them. Peak memory above what the inputs and their gradients take.
// Usage: bench_head [rounds]
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#include "ops/ops.hpp"
#include "train/peak_memory.hpp"
#include "train/trainer.hpp"

namespace {

namespace ops = pg::ops;

struct Measured {
  std::vector<double> seconds;
  double peak_mb = 0;
};

void measure(Measured& measured, const std::function<void()>& body) {
  pg::train::forget_peak_memory();
  const double before = pg::train::peak_memory_mb();
  const std::clock_t start = std::clock();
  body();
  measured.seconds.push_back(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  measured.peak_mb = std::max(measured.peak_mb, pg::train::peak_memory_mb() - before);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 3;
  constexpr std::int64_t kRows = 1024, kWidth = 256;
  pg::train::use_one_thread();
  fmt::print(
      "instruction set {}, {} rounds, median seconds of CPU; MB beyond the inputs and their "
      "gradients\n",
      ops::instruction_set(), rounds);
  for (const std::int64_t v : {32'768, 131'072}) {
    for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
      const at::Tensor x = at::randn({kRows, kWidth}).set_requires_grad(true);
      const at::Tensor w = (0.1 * at::randn({v, kWidth})).set_requires_grad(true);
      const at::Tensor targets = at::randint(v, {kRows}, at::kLong);
      x.mutable_grad() = at::zeros_like(x);
      w.mutable_grad() = at::zeros_like(w);
      Measured whole;
      Measured pieces;
      for (int round = 0; round < rounds; ++round) {
        measure(whole, [&] {
          ops::cross_entropy_sum(ops::linear(x, w, std::nullopt, precision), targets).backward();
        });
        measure(pieces, [&] {
          ops::linear_cross_entropy_sum(x, w, std::nullopt, targets, 0, precision).backward();
        });
      }
      fmt::print("vocabulary {:>6} {}: whole {:6.3f} s {:5.0f} MB, pieces {:6.3f} s {:5.0f} MB\n",
                 v, precision == ops::Precision::float32 ? "float32 " : "bfloat16",
                 median(whole.seconds), whole.peak_mb, median(pieces.seconds), pieces.peak_mb);
    }
  }
  return 0;
}
