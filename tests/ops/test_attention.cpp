// The fast attention against the reference in double: every way of asking for it, on every
// instruction set.

#include <boost/test/unit_test.hpp>
#include <limits>
#include <optional>
#include <vector>

#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"

using namespace pg::testing;
namespace ops = pg::ops;

namespace {

constexpr double kTolerance = 1e-6;

/// What a case asks for; the tensors are made for it.
struct Case {
  std::int64_t b = 2, t = 1, u = 1, n_heads = 3, n_kv_heads = 3, d_head = 8;
  bool causal = false;
  bool joined = true;  ///< q, k and v in one tensor
  bool rope = false;
  bool bias = false;
  std::optional<double> scale = {};
  ops::DropoutSite dropout = {};
  double size = 1;  ///< of the numbers
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "b " << c.b << " t " << c.t << " u " << c.u << " heads " << c.n_heads << "/"
             << c.n_kv_heads << " of " << c.d_head << (c.causal ? " causal" : "")
             << (c.joined ? "" : " apart") << (c.rope ? " rope" : "") << (c.bias ? " bias" : "")
             << (c.dropout.p > 0 ? " dropout" : "") << " size " << c.size;
}

Tensors inputs(const Case& c) {
  const auto q_width = c.n_heads * c.d_head;
  const auto kv_width = 2 * c.n_kv_heads * c.d_head;
  Tensors result = c.joined ? Tensors{normal({c.b, c.t, q_width + kv_width})}
                            : Tensors{normal({c.b, c.t, q_width}), normal({c.b, c.u, kv_width}, 2)};
  if (c.bias) result.push_back(normal({c.n_heads, c.t, c.u}, 3));
  for (auto& x : result) x = (c.size * x).to(at::kFloat).to(at::kDouble);
  return result;
}

ops::AttentionSpec spec_of(const Case& c, const Tensors& in) {
  ops::AttentionSpec spec{.n_heads = c.n_heads,
                          .n_kv_heads = c.n_kv_heads,
                          .causal = c.causal,
                          .scale = c.scale,
                          .dropout = c.dropout};
  if (c.rope) {
    spec.rope = ops::make_rope(std::max(c.t, c.u) + 5, c.d_head, 1e4, in[0].scalar_type());
  }
  if (c.bias) spec.bias_htu = in.back();
  return spec;
}

Tensors fast(const Case& c) {
  return value_and_gradients(
      [&](const Tensors& in) {
        const auto spec = spec_of(c, in);
        return c.joined ? ops::attention(in[0], spec) : ops::attention(in[0], in[1], spec);
      },
      inputs(c), normal({c.b, c.t, c.n_heads * c.d_head}, 4), at::kFloat);
}

Tensors reference(const Case& c) {
  return value_and_gradients(
      [&](const Tensors& in) {
        const auto spec = spec_of(c, in);
        return c.joined ? ops::reference::attention(in[0], spec)
                        : ops::reference::attention(in[0], in[1], spec);
      },
      inputs(c), normal({c.b, c.t, c.n_heads * c.d_head}, 4), at::kDouble);
}

void check(const Case& c, double tolerance = kTolerance) {
  BOOST_TEST_CONTEXT(c) {
    const Tensors found = fast(c);
    const Tensors expected = reference(c);
    for (std::size_t i = 0; i < found.size(); ++i) {
      BOOST_TEST_CONTEXT((i == 0 ? "value" : "gradient ") << i) {
        BOOST_TEST(relative_error(found[i], expected[i]) < tolerance);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(every_length_matches) {
  on_every_instruction_set([] {
    for (const std::int64_t t : {1, 2, 7, 31, 32, 33, 64, 65, 257}) {
      for (const bool causal : {true, false}) {
        for (const bool rope : {true, false}) {
          check({.t = t, .u = t, .d_head = 16, .causal = causal, .rope = rope});
        }
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(every_size_of_head_matches) {
  on_every_instruction_set([] {
    for (const std::int64_t d_head : {1, 2, 5, 8, 16, 20, 24, 32, 48, 64, 80, 96, 128}) {
      check({.b = 1,
             .t = 37,
             .u = 37,
             .n_heads = 2,
             .n_kv_heads = 2,
             .d_head = d_head,
             .causal = true,
             .rope = d_head % 2 == 0});
    }
  });
}

BOOST_AUTO_TEST_CASE(shared_heads_of_keys_match) {
  on_every_instruction_set([] {
    for (const std::int64_t n_kv_heads : {1, 2, 3, 6}) {
      for (const bool joined : {true, false}) {
        check({.t = 40,
               .u = 40,
               .n_heads = 6,
               .n_kv_heads = n_kv_heads,
               .causal = true,
               .joined = joined,
               .rope = true});
        check({.t = 35,
               .u = 35,
               .n_heads = 6,
               .n_kv_heads = n_kv_heads,
               .joined = joined,
               .bias = true,
               .dropout = {0.3, 42, 7, 11, 5}});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(another_sequence_matches) {
  on_every_instruction_set([] {
    for (const auto& [t, u] :
         std::vector<std::array<std::int64_t, 2>>{{1, 70}, {70, 2}, {33, 47}, {100, 64}}) {
      for (const bool bias : {true, false}) {
        check({.t = t, .u = u, .joined = false, .bias = bias, .scale = 1.0});
        check({.t = t,
               .u = u,
               .joined = false,
               .rope = true,
               .bias = bias,
               .dropout = {0.5, 1, 2, 3, 4}});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(a_bias_and_its_gradient_match) {
  on_every_instruction_set([] {
    for (const std::int64_t t : {1, 16, 50}) {
      for (const bool causal : {true, false}) {
        check({.b = 3, .t = t, .u = t, .causal = causal, .bias = true, .scale = 0.7});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(dropout_matches) {
  on_every_instruction_set([] {
    for (const std::int64_t t : {1, 7, 64, 65, 200}) {
      for (const bool causal : {true, false}) {
        for (const std::int64_t first_slot : {0, 5}) {
          check({.t = t,
                 .u = t,
                 .causal = causal,
                 .rope = true,
                 .dropout = {0.3, 42, 7, 11, first_slot}});
        }
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(large_scores_survive) {
  on_every_instruction_set([] {
    // Scores of several hundred: exp of them is not finite without the subtraction of the maximum.
    const Case c{.b = 1,
                 .t = 70,
                 .u = 70,
                 .n_heads = 2,
                 .n_kv_heads = 2,
                 .d_head = 16,
                 .causal = true,
                 .size = 8};
    const Tensors found = fast(c);
    const Tensors expected = reference(c);
    BOOST_TEST(relative_error(found[0], expected[0]) < 1e-4);
    BOOST_TEST(relative_error(found[1], expected[1]) < 1e-3);
  });
}

BOOST_AUTO_TEST_CASE(tiny_numbers_survive) {
  on_every_instruction_set([] {
    check({.t = 20, .u = 20, .causal = true, .size = 1e-18}, 1e-4);  // their products are denormal
    const Case c{.t = 20, .u = 20, .causal = true, .size = 1e-40};   // they are denormal themselves
    for (const auto& x : fast(c)) BOOST_TEST(x.isfinite().all().item<bool>());
  });
}

BOOST_AUTO_TEST_CASE(a_bias_of_minus_infinity_hides_keys) {
  on_every_instruction_set([] {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const at::Tensor qkv = normal({1, 40, 24}).to(at::kFloat);
    at::Tensor bias = at::zeros({1, 40, 40});
    bias.slice(2, 3, 40).fill_(-kInfinity);
    const at::Tensor hidden = ops::attention(qkv, {.bias_htu = bias});
    const at::Tensor few = ops::attention(qkv.narrow(2, 0, 8), qkv.slice(2, 8).slice(1, 0, 3), {});
    BOOST_TEST(relative_error(hidden, few.to(at::kDouble)) < kTolerance);
    // Who sees nothing at all has no softmax: that must show, and in no other row.
    bias.select(1, 7).fill_(-kInfinity);
    const at::Tensor blind = ops::attention(qkv, {.bias_htu = bias});
    BOOST_TEST(blind[0][7].isnan().all().item<bool>());
    BOOST_TEST(blind.isnan().sum().item<std::int64_t>() == 8);
  });
}

BOOST_AUTO_TEST_CASE(a_single_key_has_probability_one) {
  on_every_instruction_set([] {
    const at::Tensor q = normal({2, 5, 8}).to(at::kFloat).set_requires_grad(true);
    const at::Tensor kv = normal({2, 1, 16}, 2).to(at::kFloat);
    const at::Tensor y = ops::attention(q, kv, {});
    y.sum().backward();
    BOOST_TEST(same_bits(y, kv.narrow(2, 8, 8).expand({2, 5, 8})));
    BOOST_TEST(q.grad().abs().max().item<float>() < 1e-5);
  });
}

BOOST_AUTO_TEST_CASE(no_keys_give_zeros) {
  const at::Tensor q = normal({2, 3, 8}).to(at::kFloat).set_requires_grad(true);
  const at::Tensor kv = at::zeros({2, 0, 16}).set_requires_grad(true);
  const at::Tensor y = ops::attention(q, kv, {});
  y.sum().backward();
  BOOST_TEST(same_bits(y, at::zeros({2, 3, 8})));
  BOOST_TEST(same_bits(q.grad(), at::zeros({2, 3, 8})));
  BOOST_TEST(kv.grad().numel() == 0);
}

BOOST_AUTO_TEST_CASE(a_group_of_heads_gives_the_bits_of_repeated_heads) {
  on_every_instruction_set([] {
    const at::Tensor q = normal({2, 33, 4 * 8}).to(at::kFloat);
    const at::Tensor kv = normal({2, 33, 2 * 2 * 8}, 2).to(at::kFloat);
    const at::Tensor repeated =
        kv.view({2, 33, 4, 1, 8}).expand({2, 33, 4, 2, 8}).reshape({2, 33, 2 * 4 * 8});
    BOOST_TEST(same_bits(ops::attention(q, kv, {.n_heads = 4, .n_kv_heads = 2, .causal = true}),
                         ops::attention(q, repeated, {.n_heads = 4, .causal = true})));
    BOOST_TEST(same_bits(ops::attention(at::cat({q, repeated}, 2), {.n_heads = 4}),
                         ops::attention(q, repeated, {.n_heads = 4})));
  });
}

BOOST_AUTO_TEST_SUITE_END()
