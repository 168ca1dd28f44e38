#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pg::model {

/// How a tensor starts. Every element is a function of (seed, tensor name, element) alone.
struct Init {
  enum class Kind { ones, zeros, constant, normal, uniform };
  Kind kind = Kind::ones;
  double scale = 1;  ///< the constant, standard deviation, or half width of the uniform interval

  static Init ones() { return {}; }
  static Init zeros() { return {Kind::zeros, 0}; }
  static Init constant(double value) { return {Kind::constant, value}; }
  static Init uniform(double half_width) { return {Kind::uniform, half_width}; }
  static Init normal(double std) { return {Kind::normal, std}; }
  /// U(-1/sqrt(n_in), 1/sqrt(n_in)): what torch.nn.Linear does by default.
  static Init linear(std::int64_t n_in);
};

struct ParameterSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  Init init;
  bool decays = true;  ///< whether weight decay may act on it at all
  [[nodiscard]] std::int64_t n_elements() const;
};

/// The parameters of one model in one flat buffer, with their gradients in another. The named
/// tensors are autograd leaves that share the buffers' memory: backward() adds into gradients().
class ParameterSet {
 public:
  /// Allocates and fills the values from `seed`; gradients start at zero.
  ParameterSet(std::vector<ParameterSpec> specs, std::uint64_t seed,
               at::ScalarType type = at::kFloat, at::Device device = at::kCPU);

  /// Position of a name in the list; throws InternalError for an unknown one.
  [[nodiscard]] std::size_t index(const std::string& name) const;
  [[nodiscard]] const at::Tensor& operator[](std::size_t i) const { return leaves_[i]; }
  [[nodiscard]] const std::vector<ParameterSpec>& specs() const { return specs_; }
  [[nodiscard]] std::int64_t n_parameters() const { return values_.numel(); }

  /// (n_parameters) each; the set owns the memory, and the leaves see every change.
  [[nodiscard]] at::Tensor& values() { return values_; }
  [[nodiscard]] const at::Tensor& values() const { return values_; }
  [[nodiscard]] at::Tensor& gradients() { return gradients_; }

  /// SHA-256 over the bytes of all values, in order.
  [[nodiscard]] std::string hash() const;

 private:
  std::vector<ParameterSpec> specs_;
  at::Tensor values_;
  at::Tensor gradients_;
  std::vector<at::Tensor> leaves_;
};

/// SHA-256 over the bytes of a contiguous tensor; from any device.
std::string tensor_hash(const at::Tensor& tensor);

}  // namespace pg::model
