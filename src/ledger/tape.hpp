#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace pg::ledger {

/// Bytes of a number.
inline constexpr std::int64_t kHalf = 2;
inline constexpr std::int64_t kFloat = 4;
inline constexpr std::int64_t kDouble = 8;

/// What the memory of a pass is for.
enum class Use { activations, logits };
using BytesByUse = std::array<std::int64_t, 2>;

/// Counts the bytes that are in use and remembers the moment with the most.
class Meter {
 public:
  void add(Use use, std::int64_t bytes);
  [[nodiscard]] const BytesByUse& fullest() const { return fullest_; }

 private:
  BytesByUse now_{};
  BytesByUse fullest_{};
  std::int64_t total_ = 0;
  std::int64_t most_ = 0;
};

/// Memory that counts for as long as somebody holds it, as a tensor's storage does.
class Block {
 public:
  Block(Meter& meter, Use use, std::int64_t bytes);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }

 private:
  Meter& meter_;
  Use use_;
  std::int64_t bytes_;
};
using Memory = std::shared_ptr<const Block>;

/// One operation of a graph: what its backward pass does with memory. What it keeps is held by the
/// function, and let go when that has run.
struct Node {
  std::vector<std::shared_ptr<Node>> inputs;  ///< null where no gradient is wanted
  /// From the memory of the output's gradient, that of each input's.
  std::function<std::vector<Memory>(const Memory&)> backward;
  Use use = Use::activations;  ///< of what the backward pass allocates
  std::size_t order = 0;
};

/// A float32 tensor without elements.
struct Value {
  std::int64_t n = 0;  ///< elements
  Memory memory;
  std::shared_ptr<Node> node;  ///< that made it; null for a leaf or without a graph
};

/// autograd without numbers: allocates, keeps and frees what the library would, in its order (the
/// node that was made last runs first; gradients that meet are added into new memory).
class Tape {
 public:
  explicit Tape(Meter& meter) : meter_(meter) {}

  [[nodiscard]] Memory bytes(std::int64_t n) const;
  /// Of n float32 elements.
  [[nodiscard]] Memory floats(std::int64_t n) const { return bytes(kFloat * n); }
  [[nodiscard]] Value leaf(std::int64_t n) const { return {n, floats(n), nullptr}; }

  /// `output`, made from `inputs` by an operation with this backward pass; without a graph the
  /// function and what it holds are dropped.
  [[nodiscard]] Value made(std::int64_t n, Memory output, const std::vector<Value>& inputs,
                           std::function<std::vector<Memory>(const Memory&)> backward);

  /// A leaf that shares the memory of `value` and whose gradient goes to `gradient`.
  [[nodiscard]] Value input(const Value& value, std::shared_ptr<Memory> gradient);

  /// Runs the graph of `output` backwards, from the gradient of the output.
  void run_backward(const Value& output, Memory gradient);

  /// What is allocated from now on, and in the backward pass of what is made from now on.
  void set_use(Use use) { use_ = use; }
  [[nodiscard]] Use use() const { return use_; }
  void set_graph(bool graph) { graph_ = graph; }
  [[nodiscard]] bool graph() const { return graph_; }

 private:
  Meter& meter_;
  Use use_ = Use::activations;
  bool graph_ = true;
  std::size_t n_nodes_ = 0;
};

}  // namespace pg::ledger
