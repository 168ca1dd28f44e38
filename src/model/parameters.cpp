#include "model/parameters.hpp"

#include <cmath>
#include <numeric>
#include <span>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/random.hpp"

namespace pg::model {
namespace {

void fill(at::Tensor values, const ParameterSpec& spec, std::uint64_t seed) {
  const random::Stream stream(seed, random::Purpose::initial_weight, random::name_hash(spec.name));
  // Filled in double and rounded once, so that a float32 and a float64 model start alike.
  at::Tensor filled = at::empty({values.numel()}, at::kDouble);
  double* out = filled.data_ptr<double>();
  for (std::int64_t i = 0; i < filled.numel(); ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    switch (spec.init.kind) {
      case Init::Kind::ones: out[i] = 1; break;
      case Init::Kind::zeros: out[i] = 0; break;
      case Init::Kind::constant: out[i] = spec.init.scale; break;
      case Init::Kind::normal: out[i] = spec.init.scale * stream.normal(index); break;
      case Init::Kind::uniform: out[i] = spec.init.scale * (2 * stream.uniform(index) - 1); break;
    }
  }
  values.copy_(filled);
}

}  // namespace

Init Init::linear(std::int64_t n_in) {
  return {Kind::uniform, 1 / std::sqrt(static_cast<double>(n_in))};
}

std::int64_t ParameterSpec::n_elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

ParameterSet::ParameterSet(std::vector<ParameterSpec> specs, std::uint64_t seed,
                           at::ScalarType type, at::Device device)
    : specs_(std::move(specs)) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : specs_) total += spec.n_elements();
  values_ = at::empty({total}, at::TensorOptions(type).device(device));
  gradients_ = at::zeros_like(values_);
  std::int64_t offset = 0;
  for (const ParameterSpec& spec : specs_) {
    const std::int64_t count = spec.n_elements();
    fill(values_.narrow(0, offset, count), spec, seed);
    at::Tensor leaf = values_.narrow(0, offset, count).view(spec.shape).detach();
    leaf.set_requires_grad(true);
    // With the gradient already there, autograd accumulates into it in place, so every gradient
    // lands in the flat buffer without a copy.
    leaf.mutable_grad() = gradients_.narrow(0, offset, count).view(spec.shape);
    leaves_.push_back(leaf);
    offset += count;
  }
}

std::size_t ParameterSet::index(const std::string& name) const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].name == name) return i;
  }
  throw InternalError({"there is no parameter '" + name + "'", "", ""});
}

std::string ParameterSet::hash() const {
  return tensor_hash(values_);
}

std::string tensor_hash(const at::Tensor& tensor) {
  require(tensor.is_contiguous(), "a contiguous tensor");
  const at::Tensor host = tensor.cpu();
  Sha256 hash;
  hash.add(std::span(static_cast<const std::byte*>(host.data_ptr()), host.nbytes()));
  return hash.hex();
}

}  // namespace pg::model
