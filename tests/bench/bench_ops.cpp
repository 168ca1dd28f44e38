// Times the operators, forward plus backward: the fast path beside the ATen reference, and products
// in bfloat16 beside those in float32. The two take turns, so that a change of clock speed meets
// both. Shapes: the nano transformer (8 sequences of 256 tokens, d 64, 4 heads, d_ff 128), and two
// sequences of 256 in GPT-2 small (d 768, 12 heads).
//   bench_ops [--csv] [ROUNDS [NAME]]     those whose name contains NAME; with --csv for programs
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "sample.hpp"

namespace {

namespace ops = pg::ops;
using pg::bench::Sample;

constexpr std::int64_t kSequences = 8, kLength = 256, kWidth = 64, kHidden = 128, kHeads = 4;
constexpr std::int64_t kLayers = 4, kVocabulary = 65;
constexpr double kTokens = kSequences * kLength;
constexpr std::int64_t kLargeSequences = 2, kLargeWidth = 768, kLargeHeads = 12;

at::Tensor leaf(at::IntArrayRef sizes) {
  return (0.1 * at::randn(sizes)).set_requires_grad(true);
}

/// Processor time, which other programs on the machine disturb less than the clock on the wall.
double microseconds(const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  return 1e6 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

/// What is timed, and how it is printed.
class Bench {
 public:
  Bench(int rounds, std::string name, bool csv)
      : rounds_(rounds), name_(std::move(name)), csv_(csv) {
    if (csv_)
      fmt::print("operator,flops,us,us_least,us_most,other,other_us,other_least,other_most\n");
  }

  [[nodiscard]] bool wants(const std::string& name) const {
    return name.find(name_) != std::string::npos;
  }
  [[nodiscard]] bool found_any() const { return found_any_; }
  /// A line of text between the operators.
  void say(const std::string& text) const {
    if (!csv_) fmt::print("{}\n", text);
  }

  /// One line: medians with least and most, the ratio, and flops / time where flops is not 0.
  void compare(const std::string& name, double flops, const std::function<void()>& fast,
               const std::string& other, const std::function<void()>& reference) {
    if (!wants(name)) return;
    found_any_ = true;
    Sample ours;
    Sample plain;
    for (int round = -1; round < rounds_; ++round) {  // round -1 warms up
      const double a = microseconds(fast);
      const double b = microseconds(reference);
      if (round < 0) continue;
      ours.add(a);
      plain.add(b);
    }
    if (csv_) {
      fmt::print("{},{:.0f},{:.1f},{:.1f},{:.1f},{},{:.1f},{:.1f},{:.1f}\n", name, flops,
                 ours.at(0.5), ours.at(0), ours.at(1), other, plain.at(0.5), plain.at(0),
                 plain.at(1));
      return;
    }
    fmt::print("{:<34} {:8.0f} [{:6.0f} {:6.0f}] {:9.0f} [{:7.0f} {:7.0f}] {:6.1f}x", name,
               ours.at(0.5), ours.at(0), ours.at(1), plain.at(0.5), plain.at(0), plain.at(1),
               plain.at(0.5) / ours.at(0.5));
    if (flops > 0) fmt::print(" {:7.0f} GF/s", flops / ours.at(0.5) / 1e3);
    fmt::print("\n");
  }

 private:
  int rounds_;
  std::string name_;
  bool csv_;
  bool found_any_ = false;
};

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

void bench_linear(Bench& bench) {
  const auto linear = [&](std::int64_t n_in, std::int64_t n_out) {
    const at::Tensor x = leaf({kSequences, kLength, n_in});
    const at::Tensor w = leaf({n_out, n_in});
    const at::Tensor dy = at::randn({kSequences, kLength, n_out});
    bench.compare(
        fmt::format("linear {} -> {}", n_in, n_out),
        6 * kTokens * static_cast<double>(n_in * n_out), [&] { ops::linear(x, w).backward(dy); },
        "ATen", [&] { ops::reference::linear(x, w, std::nullopt).backward(dy); });
  };
  linear(kWidth, 3 * kWidth);
  linear(kWidth, kWidth);
  linear(kWidth, kHidden);
  linear(kHidden, kWidth);
}

void bench_attention(Bench& bench, const std::string& name, std::int64_t n_sequences,
                     std::int64_t d_head, const ops::AttentionSpec& spec) {
  if (!bench.wants(name)) return;
  const std::int64_t inner = spec.n_heads * d_head;
  const at::Tensor qkv =
      leaf({n_sequences, kLength, (spec.n_heads + 2 * spec.kv_heads()) * d_head});
  const at::Tensor dy = at::randn({n_sequences, kLength, inner});
  const auto pairs = static_cast<double>(n_sequences * kLength) *
                     (spec.causal ? (kLength + 1) / 2.0 : static_cast<double>(kLength));
  // Two products forward, four backward, over the pairs that a query sees.
  bench.compare(
      name, 12 * pairs * static_cast<double>(inner),
      [&] { ops::attention(qkv, spec).backward(dy); }, "ATen",
      [&] { ops::reference::attention(qkv, spec).backward(dy); });
}

void bench_attention(Bench& bench) {
  const ops::AttentionSpec nano{.n_heads = kHeads,
                                .causal = true,
                                .rope = ops::make_rope(kLength, kWidth / kHeads, 1e4, at::kFloat)};
  ops::AttentionSpec dropout = nano;
  dropout.dropout = {0.1};
  bench_attention(bench, "attention 4 x 16", kSequences, kWidth / kHeads, nano);
  bench_attention(bench, "attention 4 x 16 with dropout", kSequences, kWidth / kHeads, dropout);
  constexpr std::int64_t kLargeHead = kLargeWidth / kLargeHeads;
  const ops::AttentionSpec large{.n_heads = kLargeHeads, .causal = true};
  ops::AttentionSpec grouped = large;  // as LLaMA has it
  grouped.n_kv_heads = kLargeHeads / 3;
  grouped.rope = ops::make_rope(kLength, kLargeHead, 1e4, at::kFloat);
  ops::AttentionSpec biased = large;  // as an encoder of T5 has it
  biased.causal = false;
  biased.bias_htu = leaf({kLargeHeads, kLength, kLength});
  bench_attention(bench, "attention 12 x 64", kLargeSequences, kLargeHead, large);
  bench_attention(bench, "attention 12 x 64 in 4 groups", kLargeSequences, kLargeHead, grouped);
  bench_attention(bench, "attention 12 x 64 with bias", kLargeSequences, kLargeHead, biased);
}

void bench_rows(Bench& bench) {
  const at::Tensor x = leaf({kSequences, kLength, kWidth});
  const at::Tensor dy = at::randn({kSequences, kLength, kWidth});
  const at::Tensor scale = leaf({kWidth});
  const at::Tensor bias = leaf({kWidth});
  const ops::DropoutSite site{0.1};
  bench.compare(
      "dropout", 0, [&] { ops::dropout(x, site).backward(dy); }, "ATen",
      [&] { ops::reference::dropout(x, site).backward(dy); });
  bench.compare(
      "rms_norm", 0, [&] { ops::rms_norm(x, scale, 1e-6).backward(dy); }, "ATen",
      [&] { ops::reference::rms_norm(x, scale, 1e-6).backward(dy); });
  bench.compare(
      "layer_norm", 0, [&] { ops::layer_norm(x, scale, bias, 1e-6).backward(dy); }, "ATen",
      [&] { ops::reference::layer_norm(x, scale, bias, 1e-6).backward(dy); });
  const auto gate = [&](const char* name, const ops::GateSpec& spec) {
    const at::Tensor h = leaf({kSequences, kLength, kHidden});
    const at::Tensor dh = at::randn({kSequences, kLength, kHidden});
    bench.compare(
        name, 0, [&] { ops::gate(h, spec).backward(dh); }, "ATen",
        [&] { ops::reference::gate(h, spec).backward(dh); });
  };
  gate("gate gelu", {});
  gate("gate paglu", {ops::GateFunction::sigmoid, ops::GateFunction::one, 0.5});
  gate("gate pagelu anchored", {ops::GateFunction::gelu, ops::GateFunction::normal_cdf, 0.5});
  const at::Tensor logits = leaf({kSequences * kLength, kVocabulary});
  const at::Tensor targets = at::randint(kVocabulary, {kSequences * kLength}, at::kLong);
  bench.compare(
      "cross_entropy_sum", 0, [&] { ops::cross_entropy_sum(logits, targets).backward(); }, "ATen",
      [&] { ops::reference::cross_entropy_sum(logits, targets, 0).backward(); });
}

void bench_layers(Bench& bench) {
  const ops::Rope rope = ops::make_rope(kLength, kWidth / kHeads, 1e4, at::kFloat);
  const std::vector<Layer> layers(kLayers);
  const at::Tensor x = leaf({kSequences, kLength, kWidth});
  const at::Tensor dy = at::randn({kSequences, kLength, kWidth});
  const double per_token =
      6.0 * (4 * kWidth * kWidth + 2 * kWidth * kHidden) + 12.0 * kWidth * (kLength + 1) / 2.0;
  bench.compare(
      "4 nano layers", kLayers * kTokens * per_token,
      [&] { run_layers<Fast>(layers, x, rope, dy); }, "ATen",
      [&] { run_layers<Reference>(layers, x, rope, dy); });
}

void bench_bfloat16(Bench& bench) {
  const auto rounded = [&](std::int64_t rows, std::int64_t n_in, std::int64_t n_out) {
    const std::string name = fmt::format("bfloat16 {} x {} -> {}", rows, n_in, n_out);
    if (!bench.wants(name)) return;
    const at::Tensor x = leaf({rows, n_in});
    const at::Tensor w = leaf({n_out, n_in});
    const at::Tensor dy = at::randn({rows, n_out});
    bench.compare(
        name, 6 * static_cast<double>(rows * n_in * n_out),
        [&] { ops::linear(x, w, std::nullopt, ops::Precision::bfloat16).backward(dy); }, "float32",
        [&] { ops::linear(x, w).backward(dy); });
  };
  rounded(kSequences * kLength, kWidth, 3 * kWidth);
  rounded(kSequences * kLength, kWidth, kHidden);
  rounded(kSequences * kLength, kHidden, kWidth);
  constexpr std::int64_t kLargeRows = kLargeSequences * kLength;
  rounded(kLargeRows, kLargeWidth, kLargeWidth);
  rounded(kLargeRows, kLargeWidth, 3 * kLargeWidth);
  rounded(kLargeRows, kLargeWidth, 4 * kLargeWidth);
  rounded(kLargeRows, 4 * kLargeWidth, kLargeWidth);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto csv_end = std::remove(words.begin(), words.end(), "--csv");
  const bool csv = csv_end != words.end();
  words.erase(csv_end, words.end());
  const auto rounds = words.empty() ? 21 : pg::parse_integer(words[0]).value_or(0);
  if (words.size() > 2 || rounds < 1 || rounds > 1'000'000) {
    fmt::print(stderr, "usage: bench_ops [--csv] [ROUNDS [NAME]]\n");
    return 64;
  }
  // Keep freed memory, or each side pays for the pages that the other has just given back.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::manual_seed(1);
  Bench bench(static_cast<int>(rounds), words.size() > 1 ? words[1] : "", csv);
  bench.say(fmt::format("instruction set {}, {} rounds; forward + backward in microseconds of CPU",
                        ops::instruction_set(), rounds));
  bench.say(fmt::format("{:<34} {:>8} {:>15} {:>9} {:>17}", "", "fast", "[min max]", "ATen",
                        "[min max]"));
  bench_linear(bench);
  bench_attention(bench);
  bench_rows(bench);
  bench_layers(bench);
  bench.say("\nproducts in bfloat16 beside those in float32");
  bench_bfloat16(bench);
  if (!bench.found_any()) {
    fmt::print(stderr, "bench_ops: no operator's name contains '{}'; all: bench_ops 1\n", words[1]);
    return 64;
  }
  return 0;
}
