// What settings do not go together, and what has no effect beside what.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "base/text.hpp"
#include "config/fields.hpp"
#include "config/study.hpp"

namespace pg::config {
namespace {

/// Settings that an architecture does not take, or a network that its name does not stand for:
/// without this, `arch: gpt` alone would take the nano's positions and be something between the
/// two.
void check_architecture(const Settings& s, std::vector<std::string>& found) {
  const ModelSettings& m = s.model;
  const auto expect = [&](bool good, const std::string& setting, const std::string& value,
                          const std::string& expected) {
    if (good) return;
    found.push_back(fmt::format("model.{} = {} with model.arch = {}; expected {}", setting, value,
                                m.arch, expected));
  };
  const auto& p = m.positions;
  const auto shown = [](bool value) { return std::string(value ? "true" : "false"); };
  if (m.arch == "nano") {
    expect(p == "rope" || p == "learned" || p == "none", "positions", p, "rope, learned or none");
  } else if (m.arch == "gpt" || m.arch == "resnet_bk") {
    expect(p == "learned" || p == "sinusoidal", "positions", p, "learned or sinusoidal");
  } else if (m.arch == "llama") {
    expect(p == "rope", "positions", p, "rope");
  } else if (m.arch == "t5") {
    expect(p == "relative", "positions", p, "relative");
  } else {
    expect(p == "sinusoidal", "positions", p, "sinusoidal");
  }
  if (m.arch != "nano" && m.arch != "resnet_bk") {
    expect(m.causal, "causal", "false", "true: the decoder sees no later token");
  }
  if (m.arch == "resnet_bk") {
    expect(!m.gated_mlp, "gated_mlp", shown(m.gated_mlp), "false: experts have two matrices");
    expect(m.n_kv_heads == 0 && m.d_head == 0, "n_kv_heads or d_head", "set", "0: no attention");
    expect(m.resolvent_gradient == "exact" || !m.causal, "resolvent_gradient", m.resolvent_gradient,
           "exact where model.causal = true");
  }
  const bool encodes = s.data.objective != "next_token";
  if (s.data.objective == "span_corruption" && s.data.sequence_length < 4) {
    found.push_back(fmt::format(
        "data.sequence_length = {} with data.objective = span_corruption; expected 4 or more",
        s.data.sequence_length));
  }
  if (m.has_encoder() != encodes) {
    found.push_back(fmt::format(
        "data.objective = {} with model.arch = {}; {}", s.data.objective, m.arch,
        m.has_encoder() ? "an encoder has something to read with prefix or span_corruption"
                        : "without an encoder expected next_token"));
  }
}

void check_heads(const ModelSettings& m, std::vector<std::string>& found) {
  if (m.arch == "resnet_bk") return;
  if (m.d_head == 0 && m.d_model % m.n_heads != 0) {
    found.push_back(
        fmt::format("model.d_model = {} is no multiple of model.n_heads = {}; expected equal heads",
                    m.d_model, m.n_heads));
  } else if (m.positions == "rope" && m.head_size() % 2 != 0) {
    found.push_back(fmt::format("{} = {} is odd; rotary positions expect an even head size",
                                m.d_head > 0 ? "model.d_head" : "model.d_model / model.n_heads",
                                m.head_size()));
  }
  if (m.n_heads % m.kv_heads() != 0) {
    found.push_back(fmt::format("model.n_heads = {} is no multiple of model.n_kv_heads = {}",
                                m.n_heads, m.n_kv_heads));
  }
}

void check_gate(const Settings& s, std::vector<std::string>& found) {
  const GateSettings& g = s.gate;
  if (g.is_vanilla()) return;
  const auto open = [](double alpha) { return alpha > 0 && alpha < 1; };
  if (g.policy == "learnable" && (!open(g.alpha) || (g.attention && !open(g.attention_alpha)))) {
    found.push_back(
        "gate.policy = learnable from an alpha of 0 or 1, whose logit is infinite; expected "
        "gate.alpha (and gate.attention_alpha) between");
  }
  const bool two_inputs = g.form != "self_gate" && g.form != "anchored";
  if (s.model.gated_mlp && g.form != "glu" && g.form != "anchored") {
    found.push_back(fmt::format(
        "gate.form = {} with model.gated_mlp = true; expected glu (alpha = 1 of the matching unit "
        "is vanilla) or anchored (alpha = 0 is)",
        g.form));
  }
  if (s.model.arch == "resnet_bk" &&
      (two_inputs || g.pre_norm || g.gate_norm || g.post_norm || g.attention)) {
    found.push_back(
        "a gate in the experts of a resnet_bk; expected gate.form = self_gate or anchored, no "
        "norms and no gate on attention");
  }
}

}  // namespace

std::vector<std::string> contradictions(const Settings& s) {
  std::vector<std::string> found;
  check_heads(s.model, found);
  check_architecture(s, found);
  check_gate(s, found);
  if (s.model.n_positions > 0 && s.model.n_positions < s.data.sequence_length) {
    found.push_back(fmt::format("data.sequence_length = {} exceeds model.n_positions = {}",
                                s.data.sequence_length, s.model.n_positions));
  }
  if (s.schedule.warmup_steps > s.train.steps) {
    found.push_back(fmt::format("schedule.warmup_steps = {} exceeds train.steps = {}",
                                s.schedule.warmup_steps, s.train.steps));
  }
  if (s.eval.tail_steps > s.train.steps) {
    found.push_back(fmt::format("eval.tail_steps = {} exceeds train.steps = {}", s.eval.tail_steps,
                                s.train.steps));
  }
  if (s.anomaly.rollbacks > 0 && s.anomaly.rollback_interval == 0) {
    found.push_back(
        "anomaly.rollback_interval = 0 with anomaly.rollbacks above 0; expected the steps between "
        "the generations to go back to");
  }
  return found;
}

std::vector<std::string> unused_paths(const Settings& settings) {
  const GateSettings& g = settings.gate;
  const ModelSettings& m = settings.model;
  std::vector<std::string> unused;
  const auto add = [&](bool used, const std::string& group,
                       std::initializer_list<const char*> names) {
    if (used) return;
    for (const char* name : names) unused.push_back(group + "." + name);
  };
  const bool gated = !g.is_vanilla();
  const auto policy = [&](std::initializer_list<const char*> words) {
    return gated && std::find(words.begin(), words.end(), g.policy) != words.end();
  };
  add(gated, "gate", {"form", "gate_norm", "pre_norm", "post_norm", "attention", "policy"});
  add(g.unit == "paunit", "gate", {"function"});
  add(policy({"fixed", "learnable", "warmup", "adaptive_loss", "adaptive_gradient"}), "gate",
      {"alpha"});
  add(g.attention && policy({"fixed", "learnable"}), "gate", {"attention_alpha"});
  add(policy({"cosine", "linear", "exponential", "curriculum", "layers"}), "gate",
      {"alpha_start", "alpha_end"});
  add(policy({"linear"}), "gate", {"alpha_ramp"});
  add(policy({"entropy", "confidence"}), "gate", {"alpha_scale", "alpha_temperature"});
  add(m.positions == "rope", "model", {"rope_theta"});
  add(m.arch == "resnet_bk", "model", {"n_experts", "router", "resolvent_gradient"});
  add(m.arch != "resnet_bk", "model", {"n_heads"});
  add(m.arch == "nano" || m.arch == "gpt" || m.arch == "llama", "model", {"init_std"});
  add(settings.data.objective == "span_corruption", "data", {"noise_density", "noise_span"});
  return unused;
}

std::vector<std::string> settings_without_effect(const Study& study) {
  const Settings& base = study.base;
  const auto group_of = [](const std::string& path) { return path.substr(0, path.find('.')); };
  const auto varies = [&](const std::string& group) {
    return std::any_of(study.axes.begin(), study.axes.end(),
                       [&](const Axis& axis) { return group_of(axis.path) == group; }) ||
           std::any_of(study.arms.begin(), study.arms.end(), [&](const ArmSettings& arm) {
             return std::any_of(arm.begin(), arm.end(), [&](const auto& setting) {
               return group_of(setting.first) == group;
             });
           });
  };
  const auto value_in = [](const auto& values, const std::string& path) {
    for (const auto& [name, value] : values) {
      if (name == path) return value;
    }
    return std::string();
  };
  const auto values = setting_values(base);
  const auto defaults = setting_values(Settings{});
  std::vector<std::string> found;
  for (const std::string& path : unused_paths(base)) {
    const std::string value = value_in(values, path);
    const std::string usual = value_in(defaults, path);
    if (value == usual || varies(group_of(path))) continue;
    const std::string beside =
        group_of(path) != "gate" ? fmt::format(
                                       "model.arch = {}, model.positions = {} and "
                                       "data.objective = {}",
                                       base.model.arch, base.model.positions, base.data.objective)
        : base.gate.is_vanilla()
            ? std::string("gate.unit = vanilla")
            : fmt::format("gate.unit = {} and gate.policy = {}", base.gate.unit, base.gate.policy);
    found.push_back(
        fmt::format("{} = {} has no effect with {}; expected {}", path, value, beside, usual));
  }
  return found;
}

}  // namespace pg::config
