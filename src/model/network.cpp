#include "model/network.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "base/error.hpp"
#include "model/alpha_policy.hpp"
#include "model/recompute.hpp"
#include "model/relative_positions.hpp"

namespace pg::model {
namespace {

// Places of dropout. Never renumber: results depend on the values.
enum BlockDropout : std::uint64_t { kProbabilities, kAttentionBranch, kMlpBranch, kBlockDropouts };
enum CrossDropout : std::uint64_t { kCrossProbabilities, kCrossBranch, kCrossDropouts };

constexpr std::uint64_t kEmbeddingDropout = 0;
constexpr std::uint64_t kFirstBlockDropout = 1;
constexpr std::uint64_t kEncoder = 1U << 18;  // added to the places of the encoder
constexpr std::uint64_t kFirstCrossDropout = 1U << 19;

constexpr std::size_t kFirstBlockUnit = 1;

/// compute(), whose tensors are those of a unit.
template <typename Compute>
at::Tensor in_unit(UnitObserver* observer, std::size_t unit, const Compute& compute) {
  if (observer == nullptr) return compute();
  observer->before_forward(unit);
  const at::Tensor y = compute();
  observer->after_forward(unit);
  if (y.requires_grad()) {
    y.register_hook([observer, unit](const at::Tensor&) { observer->before_backward(unit); });
  }
  return y;
}

}  // namespace

Network::Network(const config::ModelSettings& model, const config::GateSettings& gate,
                 std::int64_t vocabulary, std::int64_t sequence_length, at::ScalarType type)
    : blueprint_(Blueprint::of(model, gate)), vocabulary_(vocabulary) {
  const std::int64_t d = model.d_model;
  embedding_ = specs_.add("embedding", {vocabulary, d}, blueprint_.embedding());
  if (model.positions == "learned") {
    const std::int64_t n = model.n_positions > 0 ? model.n_positions : sequence_length;
    positions_ = specs_.add("positions", {n, d}, blueprint_.positions());
  }
  if (model.positions == "sinusoidal") sinusoids_td_ = sinusoids(sequence_length, d, type);
  if (model.positions == "rope") {
    rope_ = ops::make_rope(sequence_length, model.head_size(), model.rope_theta, type);
  }
  const auto bias_table = [&](const std::string& name) -> std::optional<std::size_t> {
    if (model.positions != "relative") return std::nullopt;
    return specs_.add(name, {kRelativeBuckets, model.n_heads},
                      Init::normal(1 / std::sqrt(static_cast<double>(d))));
  };
  const bool final_norms = blueprint_.norm_first;
  if (model.has_encoder()) {
    encoder_bias_ = bias_table("encoder_relative_bias");
    assign_unit(0);
    for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
      encoder_.push_back(make_block(fmt::format("encoder.{}.", layer), /*has_cross=*/false));
      assign_unit(kFirstBlockUnit + encoder_.size() - 1);
    }
    if (final_norms) encoder_norm_ = blueprint_.make_norm(specs_, "encoder_norm");
  }
  decoder_bias_ = bias_table("relative_bias");
  assign_unit(0);
  for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
    decoder_.push_back(make_block(fmt::format("blocks.{}.", layer), model.has_encoder()));
    assign_unit(kFirstBlockUnit + n_blocks() - 1);
  }
  if (final_norms) final_norm_ = blueprint_.make_norm(specs_, "final_norm");
  if (!model.tied_embeddings) head_ = specs_.add("head", {vocabulary, d}, blueprint_.head());
  if (blueprint_.head_has_bias) {
    head_bias_ = specs_.add("head_bias", {vocabulary}, *blueprint_.bias(d));
  }
  assign_unit(kFirstBlockUnit + n_blocks());
  alphas_ = AlphaPolicy(gate, n_blocks(), 1, 0).at(0);
}

void Network::assign_unit(std::size_t unit) {
  if (units_.size() <= unit) units_.resize(unit + 1);
  for (; n_assigned_ < specs_.specs().size(); ++n_assigned_) units_[unit].push_back(n_assigned_);
}

Network::Block Network::make_block(const std::string& name, bool has_cross) {
  Block block;
  if (blueprint_.model.arch == "resnet_bk") {
    block.mlp_norm = blueprint_.make_norm(specs_, name + "norm");
    block.mixer.emplace(specs_, name, blueprint_);
    return block;
  }
  block.attention_norm = blueprint_.make_norm(specs_, name + "attention_norm");
  block.attention.emplace(specs_, name + "attention", blueprint_, Attention::Kind::self);
  if (has_cross) {
    block.cross_norm = blueprint_.make_norm(specs_, name + "cross_norm");
    block.cross.emplace(specs_, name + "cross", blueprint_, Attention::Kind::cross);
  }
  block.mlp_norm = blueprint_.make_norm(specs_, name + "mlp_norm");
  block.mlp.emplace(specs_, name + "mlp", blueprint_);
  return block;
}

