#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "base/exact_sum.hpp"
#include "comm/communicator.hpp"
#include "comm/tree_reduction.hpp"
#include "train/chunk_tree.hpp"

namespace pg::train {

/// Chunks [first, last) of a batch.
struct ChunkRange {
  std::int64_t first;
  std::int64_t last;
};

/// The chunks that a rank of a team computes: an aligned sub-tree of the tree over all `n_chunks`;
/// empty for a rank to the right of the last chunk.
ChunkRange chunks_of_rank(std::int64_t n_chunks, int rank, int team_size);

/// Sums the chunks of a batch over a team: gradients in the shape of the tree over the chunk index,
/// losses and the gradient's norm exactly, so that the bits are the same on 1, 2, 4, … ranks
/// (promise P1). One object a trial; its buffers are used again in every step.
class BatchGradient {
 public:
  enum class Order {
    tree,  ///< `reproducible: strict`
    any,   ///< `reproducible: fast`: a plain sum on each rank, then the MPI library's all-reduce
  };

  /// `gradient` is the flat buffer (n) that a backward pass adds into; any device. The team must
  /// outlive this.
  BatchGradient(const comm::Communicator& team, std::int64_t n_chunks, at::Tensor gradient,
                Order order);

  [[nodiscard]] ChunkRange my_chunks() const { return mine_; }
  /// Before each backward pass, and after it with the chunk's sum of losses. Only this rank's
  /// chunks, in order.
  void begin_chunk();
  void end_chunk(double loss);

  /// What ranks agree on in passing: of one rank 0 or 1 each, in the sum how many ranks said so.
  struct Votes {
    std::int64_t stop = 0;     ///< end at this step
    std::int64_t save = 0;     ///< write a generation after this step
    std::int64_t written = 0;  ///< this rank's share of the last generation is on disk
  };
  struct Sum {
    at::Tensor gradient;  ///< (n) on the device; owned here, valid until the next begin_chunk()
    double loss;
    double norm;  ///< Euclidean
    Votes votes;
  };
  /// The sum over all chunks of all ranks. Collective over the team.
  Sum finish(const Votes& votes);

  /// Seconds that finish() has taken since the start: messages, and the rest.
  [[nodiscard]] double message_seconds() const { return message_seconds_; }
  [[nodiscard]] double sum_seconds() const { return finish_seconds_ - message_seconds_; }

 private:
  at::Tensor local_sum();
  template <typename Messages>
  void send(const Messages& messages);

  const comm::Communicator& team_;
  comm::TreeReduction reduction_;
  at::Tensor gradient_;
  Order order_;
  ChunkRange mine_;
  int n_present_;  ///< ranks that have chunks
  ChunkTree tree_;
  ExactSum loss_;
  std::int64_t n_done_ = 0;  ///< chunks since the last finish()
  double finish_seconds_ = 0;
  double message_seconds_ = 0;
};

}  // namespace pg::train
