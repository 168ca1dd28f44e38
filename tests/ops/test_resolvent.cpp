// The diagonal of the Green's function against inverses of dense complex matrices, its gradient
// against their central differences, and what must hold at any length.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"
#include "support/support.hpp"

using namespace pg;
using namespace pg::testing;
using ops::ResolventGradient;

BOOST_AUTO_TEST_SUITE(resolvent)

namespace {

/// Normal numbers cut off at +-3, so that many stand at the ends of what the network gives.
at::Tensor potential(std::int64_t b, std::int64_t t, std::uint64_t seed = 1) {
  return (3 * normal({b, t}, seed)).clamp(-3, 3);
}

Operator fast(bool causal, ResolventGradient gradient = ResolventGradient::exact) {
  return [=](const Tensors& in) { return ops::resolvent(in[0], causal, gradient); };
}

Operator reference(bool causal, ResolventGradient gradient = ResolventGradient::exact) {
  return [=](const Tensors& in) { return ops::reference::resolvent(in[0], causal, gradient); };
}

/// The definition: v (b, t) -> (b, t, 2) by way of t x t matrices.
at::Tensor dense(const at::Tensor& v_bt, bool causal) {
  const auto t = v_bt.size(1);
  const auto options = v_bt.options();
  const at::Tensor beside = at::ones({t, t}, options);
  const at::Tensor h = at::diag_embed(v_bt - 2) + beside.triu(1).tril(1) + beside.tril(-1).triu(-1);
  const at::Tensor shifted = at::complex(h, -at::eye(t, options).expand_as(h));
  at::Tensor g_bt;
  if (causal) {
    std::vector<at::Tensor> last;
    for (std::int64_t i = 0; i < t; ++i) {
      const at::Tensor leading = shifted.narrow(1, 0, i + 1).narrow(2, 0, i + 1).contiguous();
      last.push_back(at::linalg_inv(leading).select(2, i).select(1, i));
    }
    g_bt = at::stack(last, 1);
  } else {
    g_bt = at::linalg_inv(shifted).diagonal(0, 1, 2);
  }
  return at::stack({at::real(g_bt), at::imag(g_bt)}, -1);
}

/// Gradient of sum(dense(v) * weight) by central differences; a sequence does not see another.
at::Tensor dense_differences(const at::Tensor& v_bt, const at::Tensor& weight_bt2, bool causal) {
  constexpr double kStep = 1e-5;
  std::vector<at::Tensor> columns;
  for (std::int64_t j = 0; j < v_bt.size(1); ++j) {
    const auto loss_b = [&](double step) {
      at::Tensor moved = v_bt.clone();
      moved.select(1, j).add_(step);
      return (dense(moved, causal) * weight_bt2).sum(at::IntArrayRef{1, 2});
    };
    columns.push_back((loss_b(kStep) - loss_b(-kStep)) / (2 * kStep));
  }
  return at::stack(columns, 1);
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return ((a * b).sum() / (a.norm() * b.norm())).item<double>();
}

double worst(const at::Tensor& found, const at::Tensor& truth) {
  return (found.to(at::kDouble) - truth).abs().max().item<double>();
}

}  // namespace

