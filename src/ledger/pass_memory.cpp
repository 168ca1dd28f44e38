#include "ledger/pass_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "model/blueprint.hpp"

namespace pg::ledger {
namespace {

/// Follows model::Network, Attention, Mlp, GateUnit and ResolventMixer line by line, so that what
/// lives there lives here, as long.
class Pass {
 public:
  Pass(const PassShape& shape, Products products, bool scales_loss, Meter& meter)
      : s_(shape),
        m_(shape.model),
        blueprint_(model::Blueprint::of(shape.model, shape.gate)),
        tape_(meter),
        ops_(tape_, products, scales_loss) {
    for (const model::ParameterSpec& spec : s_.specs) shapes_[spec.name] = spec.shape;
  }

  void run() {
    const std::int64_t b = s_.sequences;
    const Memory tokens = tape_.bytes(8 * b * (2 * s_.n_targets + s_.n_encoder));
    Memory tables;
    if (m_.positions == "rope") {
      tables = tape_.floats(std::max(s_.n_targets, s_.n_encoder) * m_.head_size());
    }
    const Value loss = loss_sum();
    tape_.run_backward(loss, tape_.bytes(8));
  }

 private:
  struct Chunk {
    std::int64_t b, t;
    [[nodiscard]] std::int64_t rows() const { return b * t; }
  };

  [[nodiscard]] const std::vector<std::int64_t>& shape(const std::string& name) const {
    const auto found = shapes_.find(name);
    require(found != shapes_.end(), "a parameter of the network");
    return found->second;
  }
  [[nodiscard]] bool has(const std::string& name) const { return shapes_.contains(name); }

  Value linear(const std::string& name, const Value& x) const {
    const auto& sizes = shape(name);
    return ops_.linear(x, {sizes[0], sizes[1], has(name + "_bias"), /*is_operand=*/true});
  }
  Value norm(const std::string& name, const Value& x) const {
    return ops_.norm(x, shape(name)[0], has(name + "_bias"));
  }

  Value embedded(const Chunk& chunk) const {
    const auto& table = shape("embedding");
    const std::int64_t d = table[1];
    Value x = ops_.embedding(table[0], d, chunk.rows() * d);
    if (blueprint_.embedding_scale != 1) x = ops_.scale(x);
    if (has("positions")) x = ops_.add_positions(x, shape("positions")[0], chunk.t, d);
    if (m_.positions == "sinusoidal") x = ops_.add_constant(x);
    return ops_.dropout(x, m_.dropout);
  }

  Value relative_bias(bool encoder, const Chunk& chunk) {
    const std::string name = encoder ? "encoder_relative_bias" : "relative_bias";
    if (!has(name)) return {};
    const std::int64_t n = chunk.t * chunk.t * m_.n_heads;
    const Memory buckets = tape_.bytes(8 * chunk.t * chunk.t);  // kept for the table's gradient
    Value bias = ops_.embedding(shape(name)[0], shape(name)[1], n);
    bias = tape_.made(n, tape_.floats(n), {bias},
                      [buckets](const Memory& dy) { return std::vector<Memory>{dy}; });
    return bias;
  }

  Value attention(const std::string& name, const Value& x, const Value& memory, const Value& bias,
                  const Chunk& chunk, const Chunk& keys, bool causal) const {
    const std::int64_t inner = m_.n_heads * m_.head_size();
    const Operators::Heads heads{chunk.b,       chunk.t,        keys.t, m_.n_heads,
                                 m_.kv_heads(), m_.head_size(), causal};
    Value out;
    if (has(name + "_qkv")) {
      out = ops_.attention(linear(name + "_qkv", x), {}, bias, heads);
    } else {
      const Value q = linear(name + "_q", x);
      out = ops_.attention(q, linear(name + "_kv", memory.n > 0 ? memory : x), bias, heads);
    }
    if (s_.gate.attention && !s_.gate.is_vanilla()) {
      out = gate_unit(name, out, out, inner, s_.gate.attention_alpha, /*of_heads=*/true);
    }
    return linear(name + "_out", out);
  }

