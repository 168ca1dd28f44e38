#include "ops/reference.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "base/error.hpp"
#include "ops/dropout.hpp"

namespace pg::ops::reference {
namespace {

at::Tensor phi(const at::Tensor& h) {
  return 0.5 * (1.0 + at::erf(h * (1.0 / std::numbers::sqrt2)));
}

at::Tensor phi_tanh(const at::Tensor& h) {
  const double root = std::sqrt(2 / std::numbers::pi);
  return 0.5 * (1.0 + at::tanh(root * (h + 0.044715 * h * h * h)));
}

at::Tensor function(const at::Tensor& h, GateFunction f) {
  switch (f) {
    case GateFunction::one: return at::ones_like(h);
    case GateFunction::identity: return h;
    case GateFunction::step: return at::gt(h, 0).to(h.scalar_type());
    case GateFunction::sigmoid: return at::sigmoid(h);
    case GateFunction::tanh: return at::tanh(h);
    case GateFunction::relu: return at::relu(h);
    case GateFunction::normal_cdf: return phi(h);
    case GateFunction::normal_cdf_tanh: return phi_tanh(h);
    case GateFunction::gelu: return h * phi(h);
    case GateFunction::gelu_tanh: return h * phi_tanh(h);
    case GateFunction::silu: return h * at::sigmoid(h);
    case GateFunction::mish: return h * at::tanh(at::softplus(h));
  }
  throw InternalError({"an unknown gate function", "", ""});
}

/// (b, t, n_heads d_head) -> (b, n_heads, t, d_head).
at::Tensor heads_of(const at::Tensor& x_btd, std::int64_t n_heads) {
  return x_btd.reshape({x_btd.size(0), x_btd.size(1), n_heads, x_btd.size(2) / n_heads})
      .transpose(1, 2);
}

/// Rotates the pairs (i, i + d_head/2) of x (b, heads, t, d_head).
at::Tensor rotate(const at::Tensor& x_bhtk, const Rope& rope) {
  const auto t = x_bhtk.size(2);
  const at::Tensor cos = rope.cos.narrow(0, 0, t);
  const at::Tensor sin = rope.sin.narrow(0, 0, t);
  const auto halves = x_bhtk.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

constexpr std::int64_t kWord = 0xFFFFFFFF;

at::Tensor high_word(const at::Tensor& x) {
  return at::bitwise_right_shift(x, 32).bitwise_and(kWord);  // the shift brings the sign along
}

/// philox4x32 of whole tensors of counters, in 64-bit integers that hold 32-bit words: int64 is the
/// one integer type that every device multiplies, and its overflow wraps.
std::array<at::Tensor, 4> philox(std::array<at::Tensor, 4> counter,
                                 std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const at::Tensor product0 = counter[0] * std::int64_t{0xD2511F53};
    const at::Tensor product1 = counter[2] * std::int64_t{0xCD9E8D57};
    counter = {high_word(product1).bitwise_xor(counter[1]).bitwise_xor(std::int64_t{key[0]}),
               product1.bitwise_and(kWord),
               high_word(product0).bitwise_xor(counter[3]).bitwise_xor(std::int64_t{key[1]}),
               product0.bitwise_and(kWord)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// What multiplies a tensor of these sizes: 0 or 1 / (1 - p). Made where it is needed.
at::Tensor dropout_factors(const DropoutSite& site, at::IntArrayRef sizes,
                           const at::TensorOptions& options) {
  const auto n = c10::multiply_integers(sizes);
  if (n == 0) return at::zeros(sizes, options);
  const auto first = site.first_slot * (n / sizes[0]);
  const auto first_block = dropout_first_block(site) + first / 4;
  const auto n_blocks = (first % 4 + n + 3) / 4;
  const auto whole = options.dtype(at::kLong);
  const at::Tensor block = at::arange(n_blocks, whole) + first_block;
  const auto word = [&](std::uint64_t value) {
    return at::full_like(block, static_cast<std::int64_t>(value) & kWord);
  };
  const auto words =
      philox({block.bitwise_and(kWord), high_word(block), word(site.step), word(site.step >> 32)},
             dropout_random(site).key());
  const at::Tensor kept = at::stack({words[0], words[1], words[2], words[3]}, 1)
                              .flatten()
                              .narrow(0, first % 4, n)
                              .ge(static_cast<std::int64_t>(dropout_threshold(site)));
  return kept.to(options.dtype()).mul(1 / (1 - site.p)).view(sizes);
}

/// Real and imaginary part: half precision has no complex tensors.
struct Complex {
  at::Tensor re;
  at::Tensor im;

  [[nodiscard]] at::Tensor stacked() const { return at::stack({re, im}, -1); }
};

Complex reciprocal(const at::Tensor& re, const at::Tensor& im) {
  const at::Tensor squared = re * re + im * im;
  return {re / squared, -im / squared};
}

/// L_i = 1 / (s_i - L_{i-1}) with s_i = a_i - i and a (b, t), t > 0 -> (b, t).
Complex left_m_function(const at::Tensor& a_bt) {
  // Not a_bt.select(1, i), whose gradient has the size of all of a for every i.
  const auto columns = a_bt.unbind(1);
  std::vector<at::Tensor> re;
  std::vector<at::Tensor> im;
  const at::Tensor zero = at::zeros_like(columns[0]);
  Complex m = {zero, zero};
  for (const auto& a : columns) {
    m = reciprocal(a - m.re, -1 - m.im);
    re.push_back(m.re);
    im.push_back(m.im);
  }
  return {at::stack(re, 1), at::stack(im, 1)};
}

Complex green_diagonal(const at::Tensor& v_bt, bool causal) {
  if (v_bt.numel() == 0) return {v_bt, v_bt};
  const at::Tensor a_bt = v_bt - 2;
  const Complex left = left_m_function(a_bt);
  if (causal) return left;
  const Complex mirrored = left_m_function(a_bt.flip(1));
  const Complex right = {mirrored.re.flip(1), mirrored.im.flip(1)};
  const auto of_neighbours = [](const at::Tensor& l, const at::Tensor& r) {
    return at::constant_pad_nd(l, {1, -1}) + at::constant_pad_nd(r, {-1, 1});
  };
  return reciprocal(a_bt - of_neighbours(left.re, right.re), -1 - of_neighbours(left.im, right.im));
}

struct UpstreamHybridFunction : torch::autograd::Function<UpstreamHybridFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& v_bt) {
    const at::Tensor g_bt2 = green_diagonal(v_bt, false).stacked();
    context->save_for_backward({g_bt2});
    return g_bt2;
  }

  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto g = context->get_saved_variables()[0].unbind(-1);
    const auto d = gradients[0].unbind(-1);
    const auto real_of_product = [&](const Complex& x) { return d[0] * x.re - d[1] * x.im; };
    const Complex squared = {g[0] * g[0] - g[1] * g[1], 2 * g[0] * g[1]};
    const at::Tensor magnitude = at::hypot(squared.re, squared.im);
    const at::Tensor raise =
        at::where(magnitude < 1e-3, 1e-3 / (magnitude + 1e-9), at::ones_like(magnitude));
    const Complex inverse = reciprocal(squared.re * raise + 1e-6, squared.im * raise);
    return {(-0.5 * (real_of_product(squared) + real_of_product(inverse))).clamp(-1000, 1000)};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias) {
  const at::Tensor y = at::matmul(x, w.t());
  return bias ? y + *bias : y;
}

at::Tensor linear_half(const at::Tensor& x, const at::Tensor& w,
                       const std::optional<at::Tensor>& bias, at::ScalarType type) {
  const auto rounded = bias ? std::optional(bias->to(type)) : std::nullopt;
  return reference::linear(x.to(type), w.to(type), rounded).to(x.scalar_type());
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                      double eps) {
  const at::Tensor centred = x - at::mean(x, -1, true);
  return centred * at::rsqrt(at::mean(centred * centred, -1, true) + eps) * scale + bias;
}

at::Tensor dropout(const at::Tensor& x, const DropoutSite& site) {
  return x * dropout_factors(site, x.sizes(), x.options());
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  return x * at::rsqrt(at::mean(x * x, -1, true) + eps) * scale;
}

at::Tensor repeat_heads(const at::Tensor& x_bud, std::int64_t d, std::int64_t d_head) {
  if (x_bud.size(2) == d) return x_bud;
  const auto b = x_bud.size(0);
  const auto u = x_bud.size(1);
  const auto n_kv_heads = x_bud.size(2) / d_head;
  return x_bud.reshape({b, u, n_kv_heads, 1, d_head})
      .expand({b, u, n_kv_heads, d / x_bud.size(2), d_head})
      .reshape({b, u, d});
}

at::Tensor attention_probabilities(const at::Tensor& q_btd, const at::Tensor& k_bud,
                                   const AttentionSpec& spec) {
  const auto d = q_btd.size(2);
  at::Tensor q_bhtk = heads_of(q_btd, spec.n_heads);
  at::Tensor k_bhuk = heads_of(repeat_heads(k_bud, d, d / spec.n_heads), spec.n_heads);
  if (spec.rope) {
    q_bhtk = rotate(q_bhtk, *spec.rope);
    k_bhuk = rotate(k_bhuk, *spec.rope);
  }
  at::Tensor scores_bhtu =
      at::matmul(q_bhtk, k_bhuk.transpose(-2, -1)) * spec.scale_of(q_bhtk.size(-1));
  if (spec.bias_htu.defined()) scores_bhtu = scores_bhtu + spec.bias_htu;
  if (spec.causal) {
    const at::Tensor future =
        at::ones({q_btd.size(1), k_bud.size(1)}, q_btd.options().dtype(at::kBool)).triu(1);
    scores_bhtu = scores_bhtu.masked_fill(future, -std::numeric_limits<double>::infinity());
  }
  return at::softmax(scores_bhtu, -1);
}

std::array<at::Tensor, 3> split_heads(const at::Tensor& qkv, const AttentionSpec& spec) {
  const auto d_head = qkv.size(2) / (spec.n_heads + 2 * spec.kv_heads());
  const auto inner = spec.n_heads * d_head;
  const auto kv = spec.kv_heads() * d_head;
  return {qkv.narrow(2, 0, inner), qkv.narrow(2, inner, kv), qkv.narrow(2, inner + kv, kv)};
}

at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& k_bud, const at::Tensor& v_bud,
                     const AttentionSpec& spec) {
  at::Tensor p_bhtu = reference::attention_probabilities(q_btd, k_bud, spec);
  if (spec.dropout.p > 0) p_bhtu = reference::dropout(p_bhtu, spec.dropout);
  const auto d = q_btd.size(2);
  const at::Tensor v = repeat_heads(v_bud, d, d / spec.n_heads);
  const at::Tensor mixed_bhtk = at::matmul(p_bhtu, heads_of(v, spec.n_heads));
  return mixed_bhtk.transpose(1, 2).reshape(q_btd.sizes());
}

at::Tensor attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec) {
  const auto halves = kv.chunk(2, 2);
  return reference::attention(q_btd, halves[0], halves[1], spec);
}

at::Tensor attention(const at::Tensor& qkv, const AttentionSpec& spec) {
  const auto [q, k, v] = split_heads(qkv, spec);
  return reference::attention(q, k, v, spec);
}

at::Tensor gate(const at::Tensor& h, const GateSpec& spec) {
  return reference::gate(h, h, spec);
}

at::Tensor blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b,
                 const at::Tensor& alpha) {
  const at::Tensor rest = 1 - alpha;
  return x * (alpha * g + (b.defined() ? rest * b : rest));
}

