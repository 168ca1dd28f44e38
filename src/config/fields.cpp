#include "config/fields.hpp"

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <type_traits>

#include "base/text.hpp"

namespace pg::config {
namespace {

std::string shown(const YAML::Node& node) {
  if (node.IsNull()) return "nothing";
  if (node.IsScalar()) return "'" + node.Scalar() + "'";
  return node.IsSequence() ? "a list" : "a group of settings";
}

std::string expected_instead(const YAML::Node& node, const std::string& expected) {
  return fmt::format("found {}, expected {}", shown(node), expected);
}

struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool open_low = false;  // the lower end itself is excluded
  bool open_high = false;

  [[nodiscard]] bool holds(double value) const {
    return (open_low ? value > low : value >= low) && (open_high ? value < high : value <= high);
  }
  [[nodiscard]] std::string words() const {
    std::vector<std::string> parts;
    if (low > -1e300) parts.push_back((open_low ? "> " : ">= ") + shortest(low));
    if (high < 1e300) parts.push_back((open_high ? "< " : "<= ") + shortest(high));
    return parts.empty() ? "" : " " + join(parts, " and ");
  }
};

constexpr Range kAny{};
constexpr Range kPositive{.low = 0, .open_low = true};
constexpr Range kNotNegative{.low = 0};
constexpr Range kCount{.low = 1, .high = 1e12};
constexpr Range kUnit{.low = 0, .high = 1};

/// Builds the list; paths get the prefix of the group that is being described.
class Builder {
 public:
  void group(std::string prefix) { prefix_ = std::move(prefix); }

  template <typename Integer>
  requires std::is_integral_v<Integer> &&
      (!std::is_same_v<Integer, bool>)void add(const std::string& name, Integer& value, Range range,
                                               const std::string& meaning) {
    push(
        name, meaning,
        [&value, range](const YAML::Node& node) -> std::string {
          const auto parsed =
              node.IsScalar() ? parse_integer(node.Scalar()) : std::optional<long long>();
          if (!parsed || !range.holds(static_cast<double>(*parsed)) ||
              (std::is_unsigned_v<Integer> && *parsed < 0)) {
            return expected_instead(node, "an integer" + range.words());
          }
          value = static_cast<Integer>(*parsed);
          return {};
        },
        [&value] { return YAML::Node(std::to_string(value)); });
  }

  void add(const std::string& name, double& value, Range range, const std::string& meaning) {
    push(
        name, meaning,
        [&value, range](const YAML::Node& node) -> std::string {
          const auto parsed = node.IsScalar() ? parse_real(node.Scalar()) : std::optional<double>();
          if (!parsed || !range.holds(*parsed)) {
            return expected_instead(node, "a number" + range.words());
          }
          value = *parsed;
          return {};
        },
        [&value] { return YAML::Node(shortest(value)); });
  }

  void add(const std::string& name, bool& value, const std::string& meaning) {
    push(
        name, meaning,
        [&value](const YAML::Node& node) -> std::string {
          if (!node.IsScalar() || (node.Scalar() != "true" && node.Scalar() != "false")) {
            return expected_instead(node, "true or false");
          }
          value = node.Scalar() == "true";
          return {};
        },
        [&value] { return YAML::Node(std::string(value ? "true" : "false")); });
  }

  /// Text; one of `words` when there are any, else anything that is not empty.
  void add(const std::string& name, std::string& value, const std::vector<std::string>& words,
           const std::string& meaning) {
    push(
        name, meaning,
        [&value, words](const YAML::Node& node) -> std::string {
          if (!node.IsScalar() || node.Scalar().empty()) return expected_instead(node, "a text");
          const bool known =
              words.empty() || std::find(words.begin(), words.end(), node.Scalar()) != words.end();
          if (!known) {
            const auto near = nearest_word(node.Scalar(), words);
            return expected_instead(node, "one of " + join(words, ", ")) +
                   (near ? " (did you mean " + *near + "?)" : "");
          }
          value = node.Scalar();
          return {};
        },
        [&value] { return YAML::Node(value); });
  }

