#include "shard/unit_layout.hpp"

#include <algorithm>

#include "comm/exchange.hpp"

namespace pg::shard {

Rows rows_of(const model::ParameterSpec& spec, int rank, int degree) {
  const std::int64_t rows = spec.shape.empty() ? 1 : spec.shape.front();
  if (rows == 0) return {0, 0};
  const std::int64_t width = spec.n_elements() / rows;
  const std::int64_t each = (rows + degree - 1) / degree;
  const std::int64_t first = std::min(rank * each, rows);
  const std::int64_t last = std::min(first + each, rows);
  return {first * width, (last - first) * width};
}

UnitLayout::UnitLayout(const std::vector<model::ParameterSpec>& specs,
                       const std::vector<std::size_t>& parameters, int degree) {
  std::int64_t full = 0;
  for (const std::size_t i : parameters) {
    offsets_.push_back(full);
    full += specs[i].n_elements();
  }
  std::int64_t wire = 0;
  bounds_ = {0};
  for (int part = 0; part < degree; ++part) {
    const int owner = comm::owner_of_part(part, degree);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Rows rows = rows_of(specs[parameters[i]], owner, degree);
      if (rows.count == 0) continue;
      pieces_.push_back({offsets_[i] + rows.begin, wire, rows.count});
      wire += rows.count;
    }
    bounds_.push_back(static_cast<std::size_t>(wire));
  }
}

}  // namespace pg::shard
