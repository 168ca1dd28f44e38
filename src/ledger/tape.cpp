#include "ledger/tape.hpp"

#include <iterator>
#include <map>
#include <utility>

#include "base/error.hpp"

namespace pg::ledger {

void Meter::add(Use use, std::int64_t bytes) {
  now_[static_cast<std::size_t>(use)] += bytes;
  total_ += bytes;
  if (total_ <= most_) return;
  most_ = total_;
  fullest_ = now_;
}

Block::Block(Meter& meter, Use use, std::int64_t bytes) : meter_(meter), use_(use), bytes_(bytes) {
  meter_.add(use_, bytes_);
}

Block::~Block() {
  meter_.add(use_, -bytes_);
}

Memory Tape::bytes(std::int64_t n) const {
  return std::make_shared<const Block>(meter_, use_, n);
}

Value Tape::made(std::int64_t n, Memory output, const std::vector<Value>& inputs,
                 std::function<std::vector<Memory>(const Memory&)> backward) {
  if (!graph_) return {n, std::move(output), nullptr};
  const auto node = std::make_shared<Node>();
  for (const Value& input : inputs) node->inputs.push_back(input.node);
  node->backward = std::move(backward);
  node->use = use_;
  node->order = ++n_nodes_;
  return {n, std::move(output), node};
}

Value Tape::input(const Value& value, std::shared_ptr<Memory> gradient) {
  return made(value.n, value.memory, {}, [gradient](const Memory& dy) {
    *gradient = dy;
    return std::vector<Memory>();
  });
}

void Tape::run_backward(const Value& output, Memory gradient) {
  struct Ready {
    std::shared_ptr<Node> node;
    Memory gradient;
  };
  require(output.node != nullptr, "an output with a graph");
  std::map<std::size_t, Ready> ready;  // by order
  ready[output.node->order] = {output.node, std::move(gradient)};
  while (!ready.empty()) {
    Ready last = std::move(std::prev(ready.end())->second);
    ready.erase(std::prev(ready.end()));
    const Use before = std::exchange(use_, last.node->use);
    std::vector<Memory> gradients = last.node->backward(last.gradient);
    last.gradient.reset();
    last.node->backward = nullptr;
    require(gradients.size() == last.node->inputs.size(), "a gradient for every input");
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const std::shared_ptr<Node>& maker = last.node->inputs[i];
      Memory part = std::move(gradients[i]);
      if (maker == nullptr || part == nullptr) continue;
      Ready& next = ready[maker->order];
      next.node = maker;
      next.gradient = next.gradient == nullptr ? part : bytes(part->bytes());
    }
    use_ = before;
  }
}

}  // namespace pg::ledger
