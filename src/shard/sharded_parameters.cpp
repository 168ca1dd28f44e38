#include "shard/sharded_parameters.hpp"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

namespace pg::shard {
namespace {

std::span<float> span_of(const at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<std::size_t>(flat.numel())};
}

}  // namespace

struct ShardedParameters::Unit {
  std::vector<std::size_t> members;
  UnitLayout layout;    ///< of gradients
  UnitLayout gathered;  ///< of values
  std::int64_t first;   ///< where this rank's shard begins in values()
  std::int64_t count;
  HollowTensor values;
  HollowTensor gradients;
  // Collectives under way, with their buffers.
  std::unique_ptr<comm::Exchange::Pending> gathering = nullptr;
  at::Tensor gather_wire = {};
  std::unique_ptr<comm::Exchange::Pending> reducing = nullptr;
  at::Tensor reduce_wire = {};
};

ShardedParameters::ShardedParameters(std::vector<model::ParameterSpec> specs,
                                     const std::vector<std::vector<std::size_t>>& units,
                                     std::uint64_t seed, const Group& group,
                                     const config::ShardSettings& settings, at::Device device,
                                     at::ScalarType operand_type)
    : Parameters(std::move(specs), operand_type),
      group_(group),
      part_(static_cast<std::size_t>(comm::owner_of_part(group.rank, group.degree))),
      settings_(settings) {
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  slices_.resize(specs_.size());
  leaves_.resize(specs_.size());
  rounded_.resize(specs_.size());
  const auto operands = operand_type == at::kFloat ? UnitLayout::Operands::full_precision
                                                   : UnitLayout::Operands::half_precision;
  std::int64_t offset = 0;
  for (const std::vector<std::size_t>& members : units) {
    UnitLayout layout(specs_, members, group.degree);
    UnitLayout gathered(specs_, members, group.degree, operands);
    const std::int64_t first = offset;
    HollowTensor values(gathered.n_words(), device);
    HollowTensor gradients(layout.n_words(), device);
    for (std::size_t m = 0; m < members.size(); ++m) {
      const std::size_t i = members[m];
      const auto view = [&](const at::Tensor& words, const UnitLayout& where) {
        const auto [is_half, full] = where.places()[m];
        return elements(words, is_half, full, specs_[i].n_elements()).view(specs_[i].shape);
      };
      const at::Tensor whole = view(values.flat(), gathered);
      if (is_rounded(i)) {
        rounded_[i] = whole;
        leaves_[i] =
            at::full({1}, std::numeric_limits<float>::quiet_NaN(), options).expand(specs_[i].shape);
      } else {
        leaves_[i] = whole.detach();
      }
      leaves_[i].set_requires_grad(true);
      leaves_[i].mutable_grad() = view(gradients.flat(), layout);  // autograd adds in place
      const Rows rows = rows_of(specs_[i], group.rank, group.degree);
      slices_[i] = {rows.begin, rows.count, offset};
      offset += rows.count;
    }
    units_.push_back({members, std::move(layout), std::move(gathered), first, offset - first,
                      std::move(values), std::move(gradients)});
  }
  make_values(seed, options);
  gradient_ = at::empty_like(values_);
}

ShardedParameters::~ShardedParameters() = default;

at::Tensor ShardedParameters::elements(const at::Tensor& words, bool is_half, std::int64_t begin,
                                       std::int64_t count) const {
  return (is_half ? words.view(operand_type_) : words).narrow(0, begin, count);
}

at::Tensor ShardedParameters::floats(std::int64_t n) const {
  return at::empty({n}, values_.options());
}

void ShardedParameters::start_gather(Unit& unit) {
  if (unit.values.is_there() || unit.gathering) return;
  unit.gather_wire = floats(unit.gathered.n_words());
  for (const UnitLayout::Piece& piece : unit.gathered.pieces()) {
    if (piece.owner != group_.rank) continue;
    const model::Slice& mine = slices_[unit.members[piece.parameter]];
    elements(unit.gather_wire, piece.is_half, piece.wire, piece.count)
        .copy_(values_.narrow(0, mine.offset, mine.count));
  }
  unit.gathering = group_.exchange.all_gather(span_of(unit.gather_wire), unit.gathered.bounds());
}

void ShardedParameters::gather(Unit& unit) {
  if (unit.values.is_there()) return;
  start_gather(unit);
  std::exchange(unit.gathering, nullptr)->wait();
  unit.values.fill_with(floats(unit.gathered.n_words()));
  for (const UnitLayout::Piece& piece : unit.gathered.pieces()) {
    elements(unit.values.writable(), piece.is_half, piece.full, piece.count)
        .copy_(elements(unit.gather_wire, piece.is_half, piece.wire, piece.count));
  }
  unit.gather_wire.reset();
}

