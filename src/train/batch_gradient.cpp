#include "train/batch_gradient.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "ops/ops.hpp"
#include "train/stopwatch.hpp"

namespace pg::train {
namespace {

using Order = comm::Exchange::Order;

/// Leaves of the perfect tree below a rank.
std::int64_t leaves_per_rank(std::int64_t n_chunks, int team_size) {
  const auto leaves =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n_chunks)));
  return std::max<std::int64_t>(1, leaves / team_size);
}

/// Ranks of a team that have chunks.
int ranks_present(std::int64_t n_chunks, int team_size) {
  const std::int64_t width = leaves_per_rank(n_chunks, team_size);
  return static_cast<int>((n_chunks + width - 1) / width);
}

std::span<float> span_of(const at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<std::size_t>(flat.numel())};
}

/// This rank's part of equal parts.
std::span<float> my_part(std::span<float> values, const std::vector<std::size_t>& bounds, int rank,
                         int size) {
  const auto part = static_cast<std::size_t>(comm::owner_of_part(rank, size));
  return values.subspan(bounds[part], bounds[part + 1] - bounds[part]);
}

}  // namespace

ChunkRange chunks_of_rank(std::int64_t n_chunks, int rank, int team_size) {
  const std::int64_t width = leaves_per_rank(n_chunks, team_size);
  return {std::min(rank * width, n_chunks), std::min((rank + 1) * width, n_chunks)};
}

void BatchGradient::end_chunk(const Turn& turn, double loss) {
  ++n_done_;
  if (turn.counts) loss_.add(loss);
  add_chunk(turn);
}

template <typename Messages>
void BatchGradient::send(const Messages& messages) {
  const Stopwatch watch(message_seconds_);
  messages();
}

BatchGradient::Sum BatchGradient::finish(const Votes& votes) {
  require(n_done_ == turns_.size(), "every chunk of this rank once");
  const Stopwatch watch(finish_seconds_);
  ExactSum squares;
  at::Tensor gradient = reduce(squares);
  // Everything small of a step in one message: losses, norm, votes.
  constexpr std::size_t kVotes = 2 * ExactSum::kWords;
  std::array<std::int64_t, kVotes + 3> words{};
  const auto loss_words = loss_.words();
  const auto square_words = squares.words();
  std::copy(loss_words.begin(), loss_words.end(), words.begin());
  std::copy(square_words.begin(), square_words.end(), words.begin() + ExactSum::kWords);
  words[kVotes] = votes.stop;
  words[kVotes + 1] = votes.save;
  words[kVotes + 2] = votes.written;
  send([&] { team_.all_reduce(words); });
  complete();
  n_done_ = 0;
  loss_ = ExactSum();
  const std::span<const std::int64_t> all(words);
  const auto sum_at = [&](std::size_t offset) {
    return ExactSum::from_words(
               std::span<const std::int64_t, ExactSum::kWords>(&all[offset], ExactSum::kWords))
        .value();
  };
  return {std::move(gradient),
          sum_at(0),
          std::sqrt(sum_at(ExactSum::kWords)),
          {words[kVotes], words[kVotes + 1], words[kVotes + 2]}};
}

namespace {

class ReplicatedGradient final : public BatchGradient {
 public:
  ReplicatedGradient(const comm::Communicator& team, comm::Exchange& exchange,
                     std::int64_t n_chunks, at::Tensor gradient, Order order)
      : BatchGradient(team, order),
        exchange_(exchange),
        gradient_(std::move(gradient)),
        bounds_(comm::equal_bounds(static_cast<std::size_t>(gradient_.numel()), team.size())),
        n_present_(ranks_present(n_chunks, team.size())) {
    const ChunkRange mine = chunks_of_rank(n_chunks, team.rank(), team.size());
    for (std::int64_t i = mine.first; i < mine.last; ++i) turns_.push_back({i, true, 1});
  }

  void begin_chunk(const Turn& turn) override {
    if (order_ == Order::tree || turn.chunk == turns_.front().chunk) gradient_.zero_();
  }

 private:
  void add_chunk(const Turn& /*turn*/) override {
    if (uses_tree()) tree_.add(gradient_);
  }
  /// A single chunk is its own sum.
  [[nodiscard]] bool uses_tree() const { return order_ == Order::tree && turns_.size() > 1; }

