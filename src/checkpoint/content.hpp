// checkpoint: generations: written aside by a team, verified, found again, read by any number of
// ranks. Knows named arrays of bytes, not models. May know comm and base only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pg::checkpoint {

/// Of an array's elements, little endian.
enum class Type { float32, bfloat16, float64, int64 };

std::int64_t size_of(Type type);
const char* name_of(Type type);

struct ArraySpec {
  std::string name;  ///< with groups: "moment1/blocks.0.qkv"
  Type type = Type::float32;
  std::vector<std::int64_t> shape;  ///< logical, row-major
  [[nodiscard]] std::int64_t n_bytes() const;
};

/// What a generation holds, but for the arrays' bytes.
struct Content {
  std::int64_t step = 0;                     ///< optimizer steps done
  std::map<std::string, std::string> texts;  ///< at most 64,000 bytes each, without a zero byte
  std::map<std::string, std::int64_t> integers;
  std::vector<ArraySpec> arrays;

  /// Position of an array; throws InvalidInput (data) naming it where there is none.
  [[nodiscard]] std::size_t index(const std::string& array) const;
};

}  // namespace pg::checkpoint
