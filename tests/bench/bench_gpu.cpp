// Tokens per second of a forward and backward pass of GPT-2 small on a GPU, 8 sequences of 1024.
// Usage: bench_gpu [float32|bfloat16], without a word both
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "config/study.hpp"
#include "model/network.hpp"

int main(int argc, char** argv) {
  using namespace pg;
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  if (argc > 2 || (argc > 1 && wanted != "float32" && wanted != "bfloat16")) {
    fmt::print(stderr, "bench_gpu: found '{}', expected float32, bfloat16 or nothing\n",
               argv[argc - 1]);
    return 64;
  }
  if (!torch::cuda::is_available()) {
    fmt::print("there is no CUDA device\n");
    return 0;
  }
  const config::Settings s =
      config::load_study(config::config_folder() / "models/gpt2-small.yaml", {}).base;
  constexpr std::int64_t kBatch = 8;
  constexpr std::int64_t kLength = 1024;
  constexpr int kRounds = 7;
  const model::Network network(s.model, s.gate, s.model.vocab_size, kLength);
  model::ParameterSet parameters(network.parameter_specs(), 1, at::kFloat, at::kCUDA);
  const auto tokens = [&] {
    return at::randint(s.model.vocab_size, {kBatch, kLength},
                       at::TensorOptions(at::kLong).device(at::kCUDA));
  };
  const model::Example example{tokens(), tokens(), {}};
  for (const auto precision : {ops::Precision::float32, ops::Precision::bfloat16}) {
    const std::string_view name = precision == ops::Precision::float32 ? "float32" : "bfloat16";
    if (!wanted.empty() && name != wanted) continue;
    model::PassOptions options;
    options.precision = precision;
    std::vector<double> rates;
    for (int round = 0; round <= kRounds; ++round) {
      torch::cuda::synchronize();
      const auto start = std::chrono::steady_clock::now();
      network.loss_sum(parameters, example, options).backward();
      torch::cuda::synchronize();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      if (round > 0) rates.push_back(kBatch * kLength / seconds.count());  // the first one warms up
    }
    std::sort(rates.begin(), rates.end());
    const double median = rates[kRounds / 2];
    fmt::print("{}: {:.0f} tokens/s [{:.0f} to {:.0f}], {:.1f} TFLOP/s\n", name, median,
               rates.front(), rates.back(),
               3e-12 * network.forward_flops(kLength, 0) / kLength * median);
  }
  return 0;
}