  at::Tensor reduce(ExactSum& squares) override {
    total_ = uses_tree() ? tree_.finish() : gradient_;
    if (team_.size() == 1) {
      ops::add_squares(total_, squares);
      return total_;
    }
    // Messages want host memory; on the CPU this is the buffer itself.
    host_ = total_.cpu();
    const std::span<float> values = span_of(host_);
    send([&] { exchange_.reduce_scatter(values, bounds_, n_present_, order_)->wait(); });
    ops::add_squares(my_part(values, bounds_, team_.rank(), team_.size()), squares);
    return total_;
  }

  void complete() override {
    if (team_.size() == 1) return;
    send([&] { exchange_.all_gather(span_of(host_), bounds_)->wait(); });
    if (!host_.is_same(total_)) total_.copy_(host_);
  }

  comm::Exchange& exchange_;
  at::Tensor gradient_;
  std::vector<std::size_t> bounds_;
  int n_present_;
  ChunkTree tree_;
  at::Tensor total_;  ///< gradient_, or the tree's
  at::Tensor host_;
};

class ShardedGradient final : public BatchGradient {
 public:
  ShardedGradient(const comm::Communicator& team, int degree, comm::Exchange* across,
                  std::int64_t n_chunks, shard::ShardedParameters& parameters, Order order)
      : BatchGradient(team, order),
        parameters_(parameters),
        across_(across),
        n_groups_(team.size() / degree),
        group_(team.rank() / degree),
        n_groups_present_(ranks_present(n_chunks, n_groups_)),
        bounds_(
            comm::equal_bounds(static_cast<std::size_t>(parameters.values().numel()), n_groups_)) {
    const ChunkRange groups = chunks_of_rank(n_chunks, group_, n_groups_);
    for (std::int64_t first = groups.first; first < groups.last; first += degree) {
      const std::int64_t chunk = first + team.rank() % degree;
      const auto n_present = static_cast<int>(std::min<std::int64_t>(degree, groups.last - first));
      // A rank without a chunk makes the first one's passes.
      turns_.push_back({chunk < groups.last ? chunk : first, chunk < groups.last, n_present});
    }
  }

  void begin_chunk(const Turn& turn) override { parameters_.begin_backward(turn.n_present); }

 private:
  void add_chunk(const Turn& /*turn*/) override {
    total_ = parameters_.finish_backward();
    if (turns_.size() > 1) tree_.add(total_);
  }

  at::Tensor reduce(ExactSum& squares) override {
    // A group without a chunk has nothing: any buffer of the right length takes the sum.
    if (turns_.empty()) total_ = at::empty_like(parameters_.values());
    if (turns_.size() > 1) total_ = tree_.finish();
    if (across_ == nullptr) {
      ops::add_squares(total_, squares);
      return total_;
    }
    host_ = total_.cpu();
    const std::span<float> values = span_of(host_);
    send([&] { across_->reduce_scatter(values, bounds_, n_groups_present_, order_)->wait(); });
    ops::add_squares(my_part(values, bounds_, group_, n_groups_), squares);
    return total_;
  }

  void complete() override {
    if (across_ == nullptr) return;
    send([&] { across_->all_gather(span_of(host_), bounds_)->wait(); });
    if (!host_.is_same(total_)) total_.copy_(host_);
  }

  shard::ShardedParameters& parameters_;
  comm::Exchange* across_;
  int n_groups_;
  int group_;
  int n_groups_present_;
  std::vector<std::size_t> bounds_;
  ChunkTree tree_;
  at::Tensor total_;
  at::Tensor host_;
};

}  // namespace

std::unique_ptr<BatchGradient> replicated_gradient(const comm::Communicator& team,
                                                   comm::Exchange& exchange, std::int64_t n_chunks,
                                                   at::Tensor gradient, Order order) {
  return std::make_unique<ReplicatedGradient>(team, exchange, n_chunks, std::move(gradient), order);
}

std::unique_ptr<BatchGradient> sharded_gradient(const comm::Communicator& team, int degree,
                                                comm::Exchange* across, std::int64_t n_chunks,
                                                shard::ShardedParameters& parameters, Order order) {
  return std::make_unique<ShardedGradient>(team, degree, across, n_chunks, parameters, order);
}

}  // namespace pg::train
