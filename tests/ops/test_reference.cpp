// The ATen reference against loops over plain doubles written from the formulas: its values
// directly, its gradients against central differences of the loops.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numbers>

#include "base/random.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(reference)

namespace {

using Values = std::vector<double>;
/// The same function over plain values: one vector per input.
using Loops = std::function<Values(const std::vector<Values>&)>;

Values values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous().to(at::kDouble);
  const auto* data = flat.data_ptr<double>();
  return {data, data + flat.numel()};
}

void check_against_loops(const Operator& op, const Loops& loops, const Tensors& inputs) {
  const at::Tensor weight = normal(op(inputs).sizes(), 99);
  const Tensors found = value_and_gradients(op, inputs, weight, at::kDouble);
  std::vector<Values> plain;
  for (const auto& input : inputs) plain.push_back(values_of(input));

  const Values value = values_of(found[0]);
  const Values expected = loops(plain);
  BOOST_REQUIRE(value.size() == expected.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    BOOST_REQUIRE_SMALL(value[i] - expected[i], 1e-12 * (1 + std::abs(expected[i])));
  }

  const Values weights = values_of(weight);
  const auto weighted_sum = [&] {
    const Values y = loops(plain);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  constexpr double kStep = 1e-5;
  for (std::size_t which = 0; which < plain.size(); ++which) {
    const Values gradient = values_of(found[which + 1]);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const double before = plain[which][i];
      plain[which][i] = before + kStep;
      const double above = weighted_sum();
      plain[which][i] = before - kStep;
      const double below = weighted_sum();
      plain[which][i] = before;
      const double difference = (above - below) / (2 * kStep);
      BOOST_REQUIRE_SMALL(gradient[i] - difference, 1e-7 * (1 + std::abs(difference)));
    }
  }
}

double sigmoid(double h) {
  return 1 / (1 + std::exp(-h));
}

double normal_cdf(double h) {
  return 0.5 * std::erfc(-h / std::numbers::sqrt2);
}

double function_value(double h, ops::GateFunction f) {
  using F = ops::GateFunction;
  const double cubic = std::sqrt(2 / std::numbers::pi) * (h + 0.044715 * h * h * h);
  switch (f) {
    case F::one: return 1;
    case F::identity: return h;
    case F::step: return h > 0 ? 1 : 0;
    case F::sigmoid: return sigmoid(h);
    case F::tanh: return std::tanh(h);
    case F::relu: return std::max(0.0, h);
    case F::normal_cdf: return normal_cdf(h);
    case F::normal_cdf_tanh: return (1 + std::tanh(cubic)) / 2;
    case F::gelu: return h * normal_cdf(h);
    case F::gelu_tanh: return h * (1 + std::tanh(cubic)) / 2;
    case F::silu: return h * sigmoid(h);
    case F::mish: return h * std::tanh(std::log1p(std::exp(h)));
  }
  return std::nan("");
}

double gate_value(double h, const ops::GateSpec& spec) {
  return h * (spec.alpha * function_value(h, spec.gate) +
              (1 - spec.alpha) * function_value(h, spec.base));
}

/// What multiplies element e, from the words that the counters give one by one.
double dropout_factor(const ops::DropoutSite& site, std::size_t e) {
  const random::Stream stream(site.seed, random::Purpose::dropout, site.step);
  const auto block = stream.block(site.site * (1ULL << 44) + e / 4);
  return static_cast<double>(block[e % 4]) >= site.p * 4294967296.0 ? 1 / (1 - site.p) : 0;
}

struct AttentionCase {
  std::size_t b, t, n_heads, d_head;
  bool causal;
  bool rope;
  double dropout = 0;

  [[nodiscard]] ops::DropoutSite site() const { return {dropout, 5, (1ULL << 40) + 3, 70, 9}; }
};

/// Rotates (i, i + d_head/2) of a head in place by position * theta^(-2i/d_head).
void rotate(double* head, std::size_t d_head, std::size_t position, double theta) {
  for (std::size_t i = 0; i < d_head / 2; ++i) {
    const double angle =
        static_cast<double>(position) *
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d_head));
    const double a = head[i];
    const double b = head[i + d_head / 2];
    head[i] = a * std::cos(angle) - b * std::sin(angle);
    head[i + d_head / 2] = b * std::cos(angle) + a * std::sin(angle);
  }
}

