#include "checkpoint/content.hpp"

#include <functional>
#include <numeric>

#include "base/error.hpp"

namespace pg::checkpoint {

std::int64_t size_of(Type type) {
  switch (type) {
    case Type::bfloat16: return 2;
    case Type::float32: return 4;
    case Type::float64:
    case Type::int64: return 8;
  }
  return 0;
}

const char* name_of(Type type) {
  switch (type) {
    case Type::float32: return "float32";
    case Type::bfloat16: return "bfloat16";
    case Type::float64: return "float64";
    case Type::int64: return "int64";
  }
  return "";
}

std::int64_t ArraySpec::n_bytes() const {
  return std::accumulate(shape.begin(), shape.end(), size_of(type), std::multiplies<>());
}

std::size_t Content::index(const std::string& array) const {
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (arrays[i].name == array) return i;
  }
  throw_data("a generation without the array '" + array + "'",
             "one that a trial of the same model wrote", "check which trial the file belongs to");
}

}  // namespace pg::checkpoint
