#include "model/parts.hpp"

#include <cmath>

#include "base/error.hpp"

namespace pg::model {
namespace {

using Role = Blueprint::Role;

constexpr double kGateNormEps = 1e-5;
constexpr double kPotentialLimit = 3;  // as upstream: keeps |L| away from its worst case
constexpr double kFeatureLimit = 10;

Linear make_linear(SpecList& specs, const std::string& name, const Blueprint& blueprint,
                   std::int64_t n_out, std::int64_t n_in, Role role = Role::input) {
  return {specs, name, n_out, n_in, blueprint.matrix(n_out, n_in, role), blueprint.bias(n_in)};
}

/// Width of a linear unit whose three matrices have the parameters of two of width d_ff, in whole
/// blocks of 64 (8 for narrow ones).
std::int64_t two_thirds(std::int64_t d_ff) {
  const std::int64_t block = d_ff >= 1024 ? 64 : 8;
  const double blocks = static_cast<double>(2 * d_ff) / static_cast<double>(3 * block);
  return std::max<std::int64_t>(1, std::llround(blocks)) * block;
}

}  // namespace

Linear::Linear(SpecList& specs, const std::string& name, std::int64_t n_out, std::int64_t n_in,
               Init init, const std::optional<Init>& bias_init)
    : weight_(specs.add_operand(name, {n_out, n_in}, init)), n_weights_(n_out * n_in) {
  if (bias_init) bias_ = specs.add(name + "_bias", {n_out}, *bias_init);
}

at::Tensor Linear::operator()(const Pass& pass, const at::Tensor& x) const {
  const auto bias = bias_ ? std::optional(pass[*bias_]) : std::nullopt;
  return ops::linear(x, pass.operand(weight_), bias, pass.options.precision);
}

Attention::Attention(SpecList& specs, const std::string& name, const Blueprint& blueprint,
                     Kind kind)
    : n_heads_(blueprint.model.n_heads),
      n_kv_heads_(blueprint.model.kv_heads()),
      d_head_(blueprint.model.head_size()),
      scale_(blueprint.attention_scale) {
  const std::int64_t d = blueprint.model.d_model;
  const std::int64_t inner = n_heads_ * d_head_;
  const std::int64_t kv = 2 * n_kv_heads_ * d_head_;
  if (kind == Kind::self && !blueprint.splits_query) {
    // Each of the three is a matrix of its own as far as initial weights go.
    qkv_.emplace(specs, name + "_qkv", inner + kv, d, blueprint.matrix(inner, d, Role::input),
                 blueprint.bias(d));
  } else {
    q_ = make_linear(specs, name + "_q", blueprint, inner, d, Role::query);
    kv_.emplace(specs, name + "_kv", kv, d, blueprint.matrix(kv / 2, d, Role::input),
                blueprint.bias(d));
  }
  if (blueprint.gate.attention && !blueprint.gate.is_vanilla()) {
    gate_.emplace(specs, name, blueprint, GateUnit::Place::heads, inner);
  }
  out_ = make_linear(specs, name + "_out", blueprint, d, inner, Role::branch_end);
}

at::Tensor Attention::operator()(const Pass& pass, const at::Tensor& x_btd,
                                 const at::Tensor& memory_bud, const at::Tensor& bias_htu,
                                 bool causal, const std::optional<ops::Rope>& rope,
                                 std::uint64_t dropout_place, double alpha) const {
  const std::int64_t inner = n_heads_ * d_head_;
  const ops::AttentionSpec spec{.n_heads = n_heads_,
                                .n_kv_heads = n_kv_heads_,
                                .causal = causal,
                                .scale = scale_,
                                .rope = rope,
                                .bias_htu = bias_htu,
                                .dropout = pass.site(dropout_place),
                                .precision = pass.options.precision};
  const auto show = [&](const at::Tensor& q_and_more, const at::Tensor& with_k, std::int64_t k) {
    if (pass.options.attention_maps == nullptr) return;
    pass.options.attention_maps->push_back(ops::attention_probabilities(
        q_and_more.narrow(2, 0, inner), with_k.narrow(2, k, n_kv_heads_ * d_head_), spec));
  };
  at::Tensor heads_btd;
  if (qkv_) {
    const at::Tensor qkv_btd = (*qkv_)(pass, x_btd);
    heads_btd = ops::attention(qkv_btd, spec);
    show(qkv_btd, qkv_btd, inner);
  } else {
    const at::Tensor q_btd = (*q_)(pass, x_btd);
    const at::Tensor kv_bud = (*kv_)(pass, memory_bud.defined() ? memory_bud : x_btd);
    heads_btd = ops::attention(q_btd, kv_bud, spec);
    show(q_btd, kv_bud, 0);
  }
  if (gate_) heads_btd = (*gate_)(pass, heads_btd, heads_btd, alpha);
  return (*out_)(pass, heads_btd);
}

double Attention::flops(double t, double u, double visible) const {
  const auto of = [](const std::optional<Linear>& map) {
    return map ? static_cast<double>(map->flops()) : 0.0;
  };
  const auto inner = static_cast<double>(n_heads_ * d_head_);
  return t * (of(qkv_) + of(q_) + of(out_) + 4 * inner * visible) + u * of(kv_);
}

Mlp::Mlp(SpecList& specs, const std::string& name, const Blueprint& blueprint) {
  const config::GateSettings& gate = blueprint.gate;
  const bool gated = !gate.is_vanilla();
  // Upstream's unit stands behind the first matrix; it replaced the MLP by fresh torch.nn.Linear.
  const bool upstream = gated && gate.form == "upstream";
  const bool two_inputs =
      blueprint.model.gated_mlp || (gated && (gate.form == "glu" || gate.form == "glu_two_thirds"));
  const std::int64_t d = blueprint.model.d_model;
  std::int64_t f = blueprint.model.mlp_width();
  if (gated && gate.form == "glu_two_thirds") f = two_thirds(f);
  const auto linear = [&](const char* which, std::int64_t n_out, std::int64_t n_in, Role role) {
    if (!upstream) return make_linear(specs, name + which, blueprint, n_out, n_in, role);
    const Init init = Init::linear(n_in);
    return Linear(specs, name + which, n_out, n_in, init,
                  blueprint.has_biases ? std::optional(init) : std::nullopt);
  };
  const auto norm = [&](const char* which, std::int64_t width) {
    return Norm(specs, name + which, width, Norm::Kind::layer, kGateNormEps);
  };
  if (gated && gate.pre_norm) pre_norm_ = norm("_pre_norm", two_inputs ? d : f);
  if (!two_inputs) up_ = linear("_up", f, d, Role::input);
  if (two_inputs || upstream) {
    value_ = linear(upstream ? "_value" : "_up", f, upstream ? f : d, Role::input);
    gate_input_ = linear("_gate", f, upstream ? f : d, Role::input);
  }
  unit_.emplace(specs, name, blueprint,
                value_ ? GateUnit::Place::linear_unit : GateUnit::Place::mlp, f);
  if (gated && gate.post_norm) post_norm_ = norm("_post_norm", f);
  down_ = linear("_down", d, f, Role::branch_end);
}

at::Tensor Mlp::operator()(const Pass& pass, const at::Tensor& x_btd, double alpha) const {
  at::Tensor h = up_ ? (*up_)(pass, x_btd) : x_btd;
  if (pre_norm_) h = (*pre_norm_)(pass, h);
  at::Tensor value = h;
  if (value_) {
    value = (*value_)(pass, h);
    h = (*gate_input_)(pass, h);
  }
  at::Tensor y = (*unit_)(pass, value, h, alpha);
  if (post_norm_) y = (*post_norm_)(pass, y);
  return (*down_)(pass, y);
}

std::int64_t Mlp::flops() const {
  std::int64_t sum = 0;
  for (const auto* map : {&up_, &value_, &gate_input_, &down_}) {
    if (*map) sum += (*map)->flops();
  }
  return sum;
}

ResolventMixer::ResolventMixer(SpecList& specs, const std::string& name, const Blueprint& blueprint)
    : causal_(blueprint.model.causal),
      scaled_by_probability_(blueprint.model.router == "probability"),
      gradient_(blueprint.model.resolvent_gradient == "exact"
                    ? ops::ResolventGradient::exact
                    : ops::ResolventGradient::upstream_hybrid) {
  const std::int64_t d = blueprint.model.d_model;
  const std::int64_t f = blueprint.model.mlp_width();
  const std::int64_t n_experts = blueprint.model.n_experts;
  router_ = make_linear(specs, name + "router", blueprint, n_experts, d);
  for (std::int64_t e = 0; e < n_experts; ++e) {
    const std::string expert = name + "experts." + std::to_string(e) + ".";
    Linear up = make_linear(specs, expert + "up", blueprint, f, d);
    Linear down = make_linear(specs, expert + "down", blueprint, d, f, Role::branch_end);
    experts_.push_back({up, down});
  }
  unit_.emplace(specs, name + "experts", blueprint, GateUnit::Place::mlp, f);
  potential_ = make_linear(specs, name + "potential", blueprint, 1, d);
  features_ = make_linear(specs, name + "features", blueprint, d, 2);
  scale_ = specs.add(name + "scale", {1}, Init::ones());
}

at::Tensor ResolventMixer::experts(const Pass& pass, const at::Tensor& x_nd,
                                   at::IntArrayRef sequences, std::uint64_t dropout_place,
                                   double alpha) const {
  const at::Tensor logits_ne = (*router_)(pass, x_nd);
  const at::Tensor chosen_n = logits_ne.detach().argmax(1);
  const auto [sorted_n, order_n] = at::sort(chosen_n, /*stable=*/true, 0, false);
  const at::Tensor inverse_n =
      at::empty_like(order_n).scatter_(0, order_n, at::arange(order_n.size(0), order_n.options()));
  const at::Tensor counts = at::bincount(chosen_n, {}, static_cast<std::int64_t>(experts_.size()));
  const at::Tensor counts_host = counts.cpu();
  // Sorted by expert, so that each has its tokens in one piece.
  const auto each = [&](const at::Tensor& sorted, Linear Expert::*map) {
    std::vector<at::Tensor> pieces;
    std::int64_t first = 0;
    for (std::size_t e = 0; e < experts_.size(); ++e) {
      const auto count = counts_host.data_ptr<std::int64_t>()[e];
      if (count > 0) pieces.push_back((experts_[e].*map)(pass, sorted.narrow(0, first, count)));
      first += count;
    }
    return at::cat(pieces, 0);
  };
  at::Tensor h = each(x_nd.index_select(0, order_n), &Expert::up);
  h = (*unit_)(pass, h, h, alpha);
  const ops::DropoutSite dropout = pass.site(dropout_place);
  if (dropout.p > 0) {  // its elements are counted in the order of the tokens
    const at::Tensor in_order = h.index_select(0, inverse_n);
    const at::Tensor dropped =
        ops::dropout(in_order.view({sequences[0], sequences[1], h.size(1)}), dropout);
    h = dropped.view(h.sizes()).index_select(0, order_n);
  }
  at::Tensor y = each(h, &Expert::down).index_select(0, inverse_n);
  if (!scaled_by_probability_) return y;
  return y * at::softmax(logits_ne, 1).gather(1, chosen_n.unsqueeze(1));
}

at::Tensor ResolventMixer::operator()(const Pass& pass, const at::Tensor& x_btd,
                                      std::uint64_t dropout_place, double alpha) const {
  const auto b = x_btd.size(0);
  const auto t = x_btd.size(1);
  const auto d = x_btd.size(2);
  const at::Tensor m_btd =
      experts(pass, x_btd.reshape({b * t, d}), {b, t}, dropout_place, alpha).view({b, t, d});
  const at::Tensor v_bt =
      at::clamp((*potential_)(pass, m_btd), -kPotentialLimit, kPotentialLimit).squeeze(2);
  const at::Tensor g_bt2 = at::clamp(ops::resolvent(v_bt.contiguous(), causal_, gradient_),
                                     -kFeatureLimit, kFeatureLimit);
  return m_btd + pass[scale_] * (*features_)(pass, g_bt2);
}

std::int64_t ResolventMixer::flops() const {
  constexpr std::int64_t kResolvent = 34;  // two complex divisions and what joins them
  return experts_[0].up.flops() + experts_[0].down.flops() + router_->flops() +
         potential_->flops() + features_->flops() + kResolvent;
}

}  // namespace pg::model