  Value gate_unit(const std::string& name, const Value& x, const Value& h, std::int64_t width,
                  double alpha, bool of_heads) const {
    const config::GateSettings& gate = s_.gate;
    const bool self = x.memory == h.memory;
    if (gate.is_vanilla()) return self ? ops_.gate(h) : ops_.gate(x, h);
    const bool tanh_of_value = !of_heads && gate.form == "upstream" && gate.unit == "pagtu";
    const Value value = tanh_of_value ? ops_.with_saved_output(x) : x;
    const bool learned = gate.policy == "learnable";
    const bool of_token = gate.policy == "entropy" || gate.policy == "confidence";
    const bool normed = has(name + "_gate_norm");
    if (!learned && !of_token && !normed) return self ? ops_.gate(h) : ops_.gate(value, h);
    const bool has_base = !of_heads && (gate.form == "anchored" ||
                                        (gate.form == "self_gate" && gate.unit == "pasilu"));
    const Value b = has_base ? ops_.gate_function(h) : Value();
    if (gate.policy == "fixed" && alpha == 0) return has_base ? ops_.multiply(value, b) : value;
    Value g = ops_.gate_function(h);
    if (normed) g = norm(name + "_gate_norm", g);
    const Value a =
        of_token ? token_alpha(h, h.n / width, gate.policy == "entropy") : tape_.leaf(1);
    return ops_.blend(value, g, b, a);
  }

  Value token_alpha(const Value& h, std::int64_t rows, bool entropy) const {
    const Value p = ops_.with_saved_output(ops_.scale(h));
    if (!entropy) return ops_.with_saved_input(ops_.scale(ops_.sum(p, rows)));
    const Value log_p = ops_.with_saved_output(ops_.scale(h));
    const Value sum = ops_.sum(ops_.scale(ops_.multiply(p, log_p)), rows);
    return ops_.with_saved_input(ops_.scale(sum));
  }

  Value mlp(const std::string& name, const Value& x, double alpha) const {
    const bool upstream = !s_.gate.is_vanilla() && s_.gate.form == "upstream";
    const bool linear_unit = has(name + "_gate");
    Value h = linear_unit && !upstream ? x : linear(name + "_up", x);
    if (has(name + "_pre_norm")) h = norm(name + "_pre_norm", h);
    Value value = h;
    if (linear_unit) {
      value = linear(name + (upstream ? "_value" : "_up"), h);
      h = linear(name + "_gate", h);
    }
    Value y = gate_unit(name, value, h, shape(name + "_down")[1], alpha, /*of_heads=*/false);
    if (has(name + "_post_norm")) y = norm(name + "_post_norm", y);
    return linear(name + "_down", y);
  }

  /// The tokens are taken to be spread evenly over the experts.
  Value experts(const std::string& name, const Value& x, std::int64_t rows, double alpha) const {
    const Value logits = linear(name + "router", x);
    const Memory orders = tape_.bytes(4 * 8 * rows);  // chosen, sorted, order, inverse
    const auto each = [&](const Value& sorted, const char* which) {
      std::vector<Value> pieces;
      for (std::int64_t e = 0; e < m_.n_experts; ++e) {
        const std::int64_t from = rows * e / m_.n_experts;
        const std::int64_t share = rows * (e + 1) / m_.n_experts - from;
        pieces.push_back(linear(name + fmt::format("experts.{}.{}", e, which),
                                ops_.narrow(sorted, sorted.n / rows * share)));
      }
      return ops_.concatenated(pieces);
    };
    Value h = each(ops_.select_rows(x), "up");
    h = gate_unit(name + "experts", h, h, h.n / rows, alpha, /*of_heads=*/false);
    if (m_.dropout > 0) h = ops_.select_rows(ops_.dropout(ops_.select_rows(h), m_.dropout));
    Value y = ops_.select_rows(each(h, "down"));
    if (m_.router != "probability") return y;
    const Value chance = ops_.sum(ops_.with_saved_output(logits), rows);
    return ops_.multiply(y, chance);
  }

  Value mixer(const std::string& name, const Value& x, double alpha) const {
    const std::int64_t rows = x.n / m_.d_model;
    const Value y = experts(name, x, rows, alpha);
    const Value v = ops_.with_saved_input(linear(name + "potential", y));
    const Value g = ops_.with_saved_input(ops_.resolvent(v, m_.causal));
    return ops_.add(y, ops_.multiply(tape_.leaf(1), linear(name + "features", g)));
  }