Values attention_loops(const AttentionCase& c, double theta, Values qkv) {
  const std::size_t d = c.n_heads * c.d_head;
  Values out(c.b * c.t * d, 0.0);
  const auto row = [&](std::size_t s, std::size_t i, std::size_t part, std::size_t head) {
    return qkv.data() + (s * c.t + i) * 3 * d + part * d + head * c.d_head;
  };
  for (std::size_t s = 0; s < c.b; ++s) {
    for (std::size_t head = 0; head < c.n_heads; ++head) {
      for (std::size_t i = 0; c.rope && i < c.t; ++i) {
        rotate(row(s, i, 0, head), c.d_head, i, theta);
        rotate(row(s, i, 1, head), c.d_head, i, theta);
      }
      for (std::size_t i = 0; i < c.t; ++i) {
        const std::size_t seen = c.causal ? i + 1 : c.t;
        Values weight(seen);
        double sum = 0;
        for (std::size_t j = 0; j < seen; ++j) {
          double score = 0;
          for (std::size_t k = 0; k < c.d_head; ++k) {
            score += row(s, i, 0, head)[k] * row(s, j, 1, head)[k];
          }
          weight[j] = std::exp(score / std::sqrt(static_cast<double>(c.d_head)));
          sum += weight[j];
        }
        for (std::size_t j = 0; c.dropout > 0 && j < seen; ++j) {
          weight[j] *= dropout_factor(c.site(), (((9 + s) * c.n_heads + head) * c.t + i) * c.t + j);
        }
        for (std::size_t j = 0; j < seen; ++j) {
          for (std::size_t k = 0; k < c.d_head; ++k) {
            out[(s * c.t + i) * d + head * c.d_head + k] += weight[j] / sum * row(s, j, 2, head)[k];
          }
        }
      }
    }
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(linear_is_x_times_w_transposed_plus_bias) {
  const auto loops = [](const std::vector<Values>& in) {
    Values y(6 * 4, 0.0);
    for (std::size_t r = 0; r < 6; ++r) {
      for (std::size_t o = 0; o < 4; ++o) {
        if (in.size() == 3) y[r * 4 + o] = in[2][o];
        for (std::size_t i = 0; i < 5; ++i) y[r * 4 + o] += in[0][r * 5 + i] * in[1][o * 5 + i];
      }
    }
    return y;
  };
  const at::Tensor x = normal({2, 3, 5});
  const at::Tensor w = normal({4, 5}, 2);
  check_against_loops(
      [](const Tensors& in) { return ops::reference::linear(in[0], in[1], std::nullopt); }, loops,
      {x, w});
  check_against_loops([](const Tensors& in) { return ops::reference::linear(in[0], in[1], in[2]); },
                      loops, {x, w, normal({4}, 3)});
}

BOOST_AUTO_TEST_CASE(layer_norm_subtracts_the_mean_and_divides_by_the_deviation) {
  const double eps = 0.01;
  const auto loops = [&](const std::vector<Values>& in) {
    Values y(in[0].size());
    for (std::size_t r = 0; r < y.size() / 7; ++r) {
      double mean = 0;
      double variance = 0;
      for (std::size_t i = 0; i < 7; ++i) mean += in[0][r * 7 + i] / 7;
      for (std::size_t i = 0; i < 7; ++i) variance += std::pow(in[0][r * 7 + i] - mean, 2) / 7;
      for (std::size_t i = 0; i < 7; ++i) {
        y[r * 7 + i] = (in[0][r * 7 + i] - mean) / std::sqrt(variance + eps) * in[1][i] + in[2][i];
      }
    }
    return y;
  };
  check_against_loops(
      [&](const Tensors& in) { return ops::reference::layer_norm(in[0], in[1], in[2], eps); },
      loops, {normal({3, 2, 7}) + 2, normal({7}, 2), normal({7}, 3)});
}

BOOST_AUTO_TEST_CASE(dropout_is_a_function_of_seed_step_site_and_element) {
  for (const ops::DropoutSite& site :
       {ops::DropoutSite{0.1, 42, 0, 0, 0},
        {0.5, 1ULL << 63, 1ULL << 35, (1ULL << 20) - 1, 3},
        {0.9, 7, 12, 34, 1LL << 33}}) {  // the last one's elements need more than 32 bits
    const auto loops = [&](const std::vector<Values>& in) {
      Values y;
      for (std::size_t i = 0; i < in[0].size(); ++i) {
        const auto e = static_cast<std::size_t>(site.first_slot) * 15 + i;
        y.push_back(in[0][i] * dropout_factor(site, e));
      }
      return y;
    };
    check_against_loops([&](const Tensors& in) { return ops::reference::dropout(in[0], site); },
                        loops, {normal({4, 3, 5})});
  }
}

BOOST_AUTO_TEST_CASE(rms_norm_divides_by_the_root_mean_square) {
  const double eps = 0.01;
  const auto loops = [&](const std::vector<Values>& in) {
    Values y(in[0].size());
    for (std::size_t r = 0; r < y.size() / 7; ++r) {
      double squares = 0;
      for (std::size_t i = 0; i < 7; ++i) squares += in[0][r * 7 + i] * in[0][r * 7 + i];
      for (std::size_t i = 0; i < 7; ++i) {
        y[r * 7 + i] = in[0][r * 7 + i] / std::sqrt(squares / 7 + eps) * in[1][i];
      }
    }
    return y;
  };
  check_against_loops(
      [&](const Tensors& in) { return ops::reference::rms_norm(in[0], in[1], eps); }, loops,
      {normal({3, 2, 7}), normal({7}, 2)});
}

BOOST_AUTO_TEST_CASE(every_gate_is_its_formula) {
  for (const auto& spec : all_gates()) {
    BOOST_TEST_CONTEXT(describe(spec)) {
      const auto loops = [&](const std::vector<Values>& in) {
        Values y;
        for (const double h : in[0]) y.push_back(gate_value(h, spec));
        return y;
      };
      check_against_loops([&](const Tensors& in) { return ops::reference::gate(in[0], spec); },
                          loops, {2 * normal({4, 20})});
    }
  }
}

BOOST_AUTO_TEST_CASE(attention_is_its_formula) {
  const double theta = 50;
  for (const AttentionCase& c : {AttentionCase{2, 5, 2, 4, true, true},
                                 {1, 6, 1, 6, true, false},
                                 {2, 4, 3, 2, false, true},
                                 {1, 1, 2, 2, true, true},
                                 {1, 5, 1, 3, false, false},
                                 {2, 5, 3, 2, true, false, 0.3},
                                 {2, 3, 2, 2, false, true, 0.6}}) {
    BOOST_TEST_CONTEXT("t " << c.t << " d_head " << c.d_head << " causal " << c.causal << " rope "
                            << c.rope << " dropout " << c.dropout) {
      const auto b = static_cast<std::int64_t>(c.b);
      const auto t = static_cast<std::int64_t>(c.t);
      const auto d_head = static_cast<std::int64_t>(c.d_head);
      const auto n_heads = static_cast<std::int64_t>(c.n_heads);
      std::optional<ops::Rope> rope;
      if (c.rope) rope = ops::make_rope(t + 3, d_head, theta, at::kDouble);
      const auto dropout = c.dropout > 0 ? c.site() : ops::DropoutSite{};
      check_against_loops(
          [&](const Tensors& in) {
            return ops::reference::attention(
                in[0], {.n_heads = n_heads, .causal = c.causal, .rope = rope, .dropout = dropout});
          },
          [&](const std::vector<Values>& in) { return attention_loops(c, theta, in[0]); },
          {normal({b, t, 3 * n_heads * d_head})});
    }
  }
}

BOOST_AUTO_TEST_CASE(cross_entropy_is_the_negative_log_likelihood) {
  const std::vector<std::int64_t> target = {3, 0, 4, 4, 1, 2};
  const auto loops = [&](const std::vector<Values>& in) {
    double loss = 0;
    for (std::size_t r = 0; r < target.size(); ++r) {
      double sum = 0;
      for (std::size_t i = 0; i < 5; ++i) sum += std::exp(in[0][r * 5 + i]);
      loss -= in[0][r * 5 + static_cast<std::size_t>(target[r])] - std::log(sum);
    }
    return Values{loss};
  };
  const at::Tensor targets = at::tensor(target, at::kLong);
  check_against_loops(
      [&](const Tensors& in) { return ops::reference::cross_entropy_sum(in[0], targets, 0); },
      loops, {3 * normal({6, 5})});
}

BOOST_AUTO_TEST_SUITE_END()
