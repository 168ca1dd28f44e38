#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/exact_sum.hpp"
#include "comm/communicator.hpp"
#include "comm/exchange.hpp"
#include "shard/sharded_parameters.hpp"
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
  virtual ~BatchGradient() = default;
  BatchGradient(const BatchGradient&) = delete;
  BatchGradient& operator=(const BatchGradient&) = delete;

  /// A pass that this rank makes in every step.
  struct Turn {
    std::int64_t chunk;
    bool counts;    ///< else it is made because others need this rank in their messages
    int n_present;  ///< ranks that share the parameters and whose turn counts
  };
  /// Of one step, in order.
  [[nodiscard]] const std::vector<Turn>& turns() const { return turns_; }
  /// Before the passes of a turn, and after them with the chunk's sum of losses.
  virtual void begin_chunk(const Turn& turn) = 0;
  void end_chunk(const Turn& turn, double loss);

  /// What ranks agree on in passing: of one rank 0 or 1 each, in the sum how many ranks said so.
  struct Votes {
    std::int64_t stop = 0;     ///< end at this step
    std::int64_t save = 0;     ///< write a generation after this step
    std::int64_t written = 0;  ///< this rank's share of the last generation is on disk
  };
  struct Sum {
    at::Tensor gradient;  ///< flat, of the parameters that this rank keeps; valid until the next
                          ///< begin_chunk()
    double loss;
    double norm;  ///< Euclidean, of the whole gradient
    Votes votes;
  };
  /// The sum over all chunks of all ranks. Collective over the team.
  Sum finish(const Votes& votes);

  /// Seconds that finish() has taken since the start: messages, and the rest.
  [[nodiscard]] double message_seconds() const { return message_seconds_; }
  [[nodiscard]] double sum_seconds() const { return finish_seconds_ - message_seconds_; }

 protected:
  /// The team must outlive this.
  BatchGradient(const comm::Communicator& team, comm::Exchange::Order order)
      : team_(team), order_(order) {}

  virtual void add_chunk(const Turn& turn) = 0;
  /// The sum over the chunks and the ranks; of the squares of its elements this rank's share.
  virtual at::Tensor reduce(ExactSum& squares) = 0;
  /// What comes after the agreement of all ranks: hands the sum round where everybody needs it.
  virtual void complete() {}
  template <typename Messages>
  void send(const Messages& messages);

  const comm::Communicator& team_;
  comm::Exchange::Order order_;
  std::vector<Turn> turns_;

 private:
  ExactSum loss_;
  std::size_t n_done_ = 0;  ///< turns since the last finish()
  double finish_seconds_ = 0;
  double message_seconds_ = 0;
};

/// Where every rank holds all parameters: it computes a sub-tree of chunks, and all ranks add what
/// they have. `gradient` is the flat buffer (n) that a backward pass adds into, on any device;
/// `exchange` is one of host memory over the team. Both must outlive the result.
std::unique_ptr<BatchGradient> replicated_gradient(const comm::Communicator& team,
                                                   comm::Exchange& exchange, std::int64_t n_chunks,
                                                   at::Tensor gradient,
                                                   comm::Exchange::Order order);

/// Where groups of `degree` neighbours share the parameters. A group computes a sub-tree of chunks,
/// its ranks neighbouring chunks at a time; what a group has then is added to that of the others
/// rank by rank. `across` (null with one group) is over the ranks of the same place in each group.
/// All must outlive the result.
std::unique_ptr<BatchGradient> sharded_gradient(const comm::Communicator& team, int degree,
                                                comm::Exchange* across, std::int64_t n_chunks,
                                                shard::ShardedParameters& parameters,
                                                comm::Exchange::Order order);

}  // namespace pg::train