  Value through(bool encoder, std::int64_t layer, const Value& x_input, const Value& memory,
                const Value& bias, const Chunk& chunk, const Chunk& keys) const {
    const std::string name = fmt::format("{}.{}.", encoder ? "encoder" : "blocks", layer);
    const auto added = [&](const Value& x, const std::string& norm_name, const auto& branch) {
      if (!blueprint_.norm_first) {
        return norm(norm_name, ops_.add(x, ops_.dropout(branch(x), m_.dropout)));
      }
      return ops_.add(x, ops_.dropout(branch(norm(norm_name, x)), m_.dropout));
    };
    if (m_.arch == "resnet_bk") {
      return ops_.add(x_input, mixer(name, norm(name + "norm", x_input), s_.gate.alpha));
    }
    Value x = added(x_input, name + "attention_norm", [&](const Value& in) {
      return attention(name + "attention", in, {}, bias, chunk, chunk, !encoder && m_.causal);
    });
    if (!encoder && m_.has_encoder()) {
      x = added(x, name + "cross_norm", [&](const Value& in) {
        return attention(name + "cross", in, memory, {}, chunk, keys, /*causal=*/false);
      });
    }
    return added(x, name + "mlp_norm",
                 [&](const Value& in) { return mlp(name + "mlp", in, s_.gate.alpha); });
  }

  /// model::recompute.
  template <typename Piece>
  Value recomputed(const Piece& piece, const Value& x, const Value& memory, const Value& bias) {
    tape_.set_graph(false);
    Value y = piece(x, memory, bias);
    tape_.set_graph(true);
    // What is kept has no graph: the inputs' memory.
    const auto kept = [](const Value& value) { return Value{value.n, value.memory, nullptr}; };
    return tape_.made(
        y.n, y.memory, {x, memory, bias},
        [this, piece, x = kept(x), memory = kept(memory), bias = kept(bias)](const Memory& dy) {
          std::vector<Memory> gradients;
          std::vector<std::shared_ptr<Memory>> slots;
          const auto input = [&](const Value& value) {
            slots.push_back(std::make_shared<Memory>());
            return value.n > 0 ? tape_.input(value, slots.back()) : Value();
          };
          const Value x_in = input(x);
          const Value memory_in = input(memory);
          const Value bias_in = input(bias);
          tape_.run_backward(piece(x_in, memory_in, bias_in), dy);
          for (const auto& slot : slots) gradients.push_back(*slot);
          return gradients;
        });
  }

  Value stack(bool encoder, Value x, const Value& memory, const Chunk& chunk, const Chunk& keys) {
    const Value bias = relative_bias(encoder, chunk);
    for (std::int64_t layer = 0; layer < m_.n_layers; ++layer) {
      const auto piece = [this, encoder, layer, chunk, keys](const Value& in, const Value& seen,
                                                             const Value& added) {
        return through(encoder, layer, in, seen, added, chunk, keys);
      };
      x = m_.activation_checkpointing ? recomputed(piece, x, memory, bias) : piece(x, memory, bias);
    }
    return x;
  }

  Value hidden() {
    const Chunk targets{s_.sequences, s_.n_targets};
    const Chunk sources{s_.sequences, s_.n_encoder};
    Value memory;
    if (m_.has_encoder()) {
      memory = stack(/*encoder=*/true, embedded(sources), {}, sources, sources);
      if (has("encoder_norm")) memory = norm("encoder_norm", memory);
    }
    return stack(/*encoder=*/false, embedded(targets), memory, targets, sources);
  }

  Value loss_sum() {
    Value x = hidden();
    if (has("final_norm")) x = norm("final_norm", x);
    if (blueprint_.output_scale != 1) x = ops_.scale(x);
    const auto& head = shape(has("head") ? "head" : "embedding");
    const Use before = tape_.use();
    tape_.set_use(Use::logits);
    Value loss = ops_.loss(x, {head[0], head[1], has("head_bias")});
    tape_.set_use(before);
    return loss;
  }

  const PassShape& s_;
  const config::ModelSettings& m_;
  model::Blueprint blueprint_;
  Tape tape_;
  Operators ops_;
  std::map<std::string, std::vector<std::int64_t>> shapes_;
};

}  // namespace

BytesByUse pass_memory(const PassShape& shape, Products products, bool scales_loss) {
  Meter meter;
  Pass(shape, products, scales_loss, meter).run();
  return meter.fullest();
}

}  // namespace pg::ledger
