#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.hpp"

namespace pg::comm {

/// Collectives on buffers of floats that all ranks of a team lay out alike: part k of the buffer is
/// [bounds[k], bounds[k + 1]) and belongs to the rank owner_of_part(k). Parts may be empty. Each
/// call starts the collective and returns; it is over when wait() of what it returned returns, and
/// until then the buffer belongs to it. Every rank starts the same collectives in the same order,
/// and several may be under way. One face for MPI (host memory) and NCCL (memory of the device).
class Exchange {
 public:
  class Pending {
   public:
    virtual ~Pending() = default;
    /// On a device: until then in the order of the stream that computes, not on the host.
    virtual void wait() = 0;
  };
  enum class Order {
    tree,  ///< sums in the shape of the perfect binary tree over the ranks (promise P1)
    any,   ///< as the library likes (`reproducible: fast`)
  };

  virtual ~Exchange() = default;

  /// In: this rank's part. Out: every part, bit for bit: the words need not be numbers.
  [[nodiscard]] virtual std::unique_ptr<Pending> all_gather(std::span<float> values,
                                                            std::vector<std::size_t> bounds) = 0;
  /// In: this rank's summand; ranks from `n_present` (at least 1) on have none, and their values
  /// are ignored, not added as zeros. Out: the sum in this rank's part, anything elsewhere.
  [[nodiscard]] virtual std::unique_ptr<Pending> reduce_scatter(std::span<float> values,
                                                                std::vector<std::size_t> bounds,
                                                                int n_present, Order order) = 0;
  /// Gives what is under way a chance to go on where nothing else does; cheap.
  virtual void progress() = 0;
};

/// The rank that part k of a buffer belongs to: k with its bits in reverse, which is where halving
/// from near to far leaves them. Its own inverse. `size` must be a power of two.
int owner_of_part(int part, int size);

/// Bounds of `size` parts as equal as can be.
std::vector<std::size_t> equal_bounds(std::size_t n, int size);

/// Over MPI, on host memory. Strict sums: recursive halving, nearest neighbours first, because that
/// is the order of the tree: log2(p) messages and (p - 1) / p of the bytes a rank (Rabenseifner,
/// 2004, has it from far to near). The team must outlive it; its size must be a power of two.
std::unique_ptr<Exchange> make_mpi_exchange(const Communicator& team);

}  // namespace pg::comm
