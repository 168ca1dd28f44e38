#include "ops/plain_operators.hpp"

#include <fmt/format.h>

namespace pg::ops {
namespace {

thread_local PlainOperators* innermost = nullptr;  // as LibTorch keeps its modes

}  // namespace

PlainOperators::PlainOperators() : outer_(innermost) {
  innermost = this;
}

PlainOperators::~PlainOperators() {
  innermost = outer_;
}

std::string PlainOperators::text() const {
  std::string text;
  for (const auto& [name, count] : calls_) {
    text += fmt::format("{}{} {}", text.empty() ? "" : "; ", name, count);
  }
  return text;
}

void count_plain(const char* name) {
  if (innermost != nullptr) ++innermost->calls_[name];
}

}  // namespace pg::ops