BOOST_AUTO_TEST_CASE(it_is_the_diagonal_of_the_inverse) {
  for (const bool causal : {true, false}) {
    for (const std::int64_t t : {1, 2, 3, 17, 64}) {
      BOOST_TEST_CONTEXT("causal " << causal << " t " << t) {
        const at::Tensor v = potential(3, t);
        const at::Tensor truth = dense(v, causal);
        BOOST_TEST(worst(ops::resolvent(v, causal), truth) < 1e-14);
        BOOST_TEST(worst(ops::resolvent(v.to(at::kFloat), causal), truth) < 3e-7);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_exact_gradient_is_that_of_central_differences) {
  for (const bool causal : {true, false}) {
    for (const std::int64_t t : {1, 2, 3, 17}) {
      BOOST_TEST_CONTEXT("causal " << causal << " t " << t) {
        const at::Tensor v = potential(3, t);
        const at::Tensor weight = normal({3, t, 2}, 5);
        const at::Tensor truth = dense_differences(v, weight, causal);
        const auto gradient = [&](const Operator& op, at::ScalarType type) {
          return value_and_gradients(op, {v}, weight, type)[1];
        };
        BOOST_TEST(relative_error(gradient(reference(causal), at::kDouble), truth) < 1e-8);
        BOOST_TEST(relative_error(gradient(fast(causal), at::kFloat), truth) < 1e-6);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_fast_path_matches_the_reference) {
  const auto check = [](const Operator& found_by, const Operator& truth_by, const at::Tensor& v) {
    const at::Tensor weight = normal({v.size(0), v.size(1), 2}, 77);
    const Tensors found = value_and_gradients(found_by, {v}, weight, at::kFloat);
    const Tensors truth = value_and_gradients(truth_by, {v}, weight, at::kDouble);
    BOOST_TEST(relative_error(found[0], truth[0]) < 1e-6);
    BOOST_TEST(relative_error(found[1], truth[1]) < 1e-6);
  };
  for (const std::int64_t b : {1, 5}) {
    for (const std::int64_t t : {1, 2, 3, 64, 129, 1000}) {
      BOOST_TEST_CONTEXT("b " << b << " t " << t) {
        const at::Tensor v = potential(b, t).to(at::kFloat);
        for (const bool causal : {true, false}) check(fast(causal), reference(causal), v);
        const auto hybrid = ResolventGradient::upstream_hybrid;
        check(fast(false, hybrid), reference(false, hybrid), v);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(only_the_bidirectional_form_sees_later_places) {
  const at::Tensor v = potential(2, 133).to(at::kFloat);
  for (const bool causal : {true, false}) {
    const at::Tensor before = ops::resolvent(v, causal);
    for (const std::int64_t j : {1, 64, 132}) {
      at::Tensor other = v.clone();
      other.select(1, j).add_(0.5);
      const at::Tensor after = ops::resolvent(other, causal);
      BOOST_TEST(same_bits(after.narrow(1, 0, j), before.narrow(1, 0, j)) == causal);
      BOOST_TEST(!same_bits(after.select(1, j), before.select(1, j)));
    }
  }
}

BOOST_AUTO_TEST_CASE(float_is_enough_for_any_length) {
  // The truth for a window of places is the reference in double on that window and its
  // surroundings: what stands further away than `kReach` counts less than 1e-13. A potential of
  // 1e15 is a wall.
  constexpr std::int64_t kLength = 65536, kWindow = 256, kReach = 64, kWide = kWindow + 2 * kReach;
  const at::Tensor rough = normal({kLength});
  const at::Tensor v =
      at::stack({rough.clamp(-3, 3), 3 * rough.sign(), at::full_like(rough, 3),
                 at::full_like(rough, -3), at::full_like(rough, 2)})  // 2: the band's centre
          .to(at::kFloat);
  const at::Tensor weight = normal({v.size(0), kLength, 2}, 5);
  const at::Tensor v_wide = at::constant_pad_nd(v.to(at::kDouble), {kReach, kReach}, 1e15)
                                .unfold(1, kWide, kWindow)
                                .reshape({-1, kWide});
  const at::Tensor weight_wide = at::constant_pad_nd(weight, {0, 0, kReach, kReach})
                                     .unfold(1, kWide, kWindow)
                                     .transpose(2, 3)
                                     .reshape({-1, kWide, 2});
  for (const bool causal : {true, false}) {
    BOOST_TEST_CONTEXT("causal " << causal) {
      const Tensors found = value_and_gradients(fast(causal), {v}, weight, at::kFloat);
      const Tensors wide =
          value_and_gradients(reference(causal), {v_wide}, weight_wide, at::kDouble);
      const auto truth = [&](std::size_t i) {
        return wide[i].narrow(1, kReach, kWindow).reshape(found[i].sizes());
      };
      BOOST_TEST(found[0].isfinite().all().item<bool>());
      BOOST_TEST(found[0].square().sum(-1).max().item<double>() < 1 + 1e-6);
      BOOST_TEST(worst(found[0], truth(0)) < 1e-6);
      BOOST_TEST(worst(found[1], truth(1)) < 1e-5);
      BOOST_TEST(relative_error(found[1], truth(1)) < 1e-6);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_hybrid_gradient_is_its_formula_and_not_the_gradient) {
  const auto hybrid = ResolventGradient::upstream_hybrid;
  const auto formula = [](const at::Tensor& v, const at::Tensor& weight) {
    const at::Tensor d = at::view_as_complex(weight.contiguous());
    const at::Tensor squared = at::view_as_complex(dense(v, false).contiguous()).square();
    const at::Tensor floored = at::polar(squared.abs().clamp_min(1e-3), squared.angle()) + 1e-6;
    return (-0.5 * at::real(d * squared) - 0.5 * at::real(d / floored)).clamp(-1000, 1000);
  };
  const at::Tensor v = potential(4, 64);
  const at::Tensor weight = normal({4, 64, 2}, 5);
  // Potentials of 100 take |G|^2 below the floor, weights of 5000 the result beyond the clamp. The
  // tolerance is that of upstream's guard against 0 / 0, which lowers |G|^2 = 1e-4 by 1e-9.
  for (const double scale : {1.0, 40.0}) {
    for (const double weights : {0.1, 5000.0}) {
      BOOST_TEST_CONTEXT("v x " << scale << ", weights x " << weights) {
        const at::Tensor truth = formula(v * scale, weight * weights);
        BOOST_TEST((truth.abs().max().item<double>() == 1000) == (weights > 1));
        const auto gradient = [&](const Operator& op, at::ScalarType type) {
          return value_and_gradients(op, {v * scale}, weight * weights, type)[1];
        };
        BOOST_TEST(relative_error(gradient(reference(false, hybrid), at::kDouble), truth) < 2e-5);
        BOOST_TEST(relative_error(gradient(fast(false, hybrid), at::kFloat), truth) < 2e-5);
      }
    }
  }

  // For normal potentials the cosine is 0.56 and the norm 11.5 times too large; where potentials
  // are small they are 0.94 and 7.6, where they are cut off at +-3, 0.28 and 26.
  const at::Tensor v_normal = normal({4, 64});
  const at::Tensor truth = dense_differences(v_normal, weight, false);
  const auto gradient = [&](ResolventGradient which) {
    return value_and_gradients(fast(false, which), {v_normal}, weight, at::kFloat)[1].to(
        at::kDouble);
  };
  BOOST_TEST(cosine(gradient(ResolventGradient::exact), truth) > 1 - 1e-10);
  BOOST_TEST(std::abs(cosine(gradient(hybrid), truth) - 0.56) < 0.15);
  BOOST_TEST(std::abs((gradient(hybrid).norm() / truth.norm()).item<double>() - 11.5) < 4);
  // Only the gradient differs.
  const at::Tensor v_float = v.to(at::kFloat);
  BOOST_TEST(same_bits(ops::resolvent(v_float, false, hybrid), ops::resolvent(v_float, false)));
}

BOOST_AUTO_TEST_CASE(a_sequence_has_the_same_bits_alone_and_again) {
  const at::Tensor v = potential(5, 133);
  const at::Tensor weight = normal({5, 133, 2}, 5);
  for (const bool causal : {true, false}) {
    const Tensors together = value_and_gradients(fast(causal), {v}, weight, at::kFloat);
    for (std::int64_t i = 0; i < 5; ++i) {
      const Tensors alone = value_and_gradients(fast(causal), {v.narrow(0, i, 1)},
                                                weight.narrow(0, i, 1), at::kFloat);
      BOOST_TEST(same_bits(alone[0], together[0].narrow(0, i, 1)));
      BOOST_TEST(same_bits(alone[1], together[1].narrow(0, i, 1)));
    }
    // Strides must not matter, neither those of v nor those of the incoming gradient.
    const at::Tensor by_columns =
        v.to(at::kFloat).t().contiguous().t().detach().set_requires_grad(true);
    const at::Tensor value = ops::resolvent(by_columns, causal);
    value.backward(weight.to(at::kFloat).permute({2, 1, 0}).contiguous().permute({2, 1, 0}));
    BOOST_TEST(same_bits(value, together[0]));
    BOOST_TEST(same_bits(by_columns.grad(), together[1]));
  }
}

BOOST_AUTO_TEST_CASE(nothing_in_gives_nothing_out) {
  for (const bool causal : {true, false}) {
    for (const auto& [b, t] : {std::pair(0, 5), std::pair(3, 0), std::pair(0, 0)}) {
      for (const auto type : {at::kFloat, at::kDouble}) {
        const Tensors found =
            value_and_gradients(fast(causal), {at::zeros({b, t})}, at::ones({b, t, 2}), type);
        BOOST_TEST(same_bits(found[0], at::zeros({b, t, 2}, type)));
        BOOST_TEST(same_bits(found[1], at::zeros({b, t}, type)));
      }
    }
  }
  const auto hybrid = ResolventGradient::upstream_hybrid;
  for (const auto type : {at::kFloat, at::kDouble}) {
    BOOST_TEST(
        value_and_gradients(fast(false, hybrid), {at::zeros({3, 0})}, at::ones({3, 0, 2}), type)[1]
            .numel() == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_nan_stays_visible_where_it_is_seen) {
  at::Tensor v = potential(2, 70).to(at::kFloat);
  v[1][20] = std::numeric_limits<float>::quiet_NaN();
  for (const bool causal : {true, false}) {
    const at::Tensor bad = ops::resolvent(v, causal).isnan();
    BOOST_TEST(!bad[0].any().item<bool>());
    BOOST_TEST(bad[1].narrow(0, 20, 50).all().item<bool>());
    BOOST_TEST(bad[1].narrow(0, 0, 20).all().item<bool>() == !causal);
    BOOST_TEST(bad[1].narrow(0, 0, 20).any().item<bool>() == !causal);
  }
}

BOOST_AUTO_TEST_CASE(a_broken_call_is_refused) {
  const auto fails = [](auto action, std::initializer_list<std::string_view> words) {
    check_error(action, ExitCode::internal, words);
  };
  const at::Tensor v = at::zeros({2, 5});
  fails([&] { ops::resolvent(v[0], true); }, {"resolvent", "(5)", "v (b, t)"});
  fails([&] { ops::resolvent(v.to(at::kLong), true); }, {"resolvent", "Long"});
  fails([&] { ops::resolvent(at::Tensor(), true); }, {"resolvent", "undefined"});
  fails([&] { ops::resolvent(v, true, ResolventGradient::upstream_hybrid); },
        {"resolvent", "upstream_hybrid", "causal", "bidirectional"});
}

BOOST_AUTO_TEST_SUITE_END()
