// comm: ranks and what passes between them. Nothing outside this folder includes mpi.h or nccl.h.
// May know base only; its second library, pg_nccl (PG_NCCL=ON), also LibTorch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pg::comm {

/// The ranks that act together: all of them, or a team. Cheap to hold by reference; made by Session
/// and Teams only. Every method but the accessors is collective over these ranks and over no other.
class Communicator {
 public:
  struct Handle;
  explicit Communicator(std::unique_ptr<Handle> handle);
  /// One rank by itself; works without MPI.
  static Communicator alone();
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] const Handle& handle() const { return *handle_; }

  /// Rank 0's text, on every rank.
  [[nodiscard]] std::string broadcast(const std::string& text) const;
  /// Every rank's text in rank order, on every rank.
  [[nodiscard]] std::vector<std::string> all_gather(const std::string& text) const;
  /// Element r of every rank's list reaches rank r: what each rank sent here, in rank order.
  [[nodiscard]] std::vector<std::string> all_to_all(const std::vector<std::string>& texts) const;
  /// Sums in place, word by word, on every rank: integers, so exact in any order.
  void all_reduce(std::span<std::int64_t> words) const;
  /// The ranks that give the same color, in the order they have here. Collective.
  [[nodiscard]] std::unique_ptr<Communicator> split(int color) const;
  /// Returns when every rank has come here. Sleeps between looks, because ranks may outnumber cores
  /// and wait long; `meanwhile` is called between looks.
  void wait_for_all(const std::function<void()>& meanwhile) const;

 private:
  Communicator();

  std::unique_ptr<Handle> handle_;
  int rank_ = 0;
  int size_ = 1;
};

/// A communicator for every team that this rank can be in: each aligned block of 2^k neighbours.
/// All are made at once, while every rank is there, so that later a team forms and dissolves
/// without a word to anyone else.
class Teams {
 public:
  /// Collective over `world`, which must outlive the teams.
  explicit Teams(const Communicator& world);
  ~Teams();
  Teams(const Teams&) = delete;
  Teams& operator=(const Teams&) = delete;

  /// The team of `size` ranks that this rank belongs to. Throws InternalError where there is none:
  /// `size` is no power of two, or the block reaches beyond the last rank.
  [[nodiscard]] const Communicator& of_size(int size) const;
  /// The largest team that any rank can be in: the largest power of two up to the number of ranks.
  [[nodiscard]] static int largest(int n_ranks);

 private:
  std::vector<std::unique_ptr<Communicator>> by_level_;  ///< of 2^level ranks; null: incomplete
};

}  // namespace pg::comm
