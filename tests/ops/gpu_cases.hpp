// What the operators of a GPU are held to: on one (tests/ops/test_gpu_ops.cpp) and, as far as their
// kernels are the project's own, on the host (tests/ops/cuda_on_host).
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ops/ops.hpp"
#include "ops/reference.hpp"
#include "ops/rounded.hpp"
#include "ops/tensors.hpp"

namespace pg::testing {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// An operator, the same in plain ATen, and numbers for both.
struct OperatorCase {
  std::string name;
  Operator op;
  Operator truth;
  Tensors inputs;
  double limit = 1e-6;  ///< relative error of value and gradients in float32
};

/// What every device's operators are called by. Ops has static functions of the names of pg::ops.
template <class Ops>
class OperatorCases {
 public:
  static std::vector<OperatorCase> all() {
    std::vector<OperatorCase> cases;
    gates(cases);
    norms(cases);
    dropouts(cases);
    losses(cases);
    resolvents(cases);
    return cases;
  }

 private:
  using Cases = std::vector<OperatorCase>;

  static void gates(Cases& cases) {
    const at::Tensor h = 3 * normal({5, 131});
    const at::Tensor x = normal({5, 131}, 2);
    for (const auto& spec : all_gates()) {
      cases.push_back({"self gate, " + describe(spec),
                       [=](const Tensors& in) { return Ops::gate(in[0], spec); },
                       [=](const Tensors& in) { return ops::reference::gate(in[0], spec); },
                       {h}});
      cases.push_back({"linear unit, " + describe(spec),
                       [=](const Tensors& in) { return Ops::gate(in[0], in[1], spec); },
                       [=](const Tensors& in) { return ops::reference::gate(in[0], in[1], spec); },
                       {x, h}});
    }
    // Views whose elements do not stand one after the other.
    cases.push_back(
        {"gate of a transposed view",
         [](const Tensors& in) { return Ops::gate(in[0].t(), in[1].t(), {}); },
         [](const Tensors& in) { return ops::reference::gate(in[0].t(), in[1].t(), {}); },
         {x, h}});
  }

  static void norms(Cases& cases) {
    for (const auto& [rows, d] : std::vector<std::array<std::int64_t, 2>>{
             {1, 5}, {3, 7}, {5, 16}, {65, 64}, {64, 257}, {130, 33}, {3, 1000}}) {
      const std::string size = std::to_string(rows) + " x " + std::to_string(d);
      const Tensors inputs = {normal({rows, d}) + 0.5, normal({d}, 2), normal({d}, 3)};
      cases.push_back(
          {"rms_norm " + size,
           [](const Tensors& in) { return Ops::rms_norm(in[0], in[1], 1e-6); },
           [](const Tensors& in) { return ops::reference::rms_norm(in[0], in[1], 1e-6); },
           {inputs[0], inputs[1]}});
      cases.push_back(
          {"layer_norm " + size,
           [](const Tensors& in) { return Ops::layer_norm(in[0], in[1], in[2], 1e-5); },
           [](const Tensors& in) { return ops::reference::layer_norm(in[0], in[1], in[2], 1e-5); },
           inputs});
    }
  }

  static void dropouts(Cases& cases) {
    for (const std::int64_t width : {1, 2, 3, 5, 31, 256, 1025}) {
      for (const std::int64_t first_slot : {0L, 1L, 3L, 1L << 32}) {
        const ops::DropoutSite site{0.25, 3, 1ULL << 33, 5, first_slot};
        cases.push_back(
            {"dropout " + std::to_string(width) + " from slot " + std::to_string(first_slot),
             [=](const Tensors& in) { return Ops::dropout(in[0], site); },
             [=](const Tensors& in) { return ops::reference::dropout(in[0], site); },
             {normal({3, width})}});
      }
    }
  }

  static void losses(Cases& cases) {
    for (const auto& [n, v] :
         std::vector<std::array<std::int64_t, 2>>{{1, 1}, {2, 3}, {33, 65}, {5, 257}, {3, 5003}}) {
      const at::Tensor targets = at::arange(n, at::kLong).mul(7).remainder(v);
      for (const double smoothing : {0.0, 0.1}) {
        const std::string name = std::to_string(n) + " x " + std::to_string(v) + ", smoothing " +
                                 std::to_string(smoothing);
        const auto loss = [=](auto function) {
          return [=](const Tensors& in) {
            return function(in[0], targets.to(in[0].device()), smoothing);
          };
        };
        if (v == 1) continue;  // a certainty
        cases.push_back(
            {"cross_entropy_sum " + name,
             loss([](auto&&... all) { return Ops::cross_entropy_sum(all...); }),
             loss([](auto&&... all) { return ops::reference::cross_entropy_sum(all...); }),
             {4 * normal({n, v})}});
      }
    }
  }