  /// "vanilla" or "gate.alpha=<0 to 1>"; the number gets its one spelling.
  void add_anchor(const std::string& name, std::string& value, const std::string& meaning) {
    push(
        name, meaning,
        [&value](const YAML::Node& node) -> std::string {
          const std::string prefix = "gate.alpha=";
          const std::string text = node.IsScalar() ? node.Scalar() : std::string();
          if (text == "vanilla") {
            value = text;
            return {};
          }
          const auto alpha = text.starts_with(prefix) ? parse_real(text.substr(prefix.size()))
                                                      : std::optional<double>();
          if (!alpha || !kUnit.holds(*alpha)) {
            return expected_instead(node, "vanilla or gate.alpha=A with A from 0 to 1");
          }
          value = prefix + shortest(*alpha);
          return {};
        },
        [&value] { return YAML::Node(value); });
  }

  void add(const std::string& name, std::vector<std::int64_t>& values, Range range,
           const std::string& meaning) {
    push(
        name, meaning,
        [&values, range](const YAML::Node& node) -> std::string {
          if (!node.IsSequence()) return expected_instead(node, "a list of integers");
          std::vector<std::int64_t> parsed;
          for (const YAML::Node& item : node) {
            const auto number =
                item.IsScalar() ? parse_integer(item.Scalar()) : std::optional<long long>();
            if (!number || !range.holds(static_cast<double>(*number))) {
              return expected_instead(item, "integers" + range.words());
            }
            parsed.push_back(*number);
          }
          values = std::move(parsed);
          return {};
        },
        [&values] {
          YAML::Node list(YAML::NodeType::Sequence);
          for (const std::int64_t value : values) list.push_back(std::to_string(value));
          list.SetStyle(YAML::EmitterStyle::Flow);
          return list;
        });
  }

  void add(const std::string& name, std::vector<Hypothesis>& values, const std::string& meaning) {
    push(
        name, meaning,
        [&values](const YAML::Node& node) -> std::string {
          if (!node.IsSequence()) return expected_instead(node, "a list of {name, beta}");
          std::vector<Hypothesis> parsed;
          for (const YAML::Node& item : node) {
            const bool complete = item.IsMap() && item.size() == 2 && item["name"] && item["beta"];
            const auto beta = complete && item["beta"].IsScalar()
                                  ? parse_real(item["beta"].Scalar())
                                  : std::optional<double>();
            if (!beta || !item["name"].IsScalar()) {
              return expected_instead(item, "{name: text, beta: number}");
            }
            parsed.push_back({item["name"].Scalar(), *beta});
          }
          values = std::move(parsed);
          return {};
        },
        [&values] {
          YAML::Node list(YAML::NodeType::Sequence);
          for (const Hypothesis& value : values) {
            YAML::Node item;
            item["name"] = value.name;
            item["beta"] = shortest(value.beta);
            item.SetStyle(YAML::EmitterStyle::Flow);
            list.push_back(item);
          }
          return list;
        });
  }

  std::vector<Field> take() { return std::move(fields_); }

 private:
  void push(const std::string& name, const std::string& meaning,
            std::function<std::string(const YAML::Node&)> set, std::function<YAML::Node()> get) {
    fields_.push_back(
        {prefix_.empty() ? name : prefix_ + "." + name, meaning, std::move(set), std::move(get)});
  }

