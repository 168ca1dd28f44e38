#include "model/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/random.hpp"

namespace pg::model {
namespace {

/// `values`: of the parameter, from its element `begin` on.
void fill(at::Tensor values, const ParameterSpec& spec, std::int64_t begin, std::uint64_t seed) {
  const random::Stream stream(seed, random::Purpose::initial_weight, random::name_hash(spec.name));
  // Filled in double and rounded once, so that a float32 and a float64 model start alike.
  at::Tensor filled = at::empty({values.numel()}, at::kDouble);
  double* out = filled.data_ptr<double>();
  for (std::int64_t i = 0; i < filled.numel(); ++i) {
    const auto index = static_cast<std::uint64_t>(begin + i);
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

std::size_t Parameters::index(const std::string& name) const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].name == name) return i;
  }
  throw InternalError({"there is no parameter '" + name + "'", "", ""});
}

std::int64_t Parameters::n_parameters() const {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : specs_) total += spec.n_elements();
  return total;
}

void Parameters::make_values(std::uint64_t seed, const at::TensorOptions& options) {
  std::int64_t total = 0;
  for (const Slice& slice : slices_) total += slice.count;
  values_ = at::empty({total}, options);
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const Slice& slice = slices_[i];
    fill(values_.narrow(0, slice.offset, slice.count), specs_[i], slice.begin, seed);
  }
}

void Parameters::set_rows(std::size_t i, std::int64_t first_row, const at::Tensor& rows) {
  const at::NoGradGuard no_grad;
  const std::int64_t row = rows.numel() / std::max<std::int64_t>(1, rows.size(0));
  const Slice& slice = slices_[i];
  const std::int64_t first = std::max(first_row * row, slice.begin);
  const std::int64_t last = std::min(first_row * row + rows.numel(), slice.begin + slice.count);
  if (first >= last) return;
  values_.narrow(0, slice.offset + first - slice.begin, last - first)
      .copy_(rows.reshape({-1}).narrow(0, first - first_row * row, last - first));
}

std::string Parameters::hash() const {
  Sha256 hash;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const at::Tensor host = whole(i, values_).cpu();
    hash.add(std::span(static_cast<const std::byte*>(host.data_ptr()), host.nbytes()));
  }
  return hash.hex();
}

ParameterSet::ParameterSet(std::vector<ParameterSpec> specs, std::uint64_t seed,
                           at::ScalarType type, at::Device device)
    : Parameters(std::move(specs)) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : specs_) {
    slices_.push_back({0, spec.n_elements(), total});
    total += spec.n_elements();
  }
  make_values(seed, at::TensorOptions(type).device(device));
  gradients_ = at::zeros_like(values_);
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    at::Tensor leaf = whole(i, values_).detach();
    leaf.set_requires_grad(true);
    // With the gradient already there, autograd accumulates into it in place, so every gradient
    // lands in the flat buffer without a copy.
    leaf.mutable_grad() = whole(i, gradients_);
    leaves_.push_back(leaf);
  }
}

at::Tensor ParameterSet::whole(std::size_t i, const at::Tensor& flat) const {
  return flat.narrow(0, slices_[i].offset, slices_[i].count).view(specs_[i].shape);
}

std::string tensor_hash(const at::Tensor& tensor) {
  require(tensor.is_contiguous(), "a contiguous tensor");
  const at::Tensor host = tensor.cpu();
  Sha256 hash;
  hash.add(std::span(static_cast<const std::byte*>(host.data_ptr()), host.nbytes()));
  return hash.hex();
}

}  // namespace pg::model