  static void resolvents(Cases& cases) {
    using ops::ResolventGradient;
    struct Form {
      const char* name;
      bool causal;
      ResolventGradient gradient;
    };
    for (const Form& form : {Form{"causal", true, ResolventGradient::exact},
                             Form{"bidirectional", false, ResolventGradient::exact},
                             Form{"upstream hybrid", false, ResolventGradient::upstream_hybrid}}) {
      for (const std::int64_t t : {1, 2, 31, 257}) {
        cases.push_back(
            {std::string("resolvent, ") + form.name + ", t " + std::to_string(t),
             [=](const Tensors& in) { return Ops::resolvent(in[0], form.causal, form.gradient); },
             [=](const Tensors& in) {
               return ops::reference::resolvent(in[0], form.causal, form.gradient);
             },
             {(3 * normal({5, t})).clamp(-3, 3)},
             1e-5});
      }
    }
  }
};

/// One attention: shapes, masks and what else a kernel may or may not take.
struct AttentionCase {
  std::int64_t t, u, n_heads, n_kv_heads, d_head;
  bool causal = false;
  bool rope = false;
  bool bias = false;
  double scale = 0;  ///< 0: the usual one
  double dropout = 0;

  [[nodiscard]] std::string name() const {
    const auto number = [](std::int64_t value) { return std::to_string(value); };
    return "attention " + number(t) + " x " + number(u) + ", " + number(n_heads) + " on " +
           number(n_kv_heads) + " heads of " + number(d_head) + (causal ? ", causal" : "") +
           (rope ? ", rope" : "") + (bias ? ", bias" : "") + (scale > 0 ? ", scaled" : "") +
           (dropout > 0 ? ", dropout" : "");
  }

  [[nodiscard]] Tensors inputs() const {
    constexpr std::int64_t kSequences = 3;
    Tensors result = {normal({kSequences, t, n_heads * d_head}, 1),
                      normal({kSequences, u, n_kv_heads * d_head}, 2),
                      normal({kSequences, u, n_kv_heads * d_head}, 3)};
    if (bias) result.push_back(normal({n_heads, t, u}, 4));
    return result;
  }

  [[nodiscard]] ops::AttentionSpec spec(const Tensors& in, ops::Precision precision) const {
    ops::AttentionSpec result;
    result.n_heads = n_heads;
    result.n_kv_heads = n_kv_heads;
    result.causal = causal;
    if (scale > 0) result.scale = scale;
    if (rope) {
      const ops::Rope tables = ops::make_rope(std::max(t, u) + 3, d_head, 1e4, at::kDouble);
      result.rope = {tables.cos.to(in[0].options()), tables.sin.to(in[0].options())};
    }
    if (bias) result.bias_htu = in[3];
    result.dropout.p = dropout;
    result.precision = precision;
    return result;
  }

  template <class Attention>
  [[nodiscard]] OperatorCase with(const Attention& attention, ops::Precision precision) const {
    return {name(),
            [=, *this](const Tensors& in) {
              return attention(in[0], in[1], in[2], spec(in, precision));
            },
            [*this](const Tensors& in) {
              return ops::reference::attention(in[0], in[1], in[2],
                                               spec(in, ops::Precision::float32));
            },
            inputs(), 3e-6};
  }
};

inline std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> cases;
  for (const std::int64_t t : {1, 2, 31, 257}) {
    cases.push_back({t, t, 3, 3, 16, true, true});
    cases.push_back({t, t, 2, 2, 64, false});
    cases.push_back({t, 7, 2, 2, 32, false});
    cases.push_back({t, t, 4, 2, 32, true, true});
    cases.push_back({t, t, 2, 2, 16, true, false, true, 1});
    cases.push_back({t, 19, 2, 1, 16, false, false, true, 1});
    cases.push_back({t, t, 2, 2, 16, true, false, false, 0, 0.2});
  }
  for (const std::int64_t d_head : {2, 6, 12, 16, 24, 48, 64, 80, 128}) {
    cases.push_back({33, 33, 2, 2, d_head, true, true});
  }
  return cases;
}