  std::string prefix_;
  std::vector<Field> fields_;
};

void describe_settings(Builder& b, Settings& s) {
  b.group("model");
  b.add("arch", s.model.arch, {"nano", "gpt", "llama", "t5", "vaswani", "resnet_bk"},
        "nano and llama: RMSNorm, no biases; gpt: LayerNorm, biases; t5 and vaswani: encoder and "
        "decoder; resnet_bk: experts and a tridiagonal resolvent, no attention");
  b.add("n_layers", s.model.n_layers, kCount, "blocks; of encoder and decoder each");
  b.add("d_model", s.model.d_model, kCount, "width of the residual stream");
  b.add("n_heads", s.model.n_heads, kCount, "attention heads");
  b.add("n_kv_heads", s.model.n_kv_heads, kNotNegative,
        "heads of keys and values, each for several of queries; 0: n_heads");
  b.add("d_head", s.model.d_head, kNotNegative, "width of a head; 0: d_model / n_heads");
  b.add("d_ff", s.model.d_ff, {.low = 0, .high = 1e12},
        "width of the MLP or expert; 0: 4 d_model, in a resnet_bk 2 d_model");
  b.add("activation", s.model.activation, {"gelu", "gelu_tanh", "relu", "silu"},
        "of the vanilla MLP");
  b.add("gated_mlp", s.model.gated_mlp,
        "whether the vanilla MLP is a gated linear unit: SwiGLU with silu, GEGLU with gelu");
  b.add("positions", s.model.positions, {"rope", "learned", "sinusoidal", "relative", "none"},
        "how tokens know their place");
  b.add("rope_theta", s.model.rope_theta, kPositive, "base of the rotary frequencies");
  b.add("causal", s.model.causal, "whether a position sees only itself and what came before");
  b.add("tied_embeddings", s.model.tied_embeddings,
        "whether the head is the embedding, transposed");
  b.add("vocab_size", s.model.vocab_size, {.low = 0, .high = 1e9},
        "rows of the embedding; 0: what the corpus and the objective need");
  b.add("n_positions", s.model.n_positions, {.low = 0, .high = 1e9},
        "longest sequence, and rows of learned positions; 0: data.sequence_length");
  b.add("norm_eps", s.model.norm_eps, kPositive, "epsilon of the norms, inside the root");
  b.add("init_std", s.model.init_std, kPositive,
        "standard deviation at init: of embedding, head and positions; in a gpt or llama of all "
        "matrices");
  b.add("dropout", s.model.dropout, {.low = 0, .high = 1, .open_high = true},
        "chance to zero an element: after the embedding, of attention, of both branches");
  b.add("n_experts", s.model.n_experts, {.low = 1, .high = 4096},
        "of each block of a resnet_bk; a token goes to one");
  b.add(
      "router", s.model.router, {"probability", "upstream"},
      "what scales the expert's output: its probability, or 1, which leaves the router untrained");
  b.add("resolvent_gradient", s.model.resolvent_gradient, {"exact", "upstream_hybrid"},
        "of a resnet_bk; the second is wrong and kept to measure that");
  b.add("activation_checkpointing", s.model.activation_checkpointing,
        "whether the backward pass computes each block again instead of keeping its insides");
  b.add("initial_weights", s.model.initial_weights, {},
        "'seed', or a safetensors file with the published names of a gpt, llama or t5");
  b.group("gate");
  b.add("unit", s.gate.unit,
        {"vanilla", "paglu", "pagtu", "pareglu", "pagelu", "pagelu_tanh", "pasilu", "paswishu",
         "pamishu", "paunit"},
        "nonlinearity of the MLP; vanilla: model.activation");
  b.add("function", s.gate.function,
        {"one", "identity", "step", "sigmoid", "tanh", "relu", "normal_cdf", "normal_cdf_tanh",
         "gelu", "gelu_tanh", "silu", "mish"},
        "gate function of paunit");
  b.add("form", s.gate.form, {"self_gate", "anchored", "glu", "glu_two_thirds", "upstream"},
        "anchored: alpha = 0 is the vanilla network; glu: value and gate from two matrices; "
        "upstream: two more matrices of d_ff by d_ff");
  b.add("alpha", s.gate.alpha, kUnit, "mixing parameter of the gate");
  b.add("gate_norm", s.gate.gate_norm, "LayerNorm of the gate function's values");
  b.add("pre_norm", s.gate.pre_norm, "LayerNorm of the unit's input");
  b.add("post_norm", s.gate.post_norm, "LayerNorm of the unit's output");
  b.add("attention", s.gate.attention, "a gate on the heads' output too, before its matrix");
  b.add("attention_alpha", s.gate.attention_alpha, kUnit,
        "alpha of that gate, where the policy is fixed or learnable");
  b.add("policy", s.gate.policy,
        {"fixed", "learnable", "cosine", "linear", "exponential", "warmup", "curriculum", "layers",
         "entropy", "confidence", "adaptive_loss", "adaptive_gradient"},
        "how alpha moves");
  b.add("alpha_start", s.gate.alpha_start, kUnit,
        "of cosine, linear, exponential and curriculum; of the first layer for layers");
  b.add("alpha_end", s.gate.alpha_end, kUnit, "likewise, at the last step or layer");
  b.add("alpha_ramp", s.gate.alpha_ramp, {.low = 0, .high = 1, .open_low = true},
        "part of the steps over which linear moves");
  b.add("alpha_scale", s.gate.alpha_scale, kPositive,
        "factor of entropy and confidence, before the clamp to 0 to 1");
  b.add("alpha_temperature", s.gate.alpha_temperature, kPositive, "of their softmax");
  b.group("data");
  b.add("corpus", s.data.corpus, {}, "'synthetic' or the path of a UTF-8 text file");
  b.add("held_out", s.data.held_out, {.low = 0, .high = 0.5, .open_low = true},
        "last part of the corpus, for validation only");
  b.add("sequence_length", s.data.sequence_length, {.low = 2, .high = 1e6}, "targets per sequence");
  b.add("objective", s.data.objective, {"next_token", "prefix", "span_corruption"},
        "prefix: the encoder reads the first half, the decoder predicts the second; "
        "span_corruption: the decoder predicts spans that are cut from what the encoder reads");
  b.add("noise_density", s.data.noise_density, {.low = 0, .high = 0.5, .open_low = true},
        "part of the tokens that span_corruption cuts");
  b.add("noise_span", s.data.noise_span, {.low = 1, .high = 1e6}, "mean length of its spans");
  b.add("synthetic_symbols", s.data.synthetic_symbols, {.low = 2, .high = 52},
        "alphabet of the synthetic language");
  b.add("synthetic_length", s.data.synthetic_length, {.low = 1000, .high = 1e9},
        "characters of synthetic text");
  b.add("synthetic_seed", s.data.synthetic_seed, kAny, "seed of the synthetic language");
  b.group("optimizer");
  b.add("lr", s.optimizer.lr, kPositive, "peak learning rate of AdamW");
  b.add("beta1", s.optimizer.beta1, {.low = 0, .high = 1, .open_high = true}, "first moment decay");
  b.add("beta2", s.optimizer.beta2, {.low = 0, .high = 1, .open_high = true},
        "second moment decay");
  b.add("eps", s.optimizer.eps, kPositive, "added to the root of the second moment");
  b.add("weight_decay", s.optimizer.weight_decay, kNotNegative, "decoupled");
  b.add("clip", s.optimizer.clip, kNotNegative, "limit of the global gradient norm; 0: none");
  b.add("decays", s.optimizer.decays, {"all", "matrices"},
        "what weight decay acts on; never on a learnable alpha");
  b.group("schedule");
  b.add("kind", s.schedule.kind, {"constant", "linear", "cosine"}, "after the warm-up");
  b.add("warmup_steps", s.schedule.warmup_steps, kNotNegative,
        "step t (from 0) has lr * min(1, (t + 1) / warmup_steps)");
  b.add("final_fraction", s.schedule.final_fraction, kUnit, "of the peak lr, at the last step");
  b.group("train");
  b.add("steps", s.train.steps, kCount, "optimizer steps");
  b.add("batch", s.train.batch, kCount, "sequences per step");
  b.add("chunk", s.train.chunk, kCount, "sequences per gradient piece: part of the numbers");
  b.add("label_smoothing", s.train.label_smoothing, {.low = 0, .high = 1, .open_high = true},
        "probability spread over all tokens, in training only");
  b.add("precision", s.train.precision, {"float32", "bfloat16", "float16"},
        "of the operands of matrix products; weights, sums and everything else stay float32; "
        "float16 scales the loss");
  b.add("reproducible", s.train.reproducible, {"strict", "fast"},
        "fast: plain sums, whose bits depend on the size of the team");
  b.add("seed", s.train.seed, kAny, "of initial weights and sample order");
  b.group("eval");
  b.add("interval", s.eval.interval, kCount, "steps between validations before the tail");
  b.add("tail_steps", s.eval.tail_steps, kCount, "last steps, whose validations are averaged");
  b.add("tail_interval", s.eval.tail_interval, kCount, "steps between validations in the tail");
  b.add("sequences", s.eval.sequences, kNotNegative, "validation sequences; 0: the whole split");
  b.add("converged_sd", s.eval.converged_sd, kPositive,
        "limit of the training loss's standard deviation over the tail");
  b.group("anomaly");
  b.add("spike", s.anomaly.spike, kNotNegative,
        "a loss this many standard deviations above the mean of the last 64 steps is an anomaly, "
        "as one that is not finite always is; 0: only that");
  b.add("skips", s.anomaly.skips, kNotNegative, "steps in a row that an anomaly may skip");
  b.add("rollbacks", s.anomaly.rollbacks, kNotNegative,
        "times that a trial may go back to a generation and pass over the batches since; after "
        "that it has diverged");
  b.add("rollback_interval", s.anomaly.rollback_interval, kNotNegative,
        "steps between the generations that a trial may go back to");
  b.group("measure");
  b.add("gradient_tails", s.measure.gradient_tails, kNotNegative,
        "steps between estimates of the tails of the gradient and of its noise; 0: none");
}

}  // namespace

