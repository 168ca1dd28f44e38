// Times the operators at the shapes of the nano transformer (8 sequences of 256 tokens, d 64, 4
// heads, d_ff 128), forward plus backward, the fast path beside the ATen reference. The two take
// turns, so that a change of clock speed meets both. Usage: bench_ops [rounds]

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#include "ops/ops.hpp"
#include "ops/reference.hpp"

namespace {

namespace ops = pg::ops;

constexpr std::int64_t kSequences = 8, kLength = 256, kWidth = 64, kHidden = 128, kHeads = 4;
constexpr std::int64_t kLayers = 4, kVocabulary = 65;
constexpr double kTokens = kSequences * kLength;

at::Tensor leaf(at::IntArrayRef sizes) {
  return (0.1 * at::randn(sizes)).set_requires_grad(true);
}

/// Processor time, which other programs on the machine disturb less than the clock on the wall.
double seconds(const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

struct Times {
  std::vector<double> seconds;
  [[nodiscard]] double at(double quantile) const {
    auto sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<std::size_t>(quantile * static_cast<double>(sorted.size() - 1))];
  }
};

/// One line: medians with least and most, the ratio, and flops / time where flops is known.
void compare(const char* name, int rounds, double flops, const std::function<void()>& fast,
             const std::function<void()>& reference) {
  Times ours;
  Times plain;
  for (int round = -1; round < rounds; ++round) {  // round -1 warms up
    const double a = seconds(fast);
    const double b = seconds(reference);
    if (round < 0) continue;
    ours.seconds.push_back(a * 1e6);
    plain.seconds.push_back(b * 1e6);
  }
  fmt::print("{:<24} {:8.0f} [{:6.0f} {:6.0f}] {:9.0f} [{:7.0f} {:7.0f}] {:6.1f}x", name,
             ours.at(0.5), ours.at(0), ours.at(1), plain.at(0.5), plain.at(0), plain.at(1),
             plain.at(0.5) / ours.at(0.5));
  if (flops > 0) fmt::print(" {:7.0f} GF/s", flops / ours.at(0.5) / 1e3);
  fmt::print("\n");
}

/// The two namespaces under one face, for code that runs on either.
struct Fast {
  static at::Tensor linear(const at::Tensor& x, const at::Tensor& w) { return ops::linear(x, w); }
  static constexpr auto rms_norm = &ops::rms_norm;
  static at::Tensor attention(const at::Tensor& qkv, const ops::AttentionSpec& spec) {
    return ops::attention(qkv, spec);
  }
  static at::Tensor gate(const at::Tensor& h, const ops::GateSpec& spec) {
    return ops::gate(h, spec);
  }
};
struct Reference {
  static at::Tensor linear(const at::Tensor& x, const at::Tensor& w) {
    return ops::reference::linear(x, w, std::nullopt);
  }
  static constexpr auto rms_norm = &ops::reference::rms_norm;
  static at::Tensor attention(const at::Tensor& qkv, const ops::AttentionSpec& spec) {
    return ops::reference::attention(qkv, spec);
  }
  static at::Tensor gate(const at::Tensor& h, const ops::GateSpec& spec) {
    return ops::reference::gate(h, spec);
  }
};

struct Layer {
  at::Tensor norm1 = leaf({kWidth}), norm2 = leaf({kWidth});
  at::Tensor qkv = leaf({3 * kWidth, kWidth}), out = leaf({kWidth, kWidth});
  at::Tensor up = leaf({kHidden, kWidth}), down = leaf({kWidth, kHidden});
};

template <class Ops>
void run_layers(const std::vector<Layer>& layers, const at::Tensor& input, const ops::Rope& rope,
                const at::Tensor& dy) {
  at::Tensor x = input;
  for (const Layer& l : layers) {
    const at::Tensor qkv = Ops::linear(Ops::rms_norm(x, l.norm1, 1e-6), l.qkv);
    const at::Tensor heads = Ops::attention(qkv, {.n_heads = kHeads, .causal = true, .rope = rope});
    x = x + Ops::linear(heads, l.out);
    const at::Tensor h = Ops::linear(Ops::rms_norm(x, l.norm2, 1e-6), l.up);
    x = x + Ops::linear(Ops::gate(h, {}), l.down);
  }
  x.backward(dy);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 21;
  // Keep freed memory, or each side pays for the pages that the other has just given back.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::manual_seed(1);
  const ops::Rope rope = ops::make_rope(kLength, kWidth / kHeads, 1e4, at::kFloat);
  fmt::print("instruction set {}, {} rounds; forward + backward in microseconds of CPU\n",
             ops::instruction_set(), rounds);
  fmt::print("{:<24} {:>8} {:>15} {:>9} {:>17}\n", "", "fast", "[min max]", "ATen", "[min max]");

  const auto linear = [&](const char* name, std::int64_t n_in, std::int64_t n_out) {
    const at::Tensor x = leaf({kSequences, kLength, n_in});
    const at::Tensor w = leaf({n_out, n_in});
    const at::Tensor dy = at::randn({kSequences, kLength, n_out});
    compare(
        name, rounds, 6 * kTokens * static_cast<double>(n_in * n_out),
        [&] { ops::linear(x, w).backward(dy); },
        [&] { ops::reference::linear(x, w, std::nullopt).backward(dy); });
  };
  linear("linear 64 -> 192", kWidth, 3 * kWidth);
  linear("linear 64 -> 64", kWidth, kWidth);
  linear("linear 64 -> 128", kWidth, kHidden);
  linear("linear 128 -> 64", kHidden, kWidth);

  {
    const at::Tensor qkv = leaf({kSequences, kLength, 3 * kWidth});
    const at::Tensor dy = at::randn({kSequences, kLength, kWidth});
    // Two products forward, four backward, over the pairs a causal query sees.
    const double flops = 12 * kTokens * kWidth * (kLength + 1) / 2.0;
    const auto attention = [&](const char* name, const ops::DropoutSite& dropout) {
      const ops::AttentionSpec spec{
          .n_heads = kHeads, .causal = true, .rope = rope, .dropout = dropout};
      compare(
          name, rounds, flops, [&] { ops::attention(qkv, spec).backward(dy); },
          [&] { ops::reference::attention(qkv, spec).backward(dy); });
    };
    attention("attention", {});
    attention("attention, dropout", {0.1});
  }
  {
    const at::Tensor x = leaf({kSequences, kLength, kWidth});
    const at::Tensor dy = at::randn({kSequences, kLength, kWidth});
    const ops::DropoutSite site{0.1};
    compare(
        "dropout", rounds, 0, [&] { ops::dropout(x, site).backward(dy); },
        [&] { ops::reference::dropout(x, site).backward(dy); });
  }
  {
    const at::Tensor x = leaf({kSequences, kLength, kWidth});
    const at::Tensor scale = leaf({kWidth});
    const at::Tensor dy = at::randn({kSequences, kLength, kWidth});
    compare(
        "rms_norm", rounds, 0, [&] { ops::rms_norm(x, scale, 1e-6).backward(dy); },
        [&] { ops::reference::rms_norm(x, scale, 1e-6).backward(dy); });
    const at::Tensor bias = leaf({kWidth});
    compare(
        "layer_norm", rounds, 0, [&] { ops::layer_norm(x, scale, bias, 1e-6).backward(dy); },
        [&] { ops::reference::layer_norm(x, scale, bias, 1e-6).backward(dy); });
  }
  const auto gate = [&](const char* name, const ops::GateSpec& spec) {
    const at::Tensor h = leaf({kSequences, kLength, kHidden});
    const at::Tensor dy = at::randn({kSequences, kLength, kHidden});
    compare(
        name, rounds, 0, [&] { ops::gate(h, spec).backward(dy); },
        [&] { ops::reference::gate(h, spec).backward(dy); });
  };
  gate("gate gelu", {});
  gate("gate paglu", {ops::GateFunction::sigmoid, ops::GateFunction::one, 0.5});
  gate("gate pagelu anchored", {ops::GateFunction::gelu, ops::GateFunction::normal_cdf, 0.5});
  {
    const at::Tensor logits = leaf({kSequences * kLength, kVocabulary});
    const at::Tensor targets = at::randint(kVocabulary, {kSequences * kLength}, at::kLong);
    compare(
        "cross_entropy_sum", rounds, 0, [&] { ops::cross_entropy_sum(logits, targets).backward(); },
        [&] { ops::reference::cross_entropy_sum(logits, targets, 0).backward(); });
  }
  {
    const std::vector<Layer> layers(kLayers);
    const at::Tensor x = leaf({kSequences, kLength, kWidth});
    const at::Tensor dy = at::randn({kSequences, kLength, kWidth});
    const double per_token =
        6.0 * (4 * kWidth * kWidth + 2 * kWidth * kHidden) + 12.0 * kWidth * (kLength + 1) / 2.0;
    Times ours;
    compare(
        "4 layers, 2048 tokens", rounds, kLayers * kTokens * per_token,
        [&] { ours.seconds.push_back(seconds([&] { run_layers<Fast>(layers, x, rope, dy); })); },
        [&] { run_layers<Reference>(layers, x, rope, dy); });
    fmt::print("tokens per second through the layers, fast path: median {:.0f}\n",
               kTokens / ours.at(0.5));
  }

  fmt::print("\nproducts in bfloat16 beside those in float32\n");
  const auto rounded = [&](std::int64_t rows, std::int64_t n_in, std::int64_t n_out) {
    const at::Tensor x = leaf({rows, n_in});
    const at::Tensor w = leaf({n_out, n_in});
    const at::Tensor dy = at::randn({rows, n_out});
    compare(
        fmt::format("{} x {} -> {}", rows, n_in, n_out).c_str(), std::max(3, rounds / 3),
        6 * static_cast<double>(rows * n_in * n_out),
        [&] { ops::linear(x, w, std::nullopt, ops::Precision::bfloat16).backward(dy); },
        [&] { ops::linear(x, w).backward(dy); });
  };
  rounded(static_cast<std::int64_t>(kTokens), kWidth, 3 * kWidth);
  rounded(static_cast<std::int64_t>(kTokens), kWidth, kHidden);
  rounded(static_cast<std::int64_t>(kTokens), kHidden, kWidth);
  constexpr std::int64_t kLargeRows = 512, kLargeWidth = 768;  // GPT-2 small, two sequences of 256
  rounded(kLargeRows, kLargeWidth, kLargeWidth);
  rounded(kLargeRows, kLargeWidth, 3 * kLargeWidth);
  rounded(kLargeRows, kLargeWidth, 4 * kLargeWidth);
  rounded(kLargeRows, 4 * kLargeWidth, kLargeWidth);
  return 0;
}