at::Tensor Network::embedded(const Pass& pass, const at::Tensor& tokens_bt,
                             std::uint64_t dropout_place) const {
  const std::int64_t t = tokens_bt.size(1);
  const at::Tensor table = head_ ? pass[embedding_] : pass.parameters.again(embedding_);
  // A gradient of the rows that occur, which autograd adds to the table's where it stands: a dense
  // one would be zeros nearly everywhere, and as large as the table.
  const bool sparse = table.is_cpu() && table.size(0) > tokens_bt.numel();
  at::Tensor x_btd = at::embedding(table, tokens_bt, /*padding_idx=*/-1,
                                   /*scale_grad_by_freq=*/false, sparse);
  if (blueprint_.embedding_scale != 1) x_btd = x_btd * blueprint_.embedding_scale;
  if (positions_) x_btd = x_btd + pass[*positions_].narrow(0, 0, t);
  if (sinusoids_td_.defined()) {
    x_btd = x_btd + sinusoids_td_.narrow(0, 0, t).to(x_btd.device());
  }
  return ops::dropout(x_btd, pass.site(dropout_place));
}

/// (n_heads, t, t), or undefined.
at::Tensor Network::relative_bias(const Pass& pass, bool encoder, std::int64_t t) const {
  const auto& table = encoder ? encoder_bias_ : decoder_bias_;
  if (!table) return {};
  const at::Tensor buckets = relative_buckets(t, t, /*bidirectional=*/encoder);
  return at::embedding(pass[*table], buckets.to(pass[*table].device()))
      .permute({2, 0, 1})
      .contiguous();
}

at::Tensor Network::through(const Pass& outer, const Where& where, const at::Tensor& x_input,
                            const at::Tensor& memory_bud, const at::Tensor& bias_htu,
                            const std::optional<ops::Rope>& rope) const {
  const Block& block = where.encoder ? encoder_[where.layer] : decoder_[where.layer];
  const std::uint64_t side = where.encoder ? kEncoder : 0;
  const std::uint64_t places = side + kFirstBlockDropout + kBlockDropouts * where.layer;
  const std::uint64_t cross_places = kFirstCrossDropout + kCrossDropouts * where.layer;
  const std::size_t index = where.encoder ? where.layer : encoder_.size() + where.layer;
  Pass pass = outer;
  pass.block = index;
  const Alphas& alphas = pass.options.alphas ? *pass.options.alphas : alphas_;
  const double mlp_alpha = alphas.mlp.at(index);
  const double attention_alpha = alphas.attention.at(index);

  // x + f(norm(x)), or norm(x + f(x)).
  const auto add = [&](const at::Tensor& x, const std::optional<Norm>& norm, std::uint64_t place,
                       const auto& branch) {
    if (!blueprint_.norm_first) {
      return (*norm)(pass, x + ops::dropout(branch(x), pass.site(place)));
    }
    return x + ops::dropout(branch((*norm)(pass, x)), pass.site(place));
  };
  if (block.mixer) {
    return x_input +
           (*block.mixer)(pass, (*block.mlp_norm)(pass, x_input), places + kMlpBranch, mlp_alpha);
  }
  at::Tensor x_btd =
      add(x_input, block.attention_norm, places + kAttentionBranch, [&](const at::Tensor& x) {
        return (*block.attention)(pass, x, {}, bias_htu, !where.encoder && blueprint_.model.causal,
                                  rope, places + kProbabilities, attention_alpha);
      });
  if (block.cross) {
    x_btd = add(x_btd, block.cross_norm, cross_places + kCrossBranch, [&](const at::Tensor& x) {
      return (*block.cross)(pass, x, memory_bud, {}, /*causal=*/false, std::nullopt,
                            cross_places + kCrossProbabilities, attention_alpha);
    });
  }
  return add(x_btd, block.mlp_norm, places + kMlpBranch,
             [&](const at::Tensor& x) { return (*block.mlp)(pass, x, mlp_alpha); });
}

at::Tensor Network::stack(const Parameters& parameters, const PassOptions& options, bool encoder,
                          at::Tensor x_btd, const at::Tensor& memory_bud) const {
  const double dropout = blueprint_.model.dropout;
  const at::Tensor bias_htu = relative_bias({parameters, options, dropout}, encoder, x_btd.size(1));
  const auto shared = std::make_shared<const PassOptions>(options);
  std::optional<ops::Rope> rope;
  if (rope_) rope = ops::Rope{rope_->cos.to(x_btd.device()), rope_->sin.to(x_btd.device())};
  for (std::size_t layer = 0; layer < (encoder ? encoder_ : decoder_).size(); ++layer) {
    const Piece piece = [this, &parameters, shared, dropout, encoder, layer, rope](
                            const at::Tensor& x, const at::Tensor& memory, const at::Tensor& bias) {
      return through({parameters, *shared, dropout}, {encoder, layer}, x, memory, bias, rope);
    };
    const std::size_t unit = kFirstBlockUnit + (encoder ? layer : encoder_.size() + layer);
    x_btd = in_unit(options.units, unit, [&] {
      return blueprint_.model.activation_checkpointing
                 ? recompute(piece, x_btd, memory_bud, bias_htu)
                 : piece(x_btd, memory_bud, bias_htu);
    });
  }
  return x_btd;
}

