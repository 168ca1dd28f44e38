// What dropout promises: its mask is a function of seed, step, site and the element's place in the
// whole batch, it keeps what it should, and the gradient goes the same way as the value.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "ops/instruction_sets.hpp"
#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/tensors.hpp"

using namespace pg;
using namespace pg::testing;

BOOST_AUTO_TEST_SUITE(dropout)

namespace {

/// 1 where kept, 0 where not.
at::Tensor mask(at::IntArrayRef sizes, const ops::DropoutSite& site) {
  return ops::dropout(at::ones(sizes), site).gt(0).to(at::kDouble);
}

/// Correlation of two masks of n elements, in units of its standard error.
double correlation(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.flatten() - a.mean();
  const at::Tensor y = b.flatten() - b.mean();
  const double r = (x * y).sum().item<double>() / (x.norm() * y.norm()).item<double>();
  return r * std::sqrt(static_cast<double>(a.numel()));
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_fast_mask_is_the_reference_mask_bit_for_bit) {
  on_every_instruction_set([] {
    // Lengths around a block, a vector and the piece that is made at once; starts inside a block.
    for (const std::int64_t width : {1, 2, 3, 5, 16, 31, 64, 65, 1023, 1024, 1025, 5000}) {
      for (const std::int64_t first_slot : {0L, 1L, 3L, 1L << 32}) {
        const ops::DropoutSite site{0.25, 3, 1ULL << 33, 5, first_slot};
        const at::Tensor ones = at::ones({3, width});
        BOOST_TEST(same_bits(ops::dropout(ones, site), ops::reference::dropout(ones, site)),
                   "width " << width << " from slot " << first_slot);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(slots_get_the_same_mask_however_the_batch_is_cut) {
  on_every_instruction_set([] {
    constexpr std::int64_t kSlots = 8, kLength = 67, kWidth = 15;  // nothing falls on whole vectors
    const at::Tensor x = normal({kSlots, kLength, kWidth}).to(at::kFloat);
    const at::Tensor weight = normal({kSlots, kLength, kWidth}, 2);
    const at::Tensor qkv = normal({kSlots, kLength, 3 * kWidth}, 3).to(at::kFloat);
    const auto at_slot = [](std::int64_t slot) { return ops::DropoutSite{0.4, 9, 2, 6, slot}; };
    const auto drop = [&](std::int64_t first, std::int64_t n) {
      return value_and_gradients(
          [&](const Tensors& in) { return ops::dropout(in[0], at_slot(first)); },
          {x.narrow(0, first, n)}, weight.narrow(0, first, n), at::kFloat);
    };
    const auto attend = [&](std::int64_t first, std::int64_t n) {
      return value_and_gradients(
          [&](const Tensors& in) {
            return ops::attention(in[0], {.n_heads = 3, .causal = true, .dropout = at_slot(first)});
          },
          {qkv.narrow(0, first, n)}, weight.narrow(0, first, n), at::kFloat);
    };
    const Tensors dropped = drop(0, kSlots);
    const Tensors attended = attend(0, kSlots);
    for (const std::int64_t cut : {1, 4, 7}) {
      for (const auto& [first, n] : {std::pair{std::int64_t{0}, cut}, {cut, kSlots - cut}}) {
        const Tensors dropped_part = drop(first, n);
        const Tensors attended_part = attend(first, n);
        for (std::size_t i = 0; i < 2; ++i) {  // the value and the gradient of the input
          BOOST_TEST(same_bits(dropped_part[i], dropped[i].narrow(0, first, n)));
          BOOST_TEST(same_bits(attended_part[i], attended[i].narrow(0, first, n)));
        }
      }
    }
    BOOST_TEST(!same_bits(drop(1, 1)[0], ops::dropout(x.narrow(0, 1, 1), at_slot(0))));
  });
}

BOOST_AUTO_TEST_CASE(it_keeps_one_minus_p_and_scales_it_back) {
  constexpr std::int64_t kSlots = 16, kElements = 1 << 16;
  for (const double p : {0.001, 0.1, 0.5, 0.9}) {
    const at::Tensor y = ops::dropout(at::ones({kSlots, kElements}), {p, 4, 1, 2});
    const at::Tensor kept = y.gt(0);
    const auto scale = static_cast<float>(1 / (1 - p));
    BOOST_TEST(y.masked_select(kept).eq(scale).all().item<bool>());
    BOOST_TEST(y.masked_select(kept.logical_not()).eq(0).all().item<bool>());
    const double n = kSlots * kElements;
    const double rate = kept.to(at::kDouble).mean().item<double>();
    BOOST_TEST(std::abs(rate - (1 - p)) < 4 * std::sqrt(p * (1 - p) / n),
               "p " << p << ", rate " << rate);
    // Each of a block's four words and each slot on its own.
    const at::Tensor by_word = kept.to(at::kDouble).view({-1, 4}).mean(0);
    const at::Tensor by_slot = kept.to(at::kDouble).mean(1);
    for (const at::Tensor& part : {by_word, by_slot}) {
      const double limit = 4.5 * std::sqrt(p * (1 - p) * static_cast<double>(part.numel()) / n);
      BOOST_TEST((part - (1 - p)).abs().max().item<double>() < limit);
    }
  }
}

BOOST_AUTO_TEST_CASE(seeds_steps_sites_slots_and_neighbours_are_independent) {
  const std::vector<std::int64_t> sizes = {4, 50000};
  const ops::DropoutSite base{0.3, 42, 10, 3, 0};
  const at::Tensor a = mask(sizes, base);
  std::vector<std::pair<const char*, ops::DropoutSite>> others;
  for (const std::uint64_t delta : {1ULL, 2ULL, 1ULL << 32}) {
    auto site = base;
    site.seed += delta;
    others.emplace_back("seed", site);
    site = base;
    site.step += delta;
    others.emplace_back("step", site);
  }
  for (const std::uint64_t other : {0ULL, 2ULL, 4ULL, (1ULL << 20) - 1}) {
    auto site = base;
    site.site = other;
    others.emplace_back("site", site);
  }
  auto site = base;
  site.first_slot = 4;
  others.emplace_back("slot", site);
  for (const auto& [what, other] : others) {
    const double r = correlation(a, mask(sizes, other));
    BOOST_TEST(std::abs(r) < 4, what << ": correlation of " << r << " standard errors");
  }
  const at::Tensor flat = a.flatten();
  for (const std::int64_t lag : {1, 2, 3, 4, 8, 64}) {
    const auto n = flat.numel() - lag;
    const double r = correlation(flat.narrow(0, 0, n), flat.narrow(0, lag, n));
    BOOST_TEST(std::abs(r) < 4, "lag " << lag << ": correlation of " << r << " standard errors");
  }
  BOOST_TEST(correlation(a, mask(sizes, base)) > 400);  // the measure sees what is equal
}

BOOST_AUTO_TEST_CASE(the_gradient_takes_the_mask_of_the_value) {
  on_every_instruction_set([] {
    const ops::DropoutSite site{0.5, 1, 2, 3, 4};
    const at::Tensor x = normal({2, 9, 7}).to(at::kFloat).set_requires_grad(true);
    const at::Tensor y = ops::dropout(x, site);
    y.backward(at::ones_like(y));
    BOOST_TEST(same_bits(y, x * x.grad()));
    // One query and one key, of probability 1: what attention gives is dropout of v.
    const at::Tensor qkv = normal({40, 1, 3}).to(at::kFloat).set_requires_grad(true);
    const at::Tensor mixed = ops::attention(qkv, {.causal = true, .dropout = site});
    mixed.backward(at::ones_like(mixed));
    const at::Tensor v = qkv.detach().select(2, 2).unsqueeze(2);
    const at::Tensor dv = qkv.grad().select(2, 2).unsqueeze(2);
    BOOST_TEST(mixed.equal(v * dv));
    BOOST_TEST(dv.equal(ops::dropout(at::ones({40, 1, 1}), site)));
  });
}

BOOST_AUTO_TEST_CASE(with_p_zero_there_is_no_dropout_at_all) {
  const at::Tensor x = normal({3, 5, 12}).to(at::kFloat).set_requires_grad(true);
  BOOST_TEST(ops::dropout(x, {}).is_same(x));
  const auto attend = [&](const ops::DropoutSite& site) {
    return value_and_gradients(
        [&](const Tensors& in) {
          return ops::attention(in[0], {.n_heads = 2, .causal = true, .dropout = site});
        },
        {x}, at::ones({}), at::kFloat);
  };
  const Tensors without = attend({});
  const Tensors with_zero = attend(ops::DropoutSite{0, 1, 2, 3, 4});
  const Tensors with_some = attend(ops::DropoutSite{0.2, 1, 2, 3, 4});
  for (std::size_t i = 0; i < 2; ++i) {
    BOOST_TEST(same_bits(without[i], with_zero[i]));
    BOOST_TEST(!same_bits(without[i], with_some[i]));
  }
}

BOOST_AUTO_TEST_CASE(it_computes_where_the_tensor_is) {
  // A tensor without data stands for another device: mixing in one of the CPU would be an error.
  const auto meta = at::TensorOptions().device(at::kMeta).dtype(at::kFloat);
  const at::Tensor y = ops::dropout(at::empty({2, 3, 4}, meta), {0.5, 1, 2, 3, 4});
  BOOST_TEST(y.is_meta());
  BOOST_TEST(y.sizes() == at::IntArrayRef({2, 3, 4}));
  BOOST_TEST(
      ops::attention(at::empty({2, 3, 12}, meta), {.n_heads = 2, .causal = true, .dropout = {0.5}})
          .is_meta());
  const at::Tensor scale = at::empty({4}, meta);
  BOOST_TEST(ops::linear(ops::layer_norm(y, scale, scale, 1e-5), at::empty({4, 4}, meta), scale)
                 .is_meta());
}

BOOST_AUTO_TEST_SUITE_END()
