#include <mpi.h>

#include <algorithm>
#include <bit>
#include <exception>
#include <limits>
#include <list>
#include <map>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "comm/exchange.hpp"
#include "comm/exchange_plan.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {
namespace {

constexpr int kMostTags = 1 << 14;  // MPI promises 32,767

/// Memory for what arrives, kept from one collective to the next.
class BufferPool {
 public:
  struct Buffer {
    std::unique_ptr<float[]> memory;
    std::size_t size = 0;
  };
  /// The smallest that is long enough: a shorter collective leaves the longest ones to others.
  Buffer take(std::size_t n) {
    const auto fits = free_.lower_bound(n);
    if (fits == free_.end()) return {std::unique_ptr<float[]>(new float[n]), n};
    Buffer buffer{std::move(fits->second), fits->first};
    free_.erase(fits);
    return buffer;
  }
  void give_back(Buffer buffer) {
    if (buffer.size > 0) free_.emplace(buffer.size, std::move(buffer.memory));
  }

 private:
  std::multimap<std::size_t, std::unique_ptr<float[]>> free_;  ///< by size
};

/// A collective under way: messages, and what follows when they have come.
class Operation {
 public:
  Operation(const char* what, std::span<float> values) : name(what), values_(values) {}
  virtual ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// Goes as far as it can without waiting. True when it is over.
  bool advance() {
    while (!is_over_) {
      int all = 1;
      if (!requests_.empty()) {
        check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all,
                              MPI_STATUSES_IGNORE),
                  "MPI_Testall");
      }
      if (all == 0) return false;
      requests_.clear();
      is_over_ = !next();
    }
    return true;
  }
  [[nodiscard]] std::size_t bytes() const { return values_.size_bytes(); }

  const char* const name;
  int partner = -1;  ///< of the team, that the messages under way are with; -1: all

 protected:
  /// When all messages have come: uses them and sends the next; false if there are no more.
  virtual bool next() = 0;

  std::span<float> values_;
  std::vector<MPI_Request> requests_;

 private:
  bool is_over_ = false;
};

class AllGather final : public Operation {
 public:
  AllGather(MPI_Comm by_part, int size, std::span<float> values,
            const std::vector<std::size_t>& bounds)
      : Operation("all_gather", values) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(size); ++k) {
      counts_.push_back(static_cast<int>(bounds[k + 1] - bounds[k]));
      offsets_.push_back(static_cast<int>(bounds[k]));
    }
    if (size == 1) return;
    requests_.resize(1);
    check_mpi(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values_.data(), counts_.data(),
                              offsets_.data(), MPI_FLOAT, by_part, requests_.data()),
              "MPI_Iallgatherv");
  }

 private:
  bool next() override { return false; }

  std::vector<int> counts_;
  std::vector<int> offsets_;
};

/// The library's own, whose result must go elsewhere than into the summands.
class ReduceScatterAnyOrder final : public Operation {
 public:
  ReduceScatterAnyOrder(MPI_Comm by_part, int size, std::size_t part, std::span<float> values,
                        const std::vector<std::size_t>& bounds, bool is_present, BufferPool& pool)
      : Operation("reduce_scatter_any_order", values), pool_(pool) {
    mine_ = values_.subspan(bounds[part], bounds[part + 1] - bounds[part]);
    if (size == 1) return;
    if (!is_present) std::fill(values_.begin(), values_.end(), 0.0F);
    for (std::size_t k = 0; k < static_cast<std::size_t>(size); ++k) {
      counts_.push_back(static_cast<int>(bounds[k + 1] - bounds[k]));
    }
    sum_ = pool_.take(mine_.size());
    requests_.resize(1);
    check_mpi(MPI_Ireduce_scatter(values_.data(), sum_.memory.get(), counts_.data(), MPI_FLOAT,
                                  MPI_SUM, by_part, requests_.data()),
              "MPI_Ireduce_scatter");
  }

 private:
  bool next() override {
    if (sum_.memory) std::copy_n(sum_.memory.get(), mine_.size(), mine_.data());
    pool_.give_back(std::exchange(sum_, {}));
    return false;
  }

  BufferPool& pool_;
  std::span<float> mine_;
  std::vector<int> counts_;
  BufferPool::Buffer sum_;
};

/// Recursive halving from near to far: see tree_steps().
class ReduceScatterTree final : public Operation {
 public:
  ReduceScatterTree(MPI_Comm by_part, int size, std::span<float> values,
                    std::vector<TreeStep> steps, int tag, BufferPool& pool)
      : Operation("reduce_scatter_tree", values),
        by_part_(by_part),
        size_(size),
        steps_(std::move(steps)),
        tag_(tag),
        pool_(pool) {}

 private:
  using Join = TreeStep::Join;

  bool next() override {
    if (n_begun_ > 0) add_received(steps_[n_begun_ - 1]);
    if (n_begun_ == steps_.size()) return false;
    const TreeStep& step = steps_[n_begun_++];
    partner = step.partner;
    const int to = owner_of_part(partner, size_);
    if (step.join != Join::keep) {
      const auto kept = part(step.kept);
      if (step.join != Join::take) received_ = pool_.take(kept.size());
      float* const into = step.join == Join::take ? kept.data() : received_.memory.get();
      check_mpi(MPI_Irecv(into, static_cast<int>(kept.size()), MPI_FLOAT, to, tag_, by_part_,
                          &requests_.emplace_back()),
                "MPI_Irecv");
    }
    if (!step.sent.empty()) {
      const auto sent = part(step.sent);
      check_mpi(MPI_Isend(sent.data(), static_cast<int>(sent.size()), MPI_FLOAT, to, tag_, by_part_,
                          &requests_.emplace_back()),
                "MPI_Isend");
    }
    return true;
  }