at::Tensor Network::hidden(const Pass& pass, const Example& example) const {
  if (pass.options.units != nullptr) pass.options.units->before_forward(0);
  at::Tensor memory_bud;
  if (!encoder_.empty()) {
    require(example.encoder_bs.defined(), "tokens for the encoder");
    memory_bud = stack(pass.parameters, pass.options, /*encoder=*/true,
                       embedded(pass, example.encoder_bs, kEncoder + kEmbeddingDropout), {});
    if (encoder_norm_) memory_bud = (*encoder_norm_)(pass, memory_bud);
  }
  return stack(pass.parameters, pass.options, /*encoder=*/false,
               embedded(pass, example.inputs_bt, kEmbeddingDropout), memory_bud);
}

at::Tensor Network::features(const Pass& pass, at::Tensor x_btd) const {
  if (final_norm_) x_btd = (*final_norm_)(pass, x_btd);
  return blueprint_.output_scale == 1 ? x_btd : x_btd * blueprint_.output_scale;
}

Network::Head Network::head(const Pass& pass) const {
  return {pass[head_ ? *head_ : embedding_],
          head_bias_ ? std::optional(pass[*head_bias_]) : std::nullopt};
}

at::Tensor Network::logits(const Parameters& parameters, const Example& example,
                           const PassOptions& options) const {
  const Pass pass{parameters, options, blueprint_.model.dropout};
  const at::Tensor x_btd = hidden(pass, example);
  return in_unit(options.units, kFirstBlockUnit + n_blocks(), [&] {
    const auto [weights, bias] = head(pass);
    return ops::linear(features(pass, x_btd), weights, bias, options.precision);
  });
}

at::Tensor Network::logits(const Parameters& parameters, const at::Tensor& tokens_bt) const {
  return logits(parameters, {tokens_bt, {}, {}});
}

at::Tensor Network::loss_sum(const Parameters& parameters, const Example& example,
                             const PassOptions& options) const {
  const Pass pass{parameters, options, blueprint_.model.dropout};
  const at::Tensor x_btd = hidden(pass, example);
  return in_unit(options.units, kFirstBlockUnit + n_blocks(), [&] {
    const auto [weights, bias] = head(pass);
    return ops::linear_cross_entropy_sum(features(pass, x_btd).flatten(0, 1), weights, bias,
                                         example.targets_bt.reshape({-1}), options.label_smoothing,
                                         options.precision);
  });
}

std::size_t Network::n_blocks() const {
  return encoder_.size() + decoder_.size();
}

Alphas Network::alphas(const Parameters& parameters, const Example& example,
                       const PassOptions& options) const {
  Alphas alphas = options.alphas ? *options.alphas : alphas_;
  const std::string& policy = blueprint_.gate.policy;
  if (policy == "entropy" || policy == "confidence") {
    const std::vector<double> unknown(n_blocks(), std::numeric_limits<double>::quiet_NaN());
    alphas = {unknown, unknown};
    PassOptions seen = options;
    seen.dropout = std::nullopt;
    seen.token_alphas = &alphas;
    const at::NoGradGuard no_grad;
    (void)logits(parameters, example, seen);
    return alphas;
  }
  const auto learned = [&](double& alpha, const std::optional<std::size_t>& index) {
    if (index) alpha = at::sigmoid(parameters[*index].detach().to(at::kDouble)).item<double>();
  };
  for (std::size_t i = 0; i < n_blocks(); ++i) {
    if (policy == "learnable" && options.units != nullptr) {
      options.units->before_forward(kFirstBlockUnit + i);
    }
    const Block& block = i < encoder_.size() ? encoder_[i] : decoder_[i - encoder_.size()];
    if (block.mlp) learned(alphas.mlp[i], block.mlp->learned_alpha());
    if (block.mixer) learned(alphas.mlp[i], block.mixer->learned_alpha());
    if (block.attention) learned(alphas.attention[i], block.attention->learned_alpha());
    if (policy == "learnable" && options.units != nullptr) {
      options.units->after_forward(kFirstBlockUnit + i);
    }
  }
  return alphas;
}

double Network::forward_flops(std::int64_t n_targets, std::int64_t n_encoder) const {
  const auto t = static_cast<double>(n_targets);
  const auto s = static_cast<double>(n_encoder);
  const auto of_block = [](const Block& block, double n, double visible, double u) {
    if (block.mixer) return n * static_cast<double>(block.mixer->flops());
    double sum = block.attention->flops(n, n, visible);
    if (block.cross) sum += block.cross->flops(n, u, u);
    return sum + n * static_cast<double>(block.mlp->flops());
  };
  double sum = 2 * t * static_cast<double>(vocabulary_ * blueprint_.model.d_model);
  for (const Block& block : encoder_) sum += of_block(block, s, s, 0);
  const double visible = blueprint_.model.causal ? (t + 1) / 2 : t;
  for (const Block& block : decoder_) sum += of_block(block, t, visible, s);
  return sum;
}

}  // namespace pg::model
