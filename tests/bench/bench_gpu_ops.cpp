// Times the operators on a GPU at the shapes of GPT-2 small (8 sequences of 1024 tokens, d 768, 12
// heads), forward plus backward, ours beside the ATen reference there. The two take turns. Usage:
// bench_gpu_ops [rounds]
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "ops/ops.hpp"
#include "ops/reference.hpp"

namespace {

namespace ops = pg::ops;
namespace reference = pg::ops::reference;

constexpr std::int64_t kSequences = 8, kLength = 1024, kWidth = 768, kHidden = 4 * kWidth;
constexpr std::int64_t kHeads = 12, kVocabulary = 50257;

at::Tensor randn(at::IntArrayRef sizes) {
  return at::randn(sizes, at::TensorOptions(at::kFloat).device(at::kCUDA));
}

at::Tensor leaf(at::IntArrayRef sizes) {
  return randn(sizes).set_requires_grad(true);
}

double microseconds(const std::function<void()>& body) {
  torch::cuda::synchronize();
  const auto start = std::chrono::steady_clock::now();
  body();
  torch::cuda::synchronize();
  const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
  return time.count();
}

class Table {
 public:
  explicit Table(int rounds) : rounds_(rounds) {
    fmt::print("{:<32} {:>9} {:>19} {:>9} {:>19}\n", "microseconds", "ours", "[min max]", "ATen",
               "[min max]");
  }

  /// One line: medians with least and most, the ratio, and what goes through per second, where
  /// `amount` is bytes or operations in all.
  void add(const char* name, double amount, const char* unit, const std::function<void()>& ours,
           const std::function<void()>& plain) const {
    std::vector<double> a;
    std::vector<double> b;
    for (int round = -1; round < rounds_; ++round) {  // round -1 warms up
      const double one = microseconds(ours);
      const double other = microseconds(plain);
      if (round < 0) continue;
      a.push_back(one);
      b.push_back(other);
    }
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    const auto middle = a.size() / 2;
    fmt::print(
        "{:<32} {:9.0f} [{:8.0f} {:8.0f}] {:9.0f} [{:8.0f} {:8.0f}] {:6.1f}x {:8.0f} G{}/s\n", name,
        a[middle], a.front(), a.back(), b[middle], b.front(), b.back(), b[middle] / a[middle],
        amount / a[middle] / 1e3, unit);
  }