at::Tensor gate(const at::Tensor& x, const at::Tensor& h, const GateSpec& spec) {
  const at::Tensor b = function(h, spec.base);
  if (spec.alpha == 0) return x * b;
  return x * (spec.alpha * function(h, spec.gate) + (1 - spec.alpha) * b);
}

at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient) {
  if (gradient == ResolventGradient::upstream_hybrid) return UpstreamHybridFunction::apply(v_bt);
  return green_diagonal(v_bt, causal).stacked();
}

at::Tensor cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n,
                             double smoothing) {
  const at::Tensor log_p_nv = at::log_softmax(logits_nv, -1, at::kDouble);
  const at::Tensor sum = -log_p_nv.gather(1, targets_n.unsqueeze(1)).sum();
  if (smoothing == 0) return sum;
  return (1 - smoothing) * sum -
         smoothing / static_cast<double>(logits_nv.size(1)) * log_p_nv.sum();
}

void adamw_step(at::Tensor& parameter, at::Tensor& moment1, at::Tensor& moment2,
                const at::Tensor& gradient, double scale, std::int64_t step,
                const AdamWSettings& s) {
  const auto t = static_cast<double>(step);
  const at::Tensor g = gradient * scale;
  moment1.mul_(s.beta1).add_(g, 1 - s.beta1);
  moment2.mul_(s.beta2).addcmul_(g, g, 1 - s.beta2);
  const at::Tensor denominator =
      moment2.sqrt().div_(std::sqrt(1 - std::pow(s.beta2, t))).add_(s.eps);
  parameter.mul_(1 - s.lr * s.weight_decay)
      .addcdiv_(moment1, denominator, -s.lr / (1 - std::pow(s.beta1, t)));
}

void add_squares(const at::Tensor& values, ExactSum& sum) {
  const at::Tensor host = values.cpu();
  sum.add_squares({host.data_ptr<float>(), static_cast<std::size_t>(host.numel())});
}

}  // namespace pg::ops::reference
