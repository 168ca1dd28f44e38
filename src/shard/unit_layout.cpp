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
                       const std::vector<std::size_t>& parameters, int degree, Operands operands)
    : places_(parameters.size()) {
  std::int64_t full = 0;
  for (const bool is_half : {false, true}) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const model::ParameterSpec& spec = specs[parameters[i]];
      if ((spec.is_operand && operands == Operands::half_precision) != is_half) continue;
      places_[i] = {is_half, full};
      full += spec.n_elements();
    }
    if (!is_half) full *= 2;
  }
  std::int64_t words = 0;
  bounds_ = {0};
  for (int part = 0; part < degree; ++part) {
    const int owner = comm::owner_of_part(part, degree);
    std::int64_t wire = words;
    for (const bool is_half : {false, true}) {
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const Rows rows = rows_of(specs[parameters[i]], owner, degree);
        if (places_[i].is_half != is_half || rows.count == 0) continue;
        pieces_.push_back({i, owner, is_half, places_[i].full + rows.begin, wire, rows.count});
        wire += rows.count;
      }
      if (!is_half) wire *= 2;
    }
    words = (wire + 1) / 2;
    bounds_.push_back(static_cast<std::size_t>(words));
  }
}

}  // namespace pg::shard
