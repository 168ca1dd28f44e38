// comm: ranks and what passes between them. MPI today; nothing outside this folder includes mpi.h.
// May know base only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pg::comm {

/// The ranks that act together. Cheap to hold by reference; made by Session only.
class Communicator {
 public:
  struct Handle;
  explicit Communicator(std::unique_ptr<Handle> handle);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] const Handle& handle() const { return *handle_; }

  /// Rank 0's text, on every rank. Collective.
  [[nodiscard]] std::string broadcast(const std::string& text) const;
  /// Every rank's text in rank order, on every rank. Collective.
  [[nodiscard]] std::vector<std::string> all_gather(const std::string& text) const;
  /// Returns when every rank has come here. Collective. Sleeps between looks, because ranks may
  /// outnumber cores and wait long; `meanwhile` is called between looks.
  void wait_for_all(const std::function<void()>& meanwhile) const;

 private:
  std::unique_ptr<Handle> handle_;
  int rank_ = 0;
  int size_ = 1;
};

/// MPI from start to end; one per program. Also works without mpirun, as one rank.
class Session {
 public:
  /// Throws InvalidInput when the launch contradicts itself: one rank inside an allocation of
  /// several tasks means that the launcher and this MPI library do not know each other.
  Session();
  /// Ends MPI. Collective; not reached in the error path, which calls abort().
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  [[nodiscard]] const Communicator& world() const { return *world_; }
  /// "Open MPI v4.1.4, ..." in one line.
  [[nodiscard]] static std::string library();
  /// Ends every rank at once with `code`; no collective, safe in an error path.
  [[noreturn]] static void abort(int code);

 private:
  std::unique_ptr<Communicator> world_;
};

/// What one rank is doing, as the others can see it.
struct RankStatus {
  std::int64_t job = -1;  ///< ticket being worked on; -1: none
  std::int64_t step = 0;
  std::int64_t steps = 0;
  std::int64_t tokens_done = 0;  ///< by this rank since the board was made, as the next three
  std::int64_t n_finished = 0;
  std::int64_t n_diverged = 0;
  std::int64_t n_failed = 0;
};

/// A queue of tickets 0, 1, 2, … and a board of rank statuses, both in memory of rank 0 that every
/// rank reaches by one-sided operations: no rank serves the others, none has to answer.
/// Where the network has no remote atomics, rank 0 must enter MPI now and then: every call here
/// does.
class TicketBoard {
 public:
  /// Collective over `communicator`, which must outlive the board.
  explicit TicketBoard(const Communicator& communicator);
  /// Collective.
  ~TicketBoard();
  TicketBoard(const TicketBoard&) = delete;
  TicketBoard& operator=(const TicketBoard&) = delete;

  /// Lets this rank answer for its memory; cheap, for the inner loop. Without it the others wait
  /// for rank 0 where the network has no remote atomics.
  void progress();
  /// The next ticket: each number goes to exactly one caller.
  std::int64_t take();
  void post(const RankStatus& status);
  /// Raises the stop flag for every rank; it is never lowered.
  void request_stop();
  [[nodiscard]] bool stop_requested();
  [[nodiscard]] std::vector<RankStatus> statuses();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pg::comm