  [[nodiscard]] std::span<float> part(const Range& range) const {
    return values_.subspan(range.first, range.count());
  }

  void add_received(const TreeStep& step) {
    if (step.join == Join::keep || step.join == Join::take) return;
    const float* const other = received_.memory.get();
    const auto kept = part(step.kept);
    if (step.join == Join::received_plus_mine) {
      for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = other[i] + kept[i];
    } else {
      for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = kept[i] + other[i];
    }
    pool_.give_back(std::exchange(received_, {}));
  }

  MPI_Comm by_part_;
  int size_;
  std::vector<TreeStep> steps_;
  int tag_;
  BufferPool& pool_;
  std::size_t n_begun_ = 0;  ///< steps
  BufferPool::Buffer received_;
};

class MpiExchange final : public Exchange {
 public:
  explicit MpiExchange(const Communicator& team) : team_(team) {
    require(std::has_single_bit(static_cast<unsigned>(team.size())), "a team of 2^k ranks");
    part_ = owner_of_part(team.rank(), team.size());
    if (team.size() == 1) return;
    // Messages of its own, between ranks in the order of their parts.
    check_mpi(MPI_Comm_split(team.handle().mpi, 0, part_, &by_part_), "MPI_Comm_split");
  }
  ~MpiExchange() override {
    // Freeing is collective: not in the error path.
    if (by_part_ != MPI_COMM_NULL && std::uncaught_exceptions() == 0) MPI_Comm_free(&by_part_);
  }
  MpiExchange(const MpiExchange&) = delete;
  MpiExchange& operator=(const MpiExchange&) = delete;

  std::unique_ptr<Pending> all_gather(std::span<float> values,
                                      std::vector<std::size_t> bounds) override {
    check(values, bounds);
    return start(std::make_shared<AllGather>(by_part_, team_.size(), values, bounds));
  }

  std::unique_ptr<Pending> reduce_scatter(std::span<float> values, std::vector<std::size_t> bounds,
                                          int n_present, Order order) override {
    check(values, bounds);
    require(n_present >= 1 && n_present <= team_.size(), "a sum over at least one rank");
    if (order == Order::any) {
      return start(std::make_shared<ReduceScatterAnyOrder>(
          by_part_, team_.size(), static_cast<std::size_t>(part_), values, bounds,
          team_.rank() < n_present, pool_));
    }
    tag_ = (tag_ + 1) % kMostTags;
    return start(std::make_shared<ReduceScatterTree>(
        by_part_, team_.size(), values, tree_steps(team_.rank(), team_.size(), bounds, n_present),
        tag_, pool_));
  }

  void progress() override {
    under_way_.remove_if([](const auto& operation) { return operation->advance(); });
  }

 private:
  class Waiting final : public Pending {
   public:
    Waiting(MpiExchange& exchange, std::shared_ptr<Operation> operation)
        : exchange_(exchange), operation_(std::move(operation)) {}

    void wait() override {
      if (operation_->advance()) return;
      const Communicator& team = exchange_.team_;
      const Recorded recorded(team, operation_->name, operation_->bytes());
      for (int told = -1; !operation_->advance();) {
        if (operation_->partner != told) team.handle().waits_for(told = operation_->partner);
        // The others may wait for a later step of another one.
        exchange_.progress();
        std::this_thread::yield();
      }
    }

   private:
    MpiExchange& exchange_;
    std::shared_ptr<Operation> operation_;
  };

  void check(std::span<float> values, const std::vector<std::size_t>& bounds) const {
    require(bounds.size() == static_cast<std::size_t>(team_.size()) + 1 && bounds.front() == 0 &&
                bounds.back() == values.size() && std::is_sorted(bounds.begin(), bounds.end()),
            "the bounds of one part for each rank");
    require(values.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
            "a message that MPI can count");
  }

  std::unique_ptr<Pending> start(std::shared_ptr<Operation> operation) {
    if (!operation->advance()) under_way_.push_back(operation);
    return std::make_unique<Waiting>(*this, std::move(operation));
  }

  const Communicator& team_;
  MPI_Comm by_part_ = MPI_COMM_NULL;
  int part_;
  int tag_ = 0;
  BufferPool pool_;
  std::list<std::shared_ptr<Operation>> under_way_;
};

}  // namespace

int owner_of_part(int part, int size) {
  int rank = 0;
  for (int bit = 1; bit < size; bit *= 2, part /= 2) rank = 2 * rank + part % 2;
  return rank;
}

std::vector<std::size_t> equal_bounds(std::size_t n, int size) {
  std::vector<std::size_t> bounds;
  for (std::size_t k = 0; k <= static_cast<std::size_t>(size); ++k) {
    bounds.push_back(n * k / static_cast<std::size_t>(size));
  }
  return bounds;
}

std::unique_ptr<Exchange> make_mpi_exchange(const Communicator& team) {
  return std::make_unique<MpiExchange>(team);
}

}  // namespace pg::comm
