#include "ledger/operators.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.hpp"
#include "ops/attention_kernel.hpp"
#include "ops/loss_pieces.hpp"

namespace pg::ledger {
namespace {

using Gradients = std::vector<Memory>;

}  // namespace

Value Operators::linear(const Value& x, const Matrix& m) const {
  const std::int64_t rows = x.n / m.n_in;
  const std::int64_t n_out = rows * m.n_out;
  const std::int64_t n_weights = m.n_out * m.n_in;
  const std::int64_t n_x = x.n;
  const Tape& tape = tape_;
  switch (products_) {
    case Products::cpu_float32:
    case Products::device_float32: {
      Memory y = tape.floats(n_out);
      if (on_device() && m.biased) {
        const Memory product = y;
        y = tape.floats(n_out);
      }
      return tape_.made(n_out, y, {x}, [&tape, n_x, n_weights, kept = x.memory](const Memory&) {
        Memory dx = tape.floats(n_x);
        const Memory dw = tape.floats(n_weights);
        return Gradients{dx};
      });
    }
    case Products::cpu_bfloat16: {
      const Memory x_half = tape.bytes(kHalf * n_x);
      Memory y;
      {
        const Memory w_half = tape.bytes(m.is_operand ? 0 : kHalf * n_weights);
        y = tape.floats(n_out);
      }
      return tape_.made(n_out, y, {x},
                        [&tape, m, n_x, n_weights, n_out, kept = x_half](const Memory&) {
                          Memory dy_half = tape.bytes(kHalf * n_out);
                          Memory dx;
                          {
                            const Memory w_half = tape.bytes(m.is_operand ? 0 : kHalf * n_weights);
                            dx = tape.floats(n_x);
                          }
                          const Memory dw_half = tape.bytes(kHalf * n_weights);
                          if (m.is_operand) dy_half.reset();  // the rest is what ops::stand_in does
                          const Memory dw = tape.floats(n_weights);
                          return Gradients{dx};
                        });
    }
    case Products::cpu_rounded: {
      const auto through_half = [&tape](std::int64_t n) {
        const Memory half = tape.bytes(kHalf * n);
        return tape.floats(n);
      };
      Memory w_rounded = m.is_operand ? tape.floats(n_weights) : through_half(n_weights);
      Memory x_rounded = through_half(n_x);
      const Value y = tape_.made(n_out, tape.floats(n_out), {x},
                                 [&tape, n_x, n_weights, x_kept = std::move(x_rounded),
                                  w_kept = std::move(w_rounded)](const Memory&) mutable {
                                   Memory dx = tape.floats(n_x);
                                   Memory dw = tape.floats(n_weights);
                                   x_kept.reset();  // the rest is another node of the graph
                                   w_kept.reset();
                                   const Memory dw_half = tape.bytes(kHalf * n_weights);
                                   dw.reset();
                                   dw = tape.floats(n_weights);
                                   return Gradients{dx};
                                 });
      const Value half = to_half(y);
      return tape_.made(n_out, y.memory, {half}, [&tape, n_out](const Memory&) {
        return Gradients{tape.bytes(kHalf * n_out)};
      });
    }
    case Products::device_half: {
      const Memory x_half = tape.bytes(kHalf * n_x);
      Memory y;
      {
        const Memory w_half = tape.bytes(m.is_operand ? 0 : kHalf * n_weights);
        y = tape.floats(n_out);
      }
      return tape_.made(n_out, y, {x},
                        [&tape, m, n_x, n_weights, n_out, kept = x_half](const Memory&) {
                          Memory dy_half = tape.bytes(kHalf * n_out);
                          Memory dx = tape.floats(n_x);
                          {
                            const Memory w_half = tape.bytes(m.is_operand ? 0 : kHalf * n_weights);
                          }
                          const Memory dw_half = tape.bytes(m.is_operand ? kHalf * n_weights : 0);
                          if (m.is_operand) dy_half.reset();  // the rest is what ops::stand_in does
                          const Memory dw = tape.floats(n_weights);
                          return Gradients{dx};
                        });
    }
  }
  throw InternalError({"an unknown kind of products", "", ""});
}

Value Operators::norm(const Value& x, std::int64_t width, bool is_layer) const {
  Memory y = tape_.floats(x.n);
  const Memory rows = tape_.floats(x.n / width * (is_layer ? 2 : 1));
  return tape_.made(x.n, y, {x}, [this, n = x.n, kept = x.memory, rows](const Memory&) {
    return Gradients{tape_.floats(n)};
  });
}

Value Operators::gate(const Value& h) const {
  Memory y = tape_.floats(h.n);
  return tape_.made(h.n, y, {h}, [this, n = h.n, kept = h.memory](const Memory&) {
    return Gradients{tape_.floats(n)};
  });
}

Value Operators::gate(const Value& x, const Value& h) const {
  Memory y = tape_.floats(h.n);
  return tape_.made(h.n, y, {x, h},
                    [this, n = h.n, kept_x = x.memory, kept_h = h.memory](const Memory&) {
                      Memory dx = tape_.floats(n);
                      return Gradients{dx, tape_.floats(n)};
                    });
}

Value Operators::gate_function(const Value& h) const {
  const Value ones{h.n, tape_.floats(h.n), nullptr};
  return gate(ones, h);
}

Value Operators::blend(const Value& x, const Value& g, const Value& b, const Value& alpha) const {
  const bool has_b = b.n > 0;
  if (on_device()) {
    const Value rest = scale(alpha);
    return multiply(x, add(multiply(alpha, g), has_b ? multiply(rest, b) : rest));
  }
  std::vector<Value> inputs = {x, g};
  if (has_b) inputs.push_back(b);
  inputs.push_back(alpha);
  std::vector<Memory> kept;
  for (const Value& input : inputs) kept.push_back(input.memory);
  const std::int64_t n = x.n;
  return tape_.made(n, tape_.floats(n), inputs, [this, n, kept, n_alpha = alpha.n](const Memory&) {
    Gradients gradients;
    for (std::size_t i = 0; i + 1 < kept.size(); ++i) {
      gradients.push_back(tape_.floats(n));
    }
    gradients.push_back(tape_.floats(n_alpha));
    return gradients;
  });
}

Value Operators::add(const Value& a, const Value& b) const {
  const std::int64_t n = std::max(a.n, b.n);
  return tape_.made(n, tape_.floats(n), {a, b}, [this, n_a = a.n, n_b = b.n](const Memory& dy) {
    const auto part = [&](std::int64_t size) {  // what was broadcast is summed
      return kFloat * size == dy->bytes() ? dy : tape_.floats(size);
    };
    Memory da = part(n_a);
    return Gradients{da, part(n_b)};
  });
}

Value Operators::add_constant(const Value& a) const {
  return tape_.made(a.n, tape_.floats(a.n), {a}, [](const Memory& dy) { return Gradients{dy}; });
}

Value Operators::scale(const Value& x) const {
  return tape_.made(x.n, tape_.floats(x.n), {x},
                    [this, n = x.n](const Memory&) { return Gradients{tape_.floats(n)}; });
}

Value Operators::multiply(const Value& a, const Value& b) const {
  const std::int64_t n = std::max(a.n, b.n);
  return tape_.made(
      n, tape_.floats(n), {a, b},
      [this, n, n_a = a.n, n_b = b.n, kept_a = a.memory, kept_b = b.memory](const Memory&) {
        const auto part = [&](std::int64_t size) {
          Memory product = tape_.floats(n);
          return size == n ? product : tape_.floats(size);
        };
        Memory da = part(n_a);
        return Gradients{da, part(n_b)};
      });
}

Value Operators::with_saved_output(const Value& x) const {
  const Memory y = tape_.floats(x.n);
  return tape_.made(x.n, y, {x},
                    [this, n = x.n, y](const Memory&) { return Gradients{tape_.floats(n)}; });
}

Value Operators::with_saved_input(const Value& x) const {
  return tape_.made(x.n, tape_.floats(x.n), {x}, [this, n = x.n, kept = x.memory](const Memory&) {
    return Gradients{tape_.floats(n)};
  });
}

Value Operators::sum(const Value& x, std::int64_t n) const {
  return tape_.made(n, tape_.floats(n), {x},
                    [](const Memory& dy) { return Gradients{dy}; });  // an expanded view
}

Value Operators::narrow(const Value& x, std::int64_t n) const {
  return tape_.made(n, x.memory, {x},
                    [this, whole = x.n](const Memory&) { return Gradients{tape_.floats(whole)}; });
}

Value Operators::select_rows(const Value& x) const {
  return scale(x);  // nothing is kept but the order, and the gradient is a tensor of its own
}

Value Operators::concatenated(const std::vector<Value>& parts) const {
  std::int64_t n = 0;
  for (const Value& part : parts) n += part.n;
  return tape_.made(n, tape_.floats(n), parts, [n_parts = parts.size()](const Memory& dy) {
    return Gradients(n_parts, dy);  // views
  });
}

Value Operators::dropout(const Value& x, double p) const {
  return p == 0 ? x : scale(x);  // what is dropped is drawn again
}

Value Operators::embedding(std::int64_t n_rows, std::int64_t width, std::int64_t n) const {
  // The gradient of the rows that occur alone (model/network.cpp).
  const bool sparse = !on_device() && n_rows > n / width;
  return tape_.made(n, tape_.floats(n), {}, [this, n_rows, width, sparse](const Memory&) {
    const Memory table = tape_.floats(sparse ? 0 : n_rows * width);
    return Gradients();
  });
}

Value Operators::add_positions(const Value& x, std::int64_t n_rows, std::int64_t t,
                               std::int64_t width) const {
  return tape_.made(x.n, tape_.floats(x.n), {x}, [this, n_rows, t, width](const Memory& dy) {
    const Memory of_rows = tape_.floats(t * width);
    const Memory table = tape_.floats(n_rows * width);
    return Gradients{dy};
  });
}

Value Operators::attention(const Value& q, const Value& kv, const Value& bias,
                           const Heads& h) const {
  std::vector<Value> inputs = {q};
  for (const Value* more : {&kv, &bias}) {
    if (more->n > 0) inputs.push_back(*more);
  }
  if (products_ == Products::device_half) return flash_attention(inputs, h);
  const ops::AttentionShape shape{.t = h.t,
                                  .u = h.u,
                                  .d_head = h.d_head,
                                  .n_heads = h.n_heads / h.n_kv_heads,
                                  .causal = h.causal};
  const std::int64_t n = h.b * h.t * h.n_heads * h.d_head;
  const Memory out = tape_.floats(n);
  const Memory statistics = tape_.floats(2 * h.b * h.n_heads * h.t);
  { const Memory workspace = tape_.floats(ops::attention_workspace(shape)); }
  std::vector<Memory> kept = {out, statistics};
  std::vector<std::int64_t> sizes;
  for (const Value& input : inputs) {
    kept.push_back(input.memory);
    sizes.push_back(input.n);
  }
  return tape_.made(n, out, inputs, [this, shape, kept, sizes](const Memory&) {
    Gradients gradients;
    for (const std::int64_t size : sizes) gradients.push_back(tape_.floats(size));
    const Memory workspace = tape_.floats(ops::attention_backward_workspace(shape));
    return gradients;
  });
}

/// Inputs and output are kept in half precision, and so are their gradients before they are
/// widened. Attention that takes another kernel than flash is taken to need as much.
Value Operators::flash_attention(const std::vector<Value>& inputs, const Heads& h) const {
  const std::int64_t n = h.b * h.t * h.n_heads * h.d_head;
  std::vector<Memory> kept = {tape_.floats(h.b * h.n_heads * h.t)};
  std::vector<std::int64_t> sizes;
  for (const Value& input : inputs) {
    kept.push_back(tape_.bytes(kHalf * input.n));
    sizes.push_back(input.n);
  }
  kept.push_back(tape_.bytes(kHalf * n));
  return tape_.made(n, tape_.floats(n), inputs, [this, n, kept, sizes](const Memory&) {
    const Memory dout_half = tape_.bytes(kHalf * n);
    std::vector<Memory> halves;
    for (const std::int64_t size : sizes) halves.push_back(tape_.bytes(kHalf * size));
    { const Memory dq_sums = tape_.floats(n); }
    Gradients gradients;
    for (const std::int64_t size : sizes) gradients.push_back(tape_.floats(size));
    return gradients;
  });
}

Value Operators::resolvent(const Value& v, bool causal) const {
  const Memory g = tape_.floats(2 * v.n);
  const Memory others = tape_.floats(causal ? 0 : 4 * v.n);
  return tape_.made(2 * v.n, g, {v}, [this, n = v.n, g, others](const Memory&) {
    return Gradients{tape_.floats(n)};
  });
}

Value Operators::cross_entropy(const Value& logits, std::int64_t n_rows) const {
  const Memory rows = tape_.floats(2 * n_rows);
  return tape_.made(1, tape_.bytes(kDouble), {logits},
                    [this, n = logits.n, kept = logits.memory, rows](const Memory&) {
                      return Gradients{tape_.floats(n)};
                    });
}

Value Operators::to_half(const Value& x) const {
  return tape_.made(x.n, tape_.bytes(kHalf * x.n), {x},
                    [this, n = x.n](const Memory&) { return Gradients{tape_.floats(n)}; });
}

Value Operators::rounded(const Value& x) const {
  const Value half = to_half(x);
  return tape_.made(x.n, tape_.floats(x.n), {half},
                    [this, n = x.n](const Memory&) { return Gradients{tape_.bytes(kHalf * n)}; });
}

Value Operators::loss(const Value& x, const Matrix& head) const {
  const std::int64_t rows = x.n / head.n_in;
  const std::int64_t piece = std::min(rows, ops::rows_of_piece(head.n_out));
  if (scales_loss_ && rows == piece) return cross_entropy(linear(x, head), rows);

  const std::int64_t n_weights = head.n_out * head.n_in;
  const bool graph = tape_.graph();
  Memory dx;
  Memory dw;
  if (graph) dx = tape_.floats(x.n);
  if (graph) dw = tape_.floats(n_weights);
  if (products_ == Products::cpu_rounded || (on_device() && scales_loss_)) {
    // Each piece has a graph of its own.
    const auto ignored = std::make_shared<Memory>();
    const Value part = graph ? tape_.input({piece * head.n_in, x.memory, nullptr}, ignored)
                             : Value{piece * head.n_in, x.memory, nullptr};
    Value logits = linear(part, head);
    if (!on_device()) logits = rounded(logits);
    const Value sum = cross_entropy(logits, piece);
    if (graph) tape_.run_backward(sum, tape_.bytes(kDouble));
  } else {
    const bool half = products_ == Products::cpu_bfloat16 || products_ == Products::device_half;
    const std::int64_t size = half ? kHalf : kFloat;
    const std::int64_t n_logits = piece * ops::logits_stride(head.n_out);
    const Memory x_half = tape_.bytes(half ? kHalf * piece * head.n_in : 0);
    if (on_device()) {
      const Memory w_padded = tape_.bytes(size * ops::logits_stride(head.n_out) * head.n_in);
      const Memory logits = tape_.floats(n_logits);
      const Memory gradient = tape_.bytes(half && graph ? kHalf * n_logits : 0);
    } else {
      const Memory w_half = tape_.bytes(half ? kHalf * n_weights : 0);
      const Memory logits = tape_.bytes(size * n_logits);
      const Memory part = tape_.floats(half && graph ? piece * head.n_in : 0);
    }
  }
  return tape_.made(1, tape_.bytes(kDouble), {x},
                    [dx, dw](const Memory&) { return Gradients{dx}; });
}

}  // namespace pg::ledger
