#include "train/batch_gradient.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>
#include <utility>

#include "base/error.hpp"
#include "train/stopwatch.hpp"

namespace pg::train {
namespace {

/// Leaves of the perfect tree below a rank.
std::int64_t leaves_per_rank(std::int64_t n_chunks, int team_size) {
  const auto leaves =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n_chunks)));
  return std::max<std::int64_t>(1, leaves / team_size);
}

}  // namespace

ChunkRange chunks_of_rank(std::int64_t n_chunks, int rank, int team_size) {
  const std::int64_t width = leaves_per_rank(n_chunks, team_size);
  return {std::min(rank * width, n_chunks), std::min((rank + 1) * width, n_chunks)};
}

BatchGradient::BatchGradient(const comm::Communicator& team, std::int64_t n_chunks,
                             at::Tensor gradient, Order order)
    : team_(team),
      reduction_(team),
      gradient_(std::move(gradient)),
      order_(order),
      mine_(chunks_of_rank(n_chunks, team.rank(), team.size())) {
  const std::int64_t width = leaves_per_rank(n_chunks, team.size());
  n_present_ = static_cast<int>((n_chunks + width - 1) / width);
}

void BatchGradient::begin_chunk() {
  if (order_ == Order::tree || n_done_ == 0) gradient_.zero_();
}

void BatchGradient::end_chunk(double loss) {
  ++n_done_;
  loss_.add(loss);
  if (order_ == Order::tree) tree_.add(gradient_);
}

template <typename Messages>
void BatchGradient::send(const Messages& messages) {
  const Stopwatch watch(message_seconds_);
  messages();
}

at::Tensor BatchGradient::local_sum() {
  if (order_ == Order::tree) return n_done_ > 0 ? tree_.finish() : gradient_;
  if (n_done_ == 0) gradient_.zero_();  // a plain sum adds this rank's nothing, too
  return gradient_;
}

BatchGradient::Sum BatchGradient::finish(const Votes& votes) {
  require(n_done_ == mine_.last - mine_.first, "every chunk of this rank once");
  const Stopwatch watch(finish_seconds_);
  const at::Tensor total = local_sum();
  // Messages and exact sums want host memory; on the CPU this is the buffer itself.
  const at::Tensor host = total.cpu();
  const std::span<float> values(host.data_ptr<float>(), static_cast<std::size_t>(host.numel()));
  ExactSum squares;
  if (order_ == Order::tree) {
    comm::TreeReduction::Part part{};
    send([&] { part = reduction_.reduce_scatter(values, n_present_); });
    squares.add_squares(values.subspan(part.first, part.last - part.first));
  } else {
    send([&] { team_.all_reduce_any_order(values); });
    if (team_.rank() == 0) squares.add_squares(values);
  }
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
  send([&] {
    team_.all_reduce(words);
    if (order_ == Order::tree) reduction_.all_gather(values);
  });
  if (!host.is_same(total)) total.copy_(host);
  n_done_ = 0;
  loss_ = ExactSum();
  const std::span<const std::int64_t> all(words);
  const auto sum_at = [&](std::size_t offset) {
    return ExactSum::from_words(
               std::span<const std::int64_t, ExactSum::kWords>(&all[offset], ExactSum::kWords))
        .value();
  };
  return {total,
          sum_at(0),
          std::sqrt(sum_at(ExactSum::kWords)),
          {words[kVotes], words[kVotes + 1], words[kVotes + 2]}};
}

}  // namespace pg::train