/// Every attention in half precision, as far as it has more than one key: with one its probability
/// is 1, q and k have no gradient, and what is found in its place is rounding alone.
template <class Attention>
std::vector<OperatorCase> half_precision_cases(const Attention& attention,
                                               ops::Precision precision) {
  const double unit = precision == ops::Precision::bfloat16 ? 0x1p-7 : 0x1p-10;
  std::vector<OperatorCase> cases;
  for (const AttentionCase& one : attention_cases()) {
    if (one.t == 1 || one.u == 1) continue;
    cases.push_back(one.with(attention, precision));
    cases.back().limit = 2 * unit;
  }
  return cases;
}

/// Products in half precision, of rows that begin at multiples of 16 bytes and of others. A
/// gradient that lies between two numbers may be rounded to either: hence the limit.
template <class Linear>
std::vector<OperatorCase> half_linear_cases(const Linear& linear, ops::Precision precision) {
  const auto type = ops::scalar_type(precision);
  std::vector<OperatorCase> cases;
  for (const auto& [rows, n_in, n_out] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {1, 7, 3}, {5, 1, 9}, {33, 65, 11}, {64, 128, 32}, {257, 24, 50}}) {
    for (const bool biased : {false, true}) {
      Tensors inputs = {normal({rows, n_in}), normal({n_out, n_in}, 2)};
      if (biased) inputs.push_back(normal({n_out}, 3));
      const auto bias = [](const Tensors& in) {
        return in.size() > 2 ? std::optional(in[2]) : std::nullopt;
      };
      cases.push_back(
          {"linear " + std::to_string(rows) + " x " + std::to_string(n_in) + " to " +
               std::to_string(n_out) + (biased ? ", bias" : ""),
           [=](const Tensors& in) { return linear(in[0], in[1], bias(in), precision); },
           [=](const Tensors& in) { return linear_of_rounded(in[0], in[1], bias(in), type); },
           inputs, 2e-4});
    }
  }
  return cases;
}

/// The float32 result on `device` against the truth in double on the CPU, and twice the same bits.
inline void check_case(const OperatorCase& one, at::Device device) {
  const at::Tensor weight = normal(one.truth(one.inputs).sizes(), 77);
  const auto run = [&] {
    return value_and_gradients(one.op, one.inputs, weight, at::kFloat, device);
  };
  const Tensors found = run();
  Tensors expected = value_and_gradients(one.truth, one.inputs, weight, at::kDouble);
  const Tensors again = run();
  for (std::size_t i = 1; i < expected.size(); ++i) {  // of what the reference does not depend on
    if (!expected[i].defined()) expected[i] = at::zeros_like(one.inputs[i - 1]);
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = relative_error(found[i], expected[i]);
    BOOST_TEST(error < one.limit, one.name
                                      << (i == 0 ? ": value" : ": gradient " + std::to_string(i))
                                      << " off by " << error);
    BOOST_TEST(same_bits(again[i], found[i]), one.name << ": other bits the second time");
  }
}

/// That add(values on the device, sum) adds the squares exactly, of numbers of every size.
template <class Add>
void check_squares(const Add& add, at::Device device) {
  const auto sum_of = [&](const at::Tensor& values) {
    ExactSum sum;
    sum.add(1.25);  // what is there stays
    add(values.to(device), sum);
    return sum;
  };
  const auto expected_of = [](const at::Tensor& values) {
    ExactSum sum;
    sum.add(1.25);
    ops::reference::add_squares(values, sum);
    return sum;
  };
  const at::Tensor numbers = normal({70'001}).to(at::kFloat);
  const at::Tensor sizes = at::exp2(40 * normal({70'001}, 2)).to(at::kFloat);
  const at::Tensor subnormal = at::full({70'001}, std::ldexp(3.0, -149), at::kFloat);
  for (const at::Tensor& values : {numbers, (numbers * sizes).clamp(-1e38, 1e38), subnormal}) {
    for (const std::int64_t n : {0, 1, 255, 16'384, 16'385, 70'001}) {
      const at::Tensor some = values.narrow(0, 0, n);
      BOOST_TEST(sum_of(some).words() == expected_of(some).words(),
                 boost::test_tools::per_element());
    }
  }
  const at::Tensor all_alike = at::full({70'001}, std::nextafter(2.0F, 1.0F));
  BOOST_TEST(sum_of(all_alike).words() == expected_of(all_alike).words(),
             boost::test_tools::per_element());
  for (const float special : {kInfinity, -kInfinity, kNan}) {
    at::Tensor values = numbers.clone();
    values[17] = special;
    values[69'999] = special;
    const double found = sum_of(values).value();
    BOOST_TEST((std::isnan(special) ? std::isnan(found) : found == kInfinity));
  }
}

}  // namespace pg::testing