 private:
  int rounds_;
};

void gates(const Table& table) {
  const at::Tensor h = leaf({kSequences, kLength, kHidden});
  const at::Tensor x = leaf({kSequences, kLength, kHidden});
  const at::Tensor dy = randn(h.sizes());
  const double bytes = 4.0 * static_cast<double>(h.numel());
  using F = ops::GateFunction;
  const auto self = [&](const char* name, const ops::GateSpec& spec) {
    table.add(
        name, 5 * bytes, "B", [&] { ops::gate(h, spec).backward(dy); },
        [&] { reference::gate(h, spec).backward(dy); });
  };
  self("gate gelu", {});
  self("gate paglu", {F::sigmoid, F::one, 0.5});
  self("gate pagelu anchored", {F::gelu, F::normal_cdf, 0.5});
  const ops::GateSpec swiglu{F::silu, F::one, 1};
  table.add(
      "linear unit, swiglu", 8 * bytes, "B", [&] { ops::gate(x, h, swiglu).backward(dy); },
      [&] { reference::gate(x, h, swiglu).backward(dy); });
}

void norms(const Table& table) {
  const at::Tensor x = leaf({kSequences, kLength, kWidth});
  const at::Tensor scale = leaf({kWidth});
  const at::Tensor bias = leaf({kWidth});
  const at::Tensor dy = randn(x.sizes());
  const double bytes = 4.0 * static_cast<double>(x.numel());
  table.add(
      "rms_norm", 7 * bytes, "B", [&] { ops::rms_norm(x, scale, 1e-6).backward(dy); },
      [&] { reference::rms_norm(x, scale, 1e-6).backward(dy); });
  table.add(
      "layer_norm", 7 * bytes, "B", [&] { ops::layer_norm(x, scale, bias, 1e-5).backward(dy); },
      [&] { reference::layer_norm(x, scale, bias, 1e-5).backward(dy); });
  const ops::DropoutSite site{0.1};
  table.add(
      "dropout", 4 * bytes, "B", [&] { ops::dropout(x, site).backward(dy); },
      [&] { reference::dropout(x, site).backward(dy); });
}

void attentions(const Table& table) {
  const at::Tensor qkv = leaf({kSequences, kLength, 3 * kWidth});
  const at::Tensor dy = randn({kSequences, kLength, kWidth});
  const ops::Rope tables = ops::make_rope(kLength, kWidth / kHeads, 1e4, at::kFloat);
  const ops::Rope rope{tables.cos.cuda(), tables.sin.cuda()};
  // Two products forward, four backward, over the pairs a causal query sees.
  const double flops = 12.0 * kSequences * kLength * kWidth * (kLength + 1) / 2.0;
  const auto attention = [&](const char* name, const std::optional<ops::Rope>& rotation,
                             ops::Precision precision) {
    const ops::AttentionSpec spec{
        .n_heads = kHeads, .causal = true, .rope = rotation, .precision = precision};
    table.add(
        name, flops, "FLOP", [&] { ops::attention(qkv, spec).backward(dy); },
        [&] { reference::attention(qkv, spec).backward(dy); });
  };
  attention("attention", std::nullopt, ops::Precision::float32);
  attention("attention, rope", rope, ops::Precision::float32);
  attention("attention, bfloat16", std::nullopt, ops::Precision::bfloat16);
  attention("attention, rope, bfloat16", rope, ops::Precision::bfloat16);
  attention("attention, float16", std::nullopt, ops::Precision::float16);
}

void the_rest(const Table& table) {
  {
    const at::Tensor logits = leaf({kLength, kVocabulary});
    const at::Tensor targets =
        at::randint(kVocabulary, {kLength}, at::TensorOptions(at::kLong).device(at::kCUDA));
    table.add(
        "cross_entropy_sum", 4.0 * 4 * kLength * kVocabulary, "B",
        [&] { ops::cross_entropy_sum(logits, targets).backward(); },
        [&] { reference::cross_entropy_sum(logits, targets, 0).backward(); });
  }
  for (const bool causal : {true, false}) {
    const at::Tensor v = leaf({kSequences, kLength});
    const at::Tensor dy = randn({kSequences, kLength, 2});
    const auto exact = ops::ResolventGradient::exact;
    table.add(
        causal ? "resolvent, causal" : "resolvent, bidirectional", 4.0 * 8 * kSequences * kLength,
        "B", [&] { ops::resolvent(v, causal).backward(dy); },
        [&] { reference::resolvent(v, causal, exact).backward(dy); });
  }
  {
    constexpr std::int64_t kParameters = 124'439'808;
    const auto flat = [&] { return randn({kParameters}); };
    at::Tensor parameter = flat();
    at::Tensor moment1 = at::zeros_like(parameter);
    at::Tensor moment2 = at::zeros_like(parameter);
    const at::Tensor gradient = flat();
    const ops::AdamWSettings settings{1e-3, 0.9, 0.999, 1e-8, 0.1};
    table.add(
        "adamw_step, 124 million", 7 * 4.0 * kParameters, "B",
        [&] { ops::adamw_step(parameter, moment1, moment2, gradient, 1, 1, settings); },
        [&] { reference::adamw_step(parameter, moment1, moment2, gradient, 1, 1, settings); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (!torch::cuda::is_available()) {
    fmt::print("there is no CUDA device\n");
    return 0;
  }
  const Table table(argc > 1 ? std::max(1, std::atoi(argv[1])) : 21);
  gates(table);
  norms(table);
  attentions(table);
  the_rest(table);
  return 0;
}
