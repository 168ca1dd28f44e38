#include "shard/unit_layout.hpp"

#include <algorithm>
#include <utility>

namespace pg::shard {

Rows rows_of(const model::ParameterSpec& spec, int part, int degree) {
  const std::int64_t rows = spec.shape.empty() ? 1 : spec.shape.front();
  if (rows == 0) return {0, 0};
  const std::int64_t width = spec.n_elements() / rows;
  const std::int64_t each = (rows + degree - 1) / degree;
  const std::int64_t first = std::min(part * each, rows);
  const std::int64_t last = std::min(first + each, rows);
  return {first * width, (last - first) * width};
}

bool is_large(const model::ParameterSpec& spec) {
  // 64 KiB in float32: a copy of that takes as long as a message is under way.
  return spec.n_elements() >= 1 << 14;
}

namespace {

/// Whether every part of it in half precision is whole words.
bool ends_with_words(const model::ParameterSpec& spec, int degree) {
  for (int part = 0; part < degree; ++part) {
    if (rows_of(spec, part, degree).count % 2 != 0) return false;
  }
  return true;
}

}  // namespace

UnitLayout::UnitLayout(const std::vector<model::ParameterSpec>& specs,
                       const std::vector<std::size_t>& parameters, int degree, Operands operands)
    : places_(parameters.size()) {
  std::vector<Member> floats;
  std::vector<Member> halves;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::ParameterSpec& spec = specs[parameters[i]];
    const bool is_half = spec.is_operand && operands == Operands::half_precision;
    places_[i].is_half = is_half;
    if (is_large(spec) && (!is_half || ends_with_words(spec, degree))) {
      add_in_place({i, &spec}, degree);
    } else {
      (is_half ? halves : floats).push_back({i, &spec});
    }
  }
  if (!floats.empty() || !halves.empty()) add_packed(floats, halves, degree);
}

void UnitLayout::add_in_place(const Member& member, int degree) {
  Place& place = places_[member.i];
  const std::int64_t in_word = place.is_half ? 2 : 1;
  place.full = in_word * n_words_;
  Run run{/*is_packed=*/false, n_words_, {0}};
  for (int part = 0; part < degree; ++part) {
    const auto [begin, count] = rows_of(*member.spec, part, degree);
    run.bounds.push_back(run.bounds.back() + static_cast<std::size_t>(count / in_word));
    const std::int64_t at = place.full + begin;
    if (count == 0) continue;
    pieces_.push_back({member.i, part, place.is_half, /*is_packed=*/false, at, at, count});
  }
  constexpr std::int64_t kLine = 16;  // words: the next one begins on a cache line
  n_words_ += (static_cast<std::int64_t>(run.bounds.back()) + kLine - 1) / kLine * kLine;
  runs_.push_back(std::move(run));
}

void UnitLayout::add_packed(const std::vector<Member>& floats, const std::vector<Member>& halves,
                            int degree) {
  const auto place = [&](const std::vector<Member>& members, std::int64_t& end) {
    for (const Member& member : members) {
      places_[member.i].full = end;
      end += member.spec->n_elements();
    }
  };
  place(floats, n_words_);
  std::int64_t end = 2 * n_words_;
  place(halves, end);
  n_words_ = (end + 1) / 2;

  Run run{/*is_packed=*/true, 0, {0}};
  for (int part = 0; part < degree; ++part) {
    const auto pack = [&](const std::vector<Member>& members, std::int64_t& at) {
      for (const auto& [i, spec] : members) {
        const auto [begin, count] = rows_of(*spec, part, degree);
        if (count == 0) continue;
        const auto [is_half, full] = places_[i];
        pieces_.push_back({i, part, is_half, /*is_packed=*/true, full + begin, at, count});
        at += count;
      }
    };
    pack(floats, n_packed_words_);
    std::int64_t at = 2 * n_packed_words_;
    pack(halves, at);
    n_packed_words_ = (at + 1) / 2;
    run.bounds.push_back(static_cast<std::size_t>(n_packed_words_));
  }
  runs_.push_back(std::move(run));
}

}  // namespace pg::shard
