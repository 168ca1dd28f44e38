#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <utility>
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
  /// Enters matrix products alone, as Parameters::operand(): all of it is rounded first where they
  /// are taken in half precision.
  bool is_operand = false;
  [[nodiscard]] std::int64_t n_elements() const;
};

/// Elements [begin, begin + count) of a parameter are at [offset, offset + count) of a flat buffer.
struct Slice {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t offset = 0;
};

/// The parameters of one model. Each is an autograd leaf of its full shape, there at least while
/// the part of the network that uses it runs; what this rank keeps of their values between passes
/// is one flat buffer of slices.
class Parameters {
 public:
  virtual ~Parameters() = default;
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// Position of a name in the list; throws InternalError for an unknown one.
  [[nodiscard]] std::size_t index(const std::string& name) const;
  [[nodiscard]] const at::Tensor& operator[](std::size_t i) const { return leaves_[i]; }
  /// Parameter i as a matrix product takes it: where it is_operand and these parameters were made
  /// for a half precision, rounded to that once for all passes; its gradient goes to the leaf.
  [[nodiscard]] at::Tensor operand(std::size_t i) const;
  /// Parameter i for a second use: a leaf of its own with the same values and the same gradient, so
  /// that what comes from either use is added as it comes. Of one leaf autograd would keep what
  /// comes first, as large as the parameter, until the other has come.
  [[nodiscard]] at::Tensor again(std::size_t i) const;
  [[nodiscard]] const std::vector<ParameterSpec>& specs() const { return specs_; }
  [[nodiscard]] std::int64_t n_parameters() const;

  /// Flat: what this rank keeps. Whoever changes it says so: values_changed().
  [[nodiscard]] at::Tensor& values() { return values_; }
  [[nodiscard]] const at::Tensor& values() const { return values_; }
  /// Of each parameter, where it is in values(), or in another buffer laid out alike.
  [[nodiscard]] const std::vector<Slice>& slices() const { return slices_; }
  virtual void values_changed() {}

  /// A whole parameter out of `flat`, laid out like values(); of its shape. Collective over the
  /// ranks that share it.
  [[nodiscard]] virtual at::Tensor whole(std::size_t i, const at::Tensor& flat) const = 0;
  /// Puts `rows`, to begin at row `first_row` of parameter i, into values(): what this rank keeps
  /// of them. values_changed() is the caller's.
  void set_rows(std::size_t i, std::int64_t first_row, const at::Tensor& rows);

  /// SHA-256 over the bytes of all values, in order. Collective, like whole().
  [[nodiscard]] std::string hash() const;

 protected:
  Parameters(std::vector<ParameterSpec> specs, at::ScalarType operand_type)
      : specs_(std::move(specs)), operand_type_(operand_type) {}
  /// Whether parameter i has a rounded form.
  [[nodiscard]] bool is_rounded(std::size_t i) const {
    return specs_[i].is_operand && operand_type_ != at::kFloat;
  }
  /// Allocates values() for slices_ and fills it from `seed`.
  void make_values(std::uint64_t seed, const at::TensorOptions& options);

  std::vector<ParameterSpec> specs_;
  at::ScalarType operand_type_;  ///< float32: as the leaves are
  std::vector<Slice> slices_;
  at::Tensor values_;
  std::vector<at::Tensor> leaves_;
  std::vector<at::Tensor> rounded_;  ///< of its full shape, where is_rounded()
};

/// All parameters in one flat buffer, with their gradients in another. The leaves share the
/// buffers' memory: backward() adds into gradients(), and every change of values() is seen.
class ParameterSet final : public Parameters {
 public:
  /// Allocates and fills the values from `seed`; gradients start at zero. With an `operand_type`
  /// other than float32 every operand has a second form, which follows values_changed().
  ParameterSet(std::vector<ParameterSpec> specs, std::uint64_t seed,
               at::ScalarType type = at::kFloat, at::Device device = at::kCPU,
               at::ScalarType operand_type = at::kFloat);

  /// (n_parameters), in the order of the specs.
  [[nodiscard]] at::Tensor& gradients() { return gradients_; }
  /// Of this rank alone.
  [[nodiscard]] at::Tensor whole(std::size_t i, const at::Tensor& flat) const override;
  void values_changed() override;

 private:
  at::Tensor gradients_;
};

/// SHA-256 over the bytes of a contiguous tensor; from any device.
std::string tensor_hash(const at::Tensor& tensor);

}  // namespace pg::model
