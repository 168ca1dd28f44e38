#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ledger/tape.hpp"

namespace pg::ledger {

/// How matrix products run, which decides what they keep.
enum class Products {
  cpu_float32,     ///< keep the input
  cpu_bfloat16,    ///< keep the input in half its size
  cpu_rounded,     ///< keep input and weights, rounded, as float32
  device_float32,  ///< keep the input
  device_half,     ///< keep the input in half its size
};

/// The memory of ops' operators (src/ops; on a GPU src/ops/cuda), one for one: what each allocates,
/// what its autograd function keeps for the backward pass, and what that allocates. Sizes are in
/// elements.
class Operators {
 public:
  /// `scales_loss`: as float16 wants it (ops::linear_cross_entropy_sum).
  Operators(Tape& tape, Products products, bool scales_loss)
      : tape_(tape), products_(products), scales_loss_(scales_loss) {}

  struct Matrix {
    std::int64_t n_out;
    std::int64_t n_in;
    bool biased = false;
    bool is_operand = false;  ///< comes rounded (model::Parameters::operand)
  };
  Value linear(const Value& x, const Matrix& matrix) const;
  Value norm(const Value& x, std::int64_t width, bool is_layer) const;
  Value gate(const Value& h) const;
  Value gate(const Value& x, const Value& h) const;
  Value gate_function(const Value& h) const;  ///< ops::gate_function
  /// ops::blend; `b` may be empty.
  Value blend(const Value& x, const Value& g, const Value& b, const Value& alpha) const;

  // What ATen does.
  Value add(const Value& a, const Value& b) const;
  Value add_constant(const Value& a) const;  ///< of b's shape, without a gradient
  Value scale(const Value& x) const;         ///< by a number
  Value multiply(const Value& a, const Value& b) const;
  Value with_saved_output(const Value& x) const;  ///< softmax, sigmoid, tanh
  Value with_saved_input(const Value& x) const;   ///< clamp
  Value sum(const Value& x, std::int64_t n) const;
  Value narrow(const Value& x, std::int64_t n) const;  ///< a view; its gradient has the whole size
  Value select_rows(const Value& x) const;             ///< index_select by a permutation
  Value concatenated(const std::vector<Value>& parts) const;
  Value dropout(const Value& x, double p) const;

  /// Rows of a table (n_rows, width) at n / width places.
  Value embedding(std::int64_t n_rows, std::int64_t width, std::int64_t n) const;
  /// Adds a table (n_rows, width) whose first t rows every sequence gets.
  Value add_positions(const Value& x, std::int64_t n_rows, std::int64_t t,
                      std::int64_t width) const;

  struct Heads {
    std::int64_t b, t, u;
    std::int64_t n_heads, n_kv_heads, d_head;
    bool causal = false;
  };
  /// ops::attention; `q` is all of q, k and v where kv is empty, and `bias` may be empty.
  Value attention(const Value& q, const Value& kv, const Value& bias, const Heads& heads) const;
  Value resolvent(const Value& v, bool causal) const;

  /// ops::linear_cross_entropy_sum over the head (v, d).
  Value loss(const Value& x, const Matrix& head) const;

 private:
  [[nodiscard]] Value flash_attention(const std::vector<Value>& inputs, const Heads& heads) const;
  [[nodiscard]] Value cross_entropy(const Value& logits, std::int64_t n_rows) const;
  /// To half precision, and there and back; gradients go the other way.
  [[nodiscard]] Value to_half(const Value& x) const;
  [[nodiscard]] Value rounded(const Value& x) const;
  [[nodiscard]] bool on_device() const {
    return products_ == Products::device_half || products_ == Products::device_float32;
  }

  Tape& tape_;
  Products products_;
  bool scales_loss_;
};

}  // namespace pg::ledger
