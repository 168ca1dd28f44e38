#include "shard/sharded_parameters.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>

namespace pg::shard {

struct ShardedParameters::Exchanged {
  at::Tensor full;
  at::Tensor packed = {};
  std::vector<std::unique_ptr<comm::Exchange::Pending>> under_way = {};

  [[nodiscard]] std::span<float> words(const UnitLayout::Run& run) const {
    return {(run.is_packed ? packed : full).data_ptr<float>() + run.begin, run.bounds.back()};
  }
  void wait() {
    for (const auto& collective : under_way) collective->wait();
    under_way.clear();
  }
};

struct ShardedParameters::Unit {
  std::vector<std::size_t> members;
  UnitLayout layout;    ///< of gradients
  UnitLayout gathered;  ///< of values
  HollowTensor values;
  HollowTensor gradients;
  std::optional<Exchanged> gathering = {};
  std::optional<Exchanged> reducing = {};
};

ShardedParameters::ShardedParameters(std::vector<model::ParameterSpec> specs,
                                     const std::vector<std::vector<std::size_t>>& units,
                                     std::uint64_t seed, const Group& group,
                                     const config::ShardSettings& settings, at::Device device,
                                     at::ScalarType operand_type)
    : Parameters(std::move(specs), operand_type),
      group_(group),
      part_(comm::owner_of_part(group.rank, group.degree)),
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
      const Rows rows = rows_of(specs_[i], part_, group.degree);
      slices_[i] = {rows.begin, rows.count, offset};
      offset += rows.count;
    }
    units_.push_back(
        {members, std::move(layout), std::move(gathered), std::move(values), std::move(gradients)});
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

at::Tensor ShardedParameters::full(const Exchanged& buffers, const UnitLayout::Piece& piece) const {
  return elements(buffers.full, piece.is_half, piece.full, piece.count);
}

at::Tensor ShardedParameters::exchanged(const Exchanged& buffers,
                                        const UnitLayout::Piece& piece) const {
  return elements(piece.is_packed ? buffers.packed : buffers.full, piece.is_half, piece.exchanged,
                  piece.count);
}

void ShardedParameters::start_gather(const UnitLayout& layout,
                                     const std::vector<std::size_t>& members,
                                     const at::Tensor& flat, Exchanged& buffers) const {
  buffers.packed = floats(layout.n_packed_words());
  for (const UnitLayout::Piece& piece : layout.pieces()) {
    if (piece.part != part_) continue;
    const model::Slice& mine = slices_[members[piece.parameter]];
    exchanged(buffers, piece).copy_(flat.narrow(0, mine.offset, mine.count));
  }
  for (const UnitLayout::Run& run : layout.runs()) {
    buffers.under_way.push_back(group_.exchange.all_gather(buffers.words(run), run.bounds));
  }
}

void ShardedParameters::finish_gather(const UnitLayout& layout, Exchanged& buffers) const {
  buffers.wait();
  for (const UnitLayout::Piece& piece : layout.pieces()) {
    if (piece.is_packed) full(buffers, piece).copy_(exchanged(buffers, piece));
  }
}

void ShardedParameters::start_gather(Unit& unit) {
  if (unit.values.is_there()) return;
  unit.values.fill_with(floats(unit.gathered.n_words()));
  unit.gathering = Exchanged{.full = unit.values.writable()};
  start_gather(unit.gathered, unit.members, values_, *unit.gathering);
}

void ShardedParameters::gather(Unit& unit) {
  start_gather(unit);
  if (!unit.gathering) return;
  finish_gather(unit.gathered, *unit.gathering);
  unit.gathering.reset();
}

void ShardedParameters::release(Unit& unit) {
  if (unit.gathering) unit.gathering->wait();
  unit.gathering.reset();
  if (unit.values.is_there()) unit.values.take();
}

void ShardedParameters::make_gradients(Unit& unit) {
  if (unit.gradients.is_there()) return;
  unit.gradients.fill_with(floats(unit.layout.n_words()));
  unit.gradients.writable().zero_();
}

void ShardedParameters::start_reduction(Unit& unit) {
  Exchanged& buffers = unit.reducing.emplace(Exchanged{.full = unit.gradients.take()});
  buffers.packed = floats(unit.layout.n_packed_words());
  for (const UnitLayout::Piece& piece : unit.layout.pieces()) {
    if (piece.is_packed) exchanged(buffers, piece).copy_(full(buffers, piece));
  }
  for (const UnitLayout::Run& run : unit.layout.runs()) {
    buffers.under_way.push_back(
        group_.exchange.reduce_scatter(buffers.words(run), run.bounds, n_present_, group_.order));
  }
  if (settings_.prefetch == 0) finish_reduction(unit);
}

void ShardedParameters::finish_reduction(Unit& unit) {
  if (!unit.reducing) return;
  unit.reducing->wait();
  for (const UnitLayout::Piece& piece : unit.layout.pieces()) {
    if (piece.part != part_) continue;
    const model::Slice& mine = slices_[unit.members[piece.parameter]];
    gradient_.narrow(0, mine.offset, mine.count).copy_(exchanged(*unit.reducing, piece));
  }
  unit.reducing.reset();
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
  Exchanged buffers{.full = floats(layout.n_words())};
  start_gather(layout, {i}, flat, buffers);
  finish_gather(layout, buffers);
  return buffers.full.narrow(0, 0, specs_[i].n_elements()).view(specs_[i].shape);
}

}  // namespace pg::shard
