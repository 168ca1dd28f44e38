// The fast float32 paths against the reference in double, values and every gradient.
#include <boost/test/unit_test.hpp>

#include "base/error.hpp"
#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(fast)

namespace {

constexpr double kTolerance = 1e-6;

/// `fast` runs in float, `truth` in double, both on the same numbers.
void check_close(const Operator& fast, const Operator& truth, const Tensors& inputs) {
  const at::Tensor weight = normal(truth(inputs).sizes(), 77);
  const Tensors found = value_and_gradients(fast, inputs, weight, at::kFloat);
  const Tensors expected = value_and_gradients(truth, inputs, weight, at::kDouble);
  for (std::size_t i = 0; i < found.size(); ++i) {
    BOOST_TEST(relative_error(found[i], expected[i]) < kTolerance,
               (i == 0 ? "value" : "gradient " + std::to_string(i))
                   << " off by " << relative_error(found[i], expected[i]));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(linear_matches) {
  for (const auto& [rows, n_in, n_out] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {7, 5, 3}, {64, 64, 192}, {65, 17, 65}, {300, 128, 64}, {513, 24, 48}}) {
    BOOST_TEST_CONTEXT(rows << " x " << n_in << " -> " << n_out) {
      check_close(
          [](const Tensors& in) { return ops::linear(in[0], in[1]); },
          [](const Tensors& in) { return ops::reference::linear(in[0], in[1], std::nullopt); },
          {normal({rows, n_in}), normal({n_out, n_in}, 2)});
    }
  }
}

BOOST_AUTO_TEST_CASE(linear_with_bias_matches) {
  on_every_instruction_set([] {
    for (const auto& [rows, n_in, n_out] : std::vector<std::array<std::int64_t, 3>>{
             {1, 1, 1}, {7, 5, 3}, {65, 17, 65}, {300, 128, 64}}) {
      BOOST_TEST_CONTEXT(rows << " x " << n_in << " -> " << n_out) {
        check_close([](const Tensors& in) { return ops::linear(in[0], in[1], in[2]); },
                    [](const Tensors& in) { return ops::reference::linear(in[0], in[1], in[2]); },
                    {normal({rows, n_in}), normal({n_out, n_in}, 2), normal({n_out}, 3)});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(blend_matches) {
  on_every_instruction_set([] {
    for (const auto& sizes : std::vector<std::vector<std::int64_t>>{
             {1}, {5, 1}, {7, 16}, {3, 31, 65}, {2, 9, 257}, {0, 4}}) {
      auto rows = sizes;
      rows.back() = 1;
      for (const auto& of_alpha : {std::vector<std::int64_t>{1}, rows}) {
        for (const bool has_base : {true, false}) {
          const auto with = [&](const auto& blend) -> Operator {
            return [&blend, has_base](const Tensors& in) {
              return blend(in[0], in[1], has_base ? in[3] : at::Tensor(), in[2]);
            };
          };
          Tensors inputs = {3 * normal(sizes), 80 * normal(sizes, 2),
                            at::sigmoid(normal(of_alpha, 3))};
          if (has_base) inputs.push_back(1e-3 * normal(sizes, 4));
          for (at::Tensor& input : inputs) input = input.to(at::kFloat).to(at::kDouble);
          check_close(with(ops::blend), with(ops::reference::blend), inputs);
        }
      }
    }
  });
  const at::Tensor x = at::ones({2, 3});
  BOOST_CHECK_THROW((void)ops::blend(x, x, {}, at::ones({2})), InternalError);
  BOOST_CHECK_THROW((void)ops::blend(x, at::ones({3, 2}), {}, at::ones({1})), InternalError);
}

BOOST_AUTO_TEST_CASE(layer_norm_matches) {
  on_every_instruction_set([] {
    for (const auto& [rows, d] : std::vector<std::array<std::int64_t, 2>>{
             {3, 7}, {5, 16}, {200, 64}, {2048, 65}, {3, 1000}}) {
      for (const double shift : {0.0, 3.0}) {
        BOOST_TEST_CONTEXT(rows << " x " << d << " around " << shift) {
          check_close([](const Tensors& in) { return ops::layer_norm(in[0], in[1], in[2], 1e-5); },
                      [](const Tensors& in) {
                        return ops::reference::layer_norm(in[0], in[1], in[2], 1e-5);
                      },
                      {(normal({rows, d}) + shift).to(at::kFloat).to(at::kDouble), normal({d}, 2),
                       normal({d}, 3)});
        }
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(layer_norm_keeps_the_digits_of_a_small_deviation) {
  on_every_instruction_set([] {
    // mean(x^2) - mean^2 has no digit left here: 1e6 against 1e-2.
    const at::Tensor x = (1000 + 0.1 * normal({4, 65})).to(at::kFloat);
    const at::Tensor y = ops::layer_norm(x, at::ones({65}), at::zeros({65}), 1e-5);
    const at::Tensor truth = ops::reference::layer_norm(
        x.to(at::kDouble), at::ones({65}, at::kDouble), at::zeros({65}, at::kDouble), 1e-5);
    BOOST_TEST(relative_error(y, truth) < 1e-3);
  });
}

BOOST_AUTO_TEST_CASE(dropout_matches) {
  on_every_instruction_set([] {
    for (const ops::DropoutSite& site :
         {ops::DropoutSite{0.1, 42, 1, 3, 0}, {0.5, 1, 1ULL << 35, (1ULL << 20) - 1, 5}}) {
      for (const auto& sizes : std::vector<std::vector<std::int64_t>>{
               {1}, {3, 7}, {2, 5, 9}, {1, 1021}, {3, 1025}, {2, 64, 64}}) {
        check_close([&](const Tensors& in) { return ops::dropout(in[0], site); },
                    [&](const Tensors& in) { return ops::reference::dropout(in[0], site); },
                    {normal(sizes)});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(rms_norm_matches) {
  on_every_instruction_set([] {
    for (const auto& [rows, d] : std::vector<std::array<std::int64_t, 2>>{
             {1, 2}, {3, 7}, {5, 16}, {200, 64}, {2048, 65}, {3, 1000}}) {
      BOOST_TEST_CONTEXT(rows << " x " << d) {
        check_close([](const Tensors& in) { return ops::rms_norm(in[0], in[1], 1e-6); },
                    [](const Tensors& in) { return ops::reference::rms_norm(in[0], in[1], 1e-6); },
                    {normal({rows, d}), normal({d}, 2)});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(every_gate_matches) {
  on_every_instruction_set([] {
    for (const auto& spec : all_gates()) {
      BOOST_TEST_CONTEXT(describe(spec)) {
        check_close([&](const Tensors& in) { return ops::gate(in[0], spec); },
                    [&](const Tensors& in) { return ops::reference::gate(in[0], spec); },
                    {3 * normal({13, 37})});
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(cross_entropy_matches) {
  on_every_instruction_set([] {
    for (const auto& [n, v] :
         std::vector<std::array<std::int64_t, 2>>{{1, 1}, {1, 2}, {7, 65}, {200, 16}, {3, 5000}}) {
      BOOST_TEST_CONTEXT(n << " x " << v) {
        const at::Tensor targets = at::arange(n, at::kLong).mul(31).remainder(v);
        for (const double smoothing : {0.0, 0.1}) {
          check_close(
              [&](const Tensors& in) { return ops::cross_entropy_sum(in[0], targets, smoothing); },
              [&](const Tensors& in) {
                return ops::reference::cross_entropy_sum(in[0], targets, smoothing);
              },
              {3 * normal({n, v})});
        }
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(cross_entropy_survives_large_logits) {
  on_every_instruction_set([] {
    const at::Tensor logits = at::tensor({1000.0F, 0.0F, -1000.0F, 999.0F}).view({1, 4});
    const auto loss = [&](std::int64_t target) {
      return ops::cross_entropy_sum(logits, at::tensor({target}, at::kLong)).item<double>();
    };
    const double log_sum = 1000 + std::log1p(std::exp(-1.0));
    BOOST_TEST(loss(0) == log_sum - 1000, boost::test_tools::tolerance(1e-6));
    BOOST_TEST(loss(1) == log_sum, boost::test_tools::tolerance(1e-9));
    BOOST_TEST(loss(2) == log_sum + 1000, boost::test_tools::tolerance(1e-9));
  });
}

BOOST_AUTO_TEST_CASE(strided_inputs_give_the_result_of_contiguous_ones) {
  const at::Tensor x = normal({12, 5, 10}).to(at::kFloat);
  const at::Tensor strided = x.transpose(0, 2);  // (10, 5, 12)
  const at::Tensor dense = strided.contiguous();
  const at::Tensor w = normal({12, 7}, 2).to(at::kFloat).t();  // (7, 12), not contiguous
  const at::Tensor scale = normal({24}, 3).to(at::kFloat).slice(0, 0, 24, 2);
  const auto rope = ops::make_rope(5, 4, 1e4, at::kFloat);
  BOOST_TEST(same_bits(ops::linear(strided, w), ops::linear(dense, w.contiguous())));
  BOOST_TEST(same_bits(ops::rms_norm(strided, scale, 1e-6),
                       ops::rms_norm(dense, scale.contiguous(), 1e-6)));
  BOOST_TEST(same_bits(ops::layer_norm(strided, scale, scale, 1e-6),
                       ops::layer_norm(dense, scale.contiguous(), scale.contiguous(), 1e-6)));
  BOOST_TEST(same_bits(ops::linear(strided, w, scale.narrow(0, 0, 7)),
                       ops::linear(dense, w, scale.contiguous().narrow(0, 0, 7))));
  BOOST_TEST(same_bits(ops::dropout(strided, {0.5}), ops::dropout(dense, {0.5})));
  BOOST_TEST(same_bits(ops::gate(strided, {}), ops::gate(dense, {})));
  const ops::AttentionSpec spec{.causal = true, .rope = rope};
  BOOST_TEST(same_bits(ops::attention(strided, spec), ops::attention(dense, spec)));
  const at::Tensor logits = x.select(2, 0).t();
  const at::Tensor targets = at::zeros({5, 2}, at::kLong).select(1, 0);
  BOOST_TEST(same_bits(ops::cross_entropy_sum(logits, targets),
                       ops::cross_entropy_sum(logits.contiguous(), targets.contiguous())));
}

BOOST_AUTO_TEST_CASE(an_expanded_gradient_is_understood) {
  // sum() hands back a gradient of stride 0.
  const at::Tensor x = normal({4, 6}).to(at::kFloat).set_requires_grad(true);
  const at::Tensor w = normal({3, 6}, 2).to(at::kFloat).set_requires_grad(true);
  ops::linear(x, w).sum().backward();
  BOOST_TEST(relative_error(x.grad(), w.detach().sum(0).expand({4, 6})) < kTolerance);
  BOOST_TEST(relative_error(w.grad(), x.detach().sum(0).expand({3, 6})) < kTolerance);
}

BOOST_AUTO_TEST_SUITE_END()