std::vector<Field> settings_fields(Settings& settings) {
  Builder builder;
  describe_settings(builder, settings);
  return builder.take();
}

std::vector<Field> study_fields(Study& study) {
  Builder b;
  b.add("name", study.name, {}, "of the study; names the run directory");
  b.add("question", study.question, {}, "what the study is to answer");
  describe_settings(b, study.base);
  b.group("checkpoint");
  b.add("interval_s", study.checkpoint.interval_s, kNotNegative,
        "seconds between two generations of a trial; 0: not by time");
  b.add("interval", study.checkpoint.interval, kNotNegative,
        "steps between two generations of a trial; 0: not by steps");
  b.add("keep_every", study.checkpoint.keep_every, kNotNegative,
        "generations of every Nth step stay, besides the newest two; 0: none");
  b.group("shard");
  b.add("degree", study.shard.degree, kNotNegative,
        "ranks that share out parameters, gradients and moments, a power of two; larger teams "
        "replicate the shards; 1: every rank holds all; 0: the largest team there is");
  b.add("reshard_after_forward", study.shard.reshard_after_forward,
        "give a unit's parameters back after the forward pass and gather them again for the "
        "backward pass");
  b.add("prefetch", study.shard.prefetch, kNotNegative,
        "units that are gathered ahead of their use; 0: none");
  b.group("stages.refine");
  b.add("enabled", study.refine.enabled, "add learning rates around each batch's optimum");
  b.add("resolution", study.refine.resolution, {.low = 1.01, .high = 10},
        "largest ratio between an optimum and its neighbours");
  b.add("max_rounds", study.refine.max_rounds, kNotNegative, "rounds of new trials at most");
  b.group("stages.transfer");
  b.add("enabled", study.transfer.enabled, "train at the learning rates the rules give");
  b.add("anchor_batch", study.transfer.anchor_batch, kCount, "batch the rules start from");
  b.add("anchor_lr", study.transfer.anchor_lr, kPositive, "learning rate at the anchor batch");
  b.add("anchor_at_optimum", study.transfer.anchor_at_optimum,
        "also start from the optimum found at the anchor batch");
  b.group("analysis");
  b.add("kind", study.analysis.kind, {"batch_scaling", "gating", "arms", "model_size", "none"},
        "what pgpost fit does");
  b.add("hypotheses", study.analysis.hypotheses,
        "exponents to test; the first two are the rules of the transfer stage");
  b.add("small_batches", study.analysis.small_batches, kCount,
        "batches that the report also leaves out");
  b.add_anchor(
      "anchor", study.analysis.anchor,
      "arm that gates are compared with: vanilla (gate.unit = vanilla), or gate.alpha=VALUE");
  b.add("equivalence_margin", study.analysis.equivalence_margin,
        {.low = 0, .high = 1, .open_low = true, .open_high = true},
        "relative difference in loss that counts as a match");
  return b.take();
}

}  // namespace pg::config
