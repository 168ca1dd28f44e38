#include "model/parameters.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/parallel.hpp"
#include "base/random.hpp"
#include "ops/ops.hpp"

namespace pg::model {
namespace {

/// `values`: of the parameter, from its element `begin` on.
void fill(const at::Tensor& values, const ParameterSpec& spec, std::int64_t begin,
          std::uint64_t seed) {
  const random::Stream stream(seed, random::Purpose::initial_weight, random::name_hash(spec.name));
  const auto value_at = [&](std::uint64_t index) -> double {
    switch (spec.init.kind) {
      case Init::Kind::ones: return 1;
      case Init::Kind::zeros: return 0;
      case Init::Kind::constant: return spec.init.scale;
      case Init::Kind::normal: return spec.init.scale * stream.normal(index);
      case Init::Kind::uniform: return spec.init.scale * (2 * stream.uniform(index) - 1);
    }
    return 0;
  };
  // Filled in double and rounded once, so that a float32 and a float64 model start alike; in pieces
  // that take no memory to speak of. A normal number takes 70 ns: seconds for a model of a GPU.
  constexpr std::int64_t kPerThread = std::int64_t{1} << 16;
  constexpr int kMostThreads = 16;
  const int n_threads = std::min(n_processors(), kMostThreads);
  const std::int64_t most = kPerThread * n_threads;
  at::Tensor piece = at::empty({std::min(most, values.numel())}, at::kDouble);
  double* const out = piece.data_ptr<double>();
  for (std::int64_t first = 0; first < values.numel(); first += most) {
    const std::int64_t count = std::min(most, values.numel() - first);
    in_parallel(count, kPerThread / 2, n_threads, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t i = from; i < to; ++i) {
        out[i] = value_at(static_cast<std::uint64_t>(begin + first + i));
      }
    });
    values.narrow(0, first, count).copy_(piece.narrow(0, 0, count));
  }
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

at::Tensor Parameters::operand(std::size_t i) const {
  return is_rounded(i) ? ops::stand_in(leaves_[i], rounded_[i]) : leaves_[i];
}

at::Tensor Parameters::again(std::size_t i) const {
  at::Tensor leaf = leaves_[i].detach().set_requires_grad(true);
  leaf.mutable_grad() = leaves_[i].grad();
  return leaf;
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
                           at::ScalarType type, at::Device device, at::ScalarType operand_type)
    : Parameters(std::move(specs), operand_type) {
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
    rounded_.push_back(is_rounded(i)
                           ? at::empty(specs_[i].shape, values_.options().dtype(operand_type))
                           : at::Tensor());
  }
  values_changed();
}

void ParameterSet::values_changed() {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (is_rounded(i)) rounded_[i].copy_(whole(i, values_));
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
