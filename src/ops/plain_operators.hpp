#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace pg::ops {

/// Counts, while it lives, what this thread computes by a plain ATen implementation because a
/// shape, a type or a device has no fast one. Of several alive the last one made counts. Not on a
/// backward pass, which takes the path of the forward pass.
class PlainOperators {
 public:
  PlainOperators();
  ~PlainOperators();
  PlainOperators(const PlainOperators&) = delete;
  PlainOperators& operator=(const PlainOperators&) = delete;

  /// "gate 8; linear 24": calls by the operator's name; empty if there were none.
  [[nodiscard]] std::string text() const;

 private:
  friend void count_plain(const char* name);
  std::map<std::string, std::int64_t> calls_;
  PlainOperators* outer_;
};

/// One call of the operator `name`; by ops, and by whoever composes an operator of its own.
void count_plain(const char* name);

}  // namespace pg::ops