void ShardedParameters::release(Unit& unit) {
  if (unit.gathering) {
    std::exchange(unit.gathering, nullptr)->wait();
    unit.gather_wire.reset();
  }
  if (unit.values.is_there()) unit.values.empty();
}

void ShardedParameters::make_gradients(Unit& unit) {
  if (unit.gradients.is_there()) return;
  unit.gradients.fill_with(floats(unit.layout.n_words()));
  unit.gradients.writable().zero_();
}

void ShardedParameters::start_reduction(Unit& unit) {
  unit.reduce_wire = floats(unit.layout.n_words());
  for (const UnitLayout::Piece& piece : unit.layout.pieces()) {
    unit.reduce_wire.narrow(0, piece.wire, piece.count)
        .copy_(unit.gradients.writable().narrow(0, piece.full, piece.count));
  }
  unit.gradients.empty();
  unit.reducing = group_.exchange.reduce_scatter(span_of(unit.reduce_wire), unit.layout.bounds(),
                                                 n_present_, group_.order);
  if (settings_.prefetch == 0) finish_reduction(unit);
}

void ShardedParameters::finish_reduction(Unit& unit) {
  if (!unit.reducing) return;
  std::exchange(unit.reducing, nullptr)->wait();
  const auto mine = static_cast<std::int64_t>(unit.layout.bounds()[part_]);
  gradient_.narrow(0, unit.first, unit.count).copy_(unit.reduce_wire.narrow(0, mine, unit.count));
  unit.reduce_wire.reset();
}

void ShardedParameters::before_forward(std::size_t unit) {
  group_.exchange.progress();
  gather(units_[unit]);
  const auto last =
      std::min(unit + static_cast<std::size_t>(settings_.prefetch), units_.size() - 1);
  for (std::size_t next = unit + 1; next <= last; ++next) start_gather(units_[next]);
}

void ShardedParameters::after_forward(std::size_t unit) {
  group_.exchange.progress();
  // The backward pass begins with the last unit, at once.
  if (settings_.reshard_after_forward && unit + 1 < units_.size()) release(units_[unit]);
}

/// When the backward pass comes to a unit it has left all that come after it: nodes run in the
/// reverse order of their making as soon as they can, and whatever a later unit made was made
/// later.
void ShardedParameters::finish_units_after(std::size_t unit) {
  const auto in_flight = static_cast<std::size_t>(std::max<std::int64_t>(1, settings_.prefetch));
  for (std::size_t u = units_.size() - 1; u > unit; --u) {
    if (!units_[u].gradients.is_there()) continue;
    for (std::size_t older = u + in_flight; older < units_.size(); ++older) {
      finish_reduction(units_[older]);
    }
    if (settings_.reshard_after_forward) release(units_[u]);
    start_reduction(units_[u]);
  }
}

void ShardedParameters::before_backward(std::size_t unit) {
  group_.exchange.progress();
  make_gradients(units_[0]);  // the embedding may be the head's matrix
  finish_units_after(unit);
  gather(units_[unit]);
  make_gradients(units_[unit]);
  for (std::int64_t k = 1; k <= settings_.prefetch && static_cast<std::size_t>(k) < unit; ++k) {
    start_gather(units_[unit - static_cast<std::size_t>(k)]);
  }
}

void ShardedParameters::begin_backward(int n_present) {
  n_present_ = n_present;
}

const at::Tensor& ShardedParameters::finish_backward() {
  finish_units_after(0);
  start_reduction(units_[0]);
  for (std::size_t u = units_.size(); u-- > 0;) finish_reduction(units_[u]);
  return gradient_;
}

void ShardedParameters::values_changed() {
  for (Unit& unit : units_) release(unit);
}

at::Tensor ShardedParameters::whole(std::size_t i, const at::Tensor& flat) const {
  const UnitLayout layout(specs_, {i}, group_.degree);
  const at::Tensor wire = at::empty({layout.n_words()}, flat.options());
  const model::Slice& slice = slices_[i];
  wire.narrow(0, static_cast<std::int64_t>(layout.bounds()[part_]), slice.count)
      .copy_(flat.narrow(0, slice.offset, slice.count));
  group_.exchange.all_gather(span_of(wire), layout.bounds())->wait();
  at::Tensor full = at::empty_like(wire);
  for (const UnitLayout::Piece& piece : layout.pieces()) {
    full.narrow(0, piece.full, piece.count).copy_(wire.narrow(0, piece.wire, piece.count));
  }
  return full.view(specs_[i].shape);
}

}  // namespace pg::shard
