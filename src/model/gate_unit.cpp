#include "model/gate_unit.hpp"

#include <array>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "ops/ops.hpp"
#include "ops/plain_operators.hpp"

namespace pg::model {
namespace {

using ops::GateFunction;

constexpr std::array<std::pair<const char*, GateFunction>, 12> kFunctions{
    {{"one", GateFunction::one},
     {"identity", GateFunction::identity},
     {"step", GateFunction::step},
     {"sigmoid", GateFunction::sigmoid},
     {"tanh", GateFunction::tanh},
     {"relu", GateFunction::relu},
     {"normal_cdf", GateFunction::normal_cdf},
     {"normal_cdf_tanh", GateFunction::normal_cdf_tanh},
     {"gelu", GateFunction::gelu},
     {"gelu_tanh", GateFunction::gelu_tanh},
     {"silu", GateFunction::silu},
     {"mish", GateFunction::mish}}};

GateFunction function_named(const std::string& name) {
  for (const auto& [word, function] : kFunctions) {
    if (name == word) return function;
  }
  throw InternalError({"unknown gate function '" + name + "'", "", ""});
}

/// g. Of paSiLU the paper has sigmoid, in a self-gate, and the code SiLU, in a linear unit.
GateFunction gate_function_of(const config::GateSettings& gate, bool linear_unit) {
  const std::string& unit = gate.unit;
  if (unit == "paglu") return GateFunction::sigmoid;
  if (unit == "pagtu") return GateFunction::tanh;
  if (unit == "pareglu") return GateFunction::relu;
  if (unit == "pagelu") return GateFunction::gelu;
  if (unit == "pagelu_tanh") return GateFunction::gelu_tanh;
  if (unit == "pasilu") return linear_unit ? GateFunction::silu : GateFunction::sigmoid;
  if (unit == "paswishu") return GateFunction::silu;
  if (unit == "pamishu") return GateFunction::mish;
  if (unit == "paunit") return function_named(gate.function);
  throw InternalError({"unknown gate unit '" + unit + "'", "", ""});
}

constexpr double kNormEps = 1e-5;

}  // namespace

GateFunction factor_of(const std::string& activation) {
  if (activation == "gelu") return GateFunction::normal_cdf;
  if (activation == "gelu_tanh") return GateFunction::normal_cdf_tanh;
  if (activation == "relu") return GateFunction::step;
  if (activation == "silu") return GateFunction::sigmoid;
  throw InternalError({"unknown activation '" + activation + "'", "", ""});
}

GateUnit::GateUnit(SpecList& specs, const std::string& name, const Blueprint& blueprint,
                   Place place, std::int64_t width)
    : of_heads_(place == Place::heads),
      vanilla_(blueprint.gate.is_vanilla()),
      scale_(blueprint.gate.alpha_scale),
      temperature_(blueprint.gate.alpha_temperature) {
  const config::GateSettings& gate = blueprint.gate;
  const bool linear_unit = place == Place::linear_unit;
  const GateFunction activation = linear_unit ? function_named(blueprint.model.activation)
                                              : factor_of(blueprint.model.activation);
  if (vanilla_) {
    spec_ = ops::GateSpec::activation(activation);
    return;
  }
  spec_.gate = gate_function_of(gate, linear_unit);
  spec_.base = GateFunction::one;  // of the heads too: there vanilla is no gate at all
  if (place != Place::heads) {
    if (gate.form == "anchored") spec_.base = activation;
    // The paper's paSiLU alone has another base: h^2 at alpha = 0.
    if (gate.form == "self_gate" && gate.unit == "pasilu") spec_.base = GateFunction::identity;
    tanh_of_value_ = gate.form == "upstream" && gate.unit == "pagtu";
    if (gate.gate_norm)
      norm_.emplace(specs, name + "_gate_norm", width, Norm::Kind::layer, kNormEps);
  }
  if (gate.policy == "learnable") {
    source_ = Source::learned;
    const double start = place == Place::heads ? gate.attention_alpha : gate.alpha;
    learned_ = specs.add(name + "_alpha", {1}, Init::constant(std::log(start / (1 - start))),
                         /*decays=*/false);
  } else if (gate.policy == "entropy") {
    source_ = Source::entropy;
  } else if (gate.policy == "confidence") {
    source_ = Source::confidence;
  }
}

/// (1), or (b, t, 1) where it is the token's.
at::Tensor GateUnit::alpha_tensor(const Pass& pass, const at::Tensor& h) const {
  if (source_ == Source::learned) return at::sigmoid(pass[*learned_]);
  ops::count_plain("token_alpha");
  const at::Tensor p = at::softmax(h / temperature_, -1);
  if (source_ == Source::confidence) {
    return at::clamp(scale_ * (1 - std::get<0>(p.max(-1, true))), 0, 1);
  }
  const at::Tensor entropy = -(p * at::log_softmax(h / temperature_, -1)).sum(-1, true);
  const double most = std::log(static_cast<double>(std::max<std::int64_t>(2, h.size(-1))));
  return at::clamp(entropy * (scale_ / most), 0, 1);
}

void GateUnit::show(const Pass& pass, const at::Tensor& token_alpha) const {
  Alphas* alphas = pass.options.token_alphas;
  if (alphas == nullptr || source_ == Source::learned) return;
  double& mean = (of_heads_ ? alphas->attention : alphas->mlp).at(pass.block);
  if (std::isnan(mean)) mean = token_alpha.detach().mean().item<double>();
}

at::Tensor GateUnit::operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& h,
                                double alpha) const {
  const bool self = x.is_same(h);
  if (vanilla_) return self ? ops::gate(h, spec_) : ops::gate(x, h, spec_);
  const at::Tensor value = tanh_of_value_ ? at::tanh(x) : x;
  if (source_ == Source::number && !norm_) {
    ops::GateSpec spec = spec_;
    spec.alpha = alpha;
    return self ? ops::gate(h, spec) : ops::gate(value, h, spec);
  }
  const at::Tensor b =
      spec_.base == GateFunction::one ? at::Tensor() : ops::gate_function(h, spec_.base);
  if (source_ == Source::number && alpha == 0) return b.defined() ? value * b : value;
  at::Tensor g = ops::gate_function(h, spec_.gate);
  if (norm_) g = (*norm_)(pass, g);
  if (source_ == Source::number) {
    return ops::blend(value, g, b, at::full({1}, alpha, h.options()));
  }
  const at::Tensor a = alpha_tensor(pass, h);
  show(pass, a);
  return ops::blend(value, g, b, a);
}

}  // namespace pg::model
