#include "model/blueprint.hpp"

#include <cmath>
#include <utility>

namespace pg::model {

std::size_t SpecList::add(std::string name, std::vector<std::int64_t> shape, Init init,
                          bool decays) {
  specs_.push_back({std::move(name), std::move(shape), init, decays});
  return specs_.size() - 1;
}

std::size_t SpecList::add_operand(std::string name, std::vector<std::int64_t> shape, Init init) {
  const std::size_t i = add(std::move(name), std::move(shape), init);
  specs_[i].is_operand = true;
  return i;
}

Norm::Norm(SpecList& specs, const std::string& name, std::int64_t width, Kind kind, double eps)
    : scale_(specs.add(name, {width}, Init::ones())), eps_(eps) {
  if (kind == Kind::layer) bias_ = specs.add(name + "_bias", {width}, Init::zeros());
}

at::Tensor Norm::operator()(const Pass& pass, const at::Tensor& x) const {
  return bias_ ? ops::layer_norm(x, pass[scale_], pass[*bias_], eps_)
               : ops::rms_norm(x, pass[scale_], eps_);
}

Blueprint Blueprint::of(const config::ModelSettings& model, const config::GateSettings& gate) {
  Blueprint b{.model = model, .gate = gate};
  const auto d = static_cast<double>(model.d_model);
  b.attention_scale = 1 / std::sqrt(static_cast<double>(model.head_size()));
  const std::string& arch = model.arch;
  if (arch == "gpt" || arch == "vaswani" || arch == "resnet_bk") {
    b.norm = Norm::Kind::layer;
    b.has_biases = true;
  }
  if (arch == "t5") {
    // The 1 / sqrt(d_head) of the scores is in the initial weights of q (Raffel et al., 2020).
    b.attention_scale = 1;
    b.splits_query = true;
    if (model.tied_embeddings) b.output_scale = 1 / std::sqrt(d);
  }
  if (arch == "vaswani") {  // Vaswani et al., 2017
    b.norm_first = false;
    b.embedding_scale = std::sqrt(d);
  }
  b.head_has_bias = arch == "resnet_bk";
  return b;
}

Init Blueprint::matrix(std::int64_t n_out, std::int64_t n_in, Role role) const {
  const auto fan_in = static_cast<double>(n_in);
  if (model.arch == "gpt") {
    // What is added to the residual stream starts smaller, so that the sum of all 2 n_layers
    // branches has the variance of one matrix, however deep the network (GPT-2, section 2.3).
    const double branches = 2 * static_cast<double>(model.n_layers);
    return Init::normal(role == Role::branch_end ? model.init_std / std::sqrt(branches)
                                                 : model.init_std);
  }
  if (model.arch == "llama") return Init::normal(model.init_std);
  if (model.arch == "t5") {
    const double scale = role == Role::query ? static_cast<double>(model.head_size()) : 1;
    return Init::normal(1 / std::sqrt(fan_in * scale));
  }
  if (model.arch == "vaswani") {  // Glorot & Bengio, 2010
    return Init::uniform(std::sqrt(6 / (fan_in + static_cast<double>(n_out))));
  }
  return Init::linear(n_in);
}

std::optional<Init> Blueprint::bias(std::int64_t n_in) const {
  if (!has_biases) return std::nullopt;
  return model.arch == "resnet_bk" ? Init::linear(n_in) : Init::zeros();
}

Init Blueprint::embedding() const {
  if (model.arch == "t5" || model.arch == "resnet_bk") return Init::normal(1);
  if (model.arch == "vaswani") {
    return Init::normal(1 / std::sqrt(static_cast<double>(model.d_model)));
  }
  return Init::normal(model.init_std);
}

Init Blueprint::positions() const {
  return Init::normal(model.arch == "resnet_bk" ? 1 : model.init_std);
}

Init Blueprint::head() const {
  if (model.arch == "resnet_bk") return Init::linear(model.d_model);
  if (model.arch == "t5" || model.arch == "vaswani") {
    return Init::normal(1 / std::sqrt(static_cast<double>(model.d_model)));
  }
  return Init::normal(model.init_std);
}

Norm Blueprint::make_norm(SpecList& specs, const std::string& name) const {
  return {specs, name, model.d_model, norm, model.norm_eps};
}

}  // namespace pg::model
