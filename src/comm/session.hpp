#pragma once

#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "comm/flight_recorder.hpp"

namespace pg::comm {

/// MPI from start to end; one per program. Also works without mpirun, as one rank.
class Session {
 public:
  /// Throws InvalidInput when the launch contradicts itself: one rank inside an allocation or a
  /// launcher of several means that the launcher and this MPI library do not know each other.
  Session();
  /// Ends MPI. Collective; not reached in the error path, which calls abort().
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  [[nodiscard]] const Communicator& world() const { return *world_; }
  /// What this rank is doing; its communicators write their collectives there.
  [[nodiscard]] FlightRecorder& recorder() { return *recorder_; }
  /// "Open MPI v4.1.4, ..." in one line.
  [[nodiscard]] static std::string library();
  /// Ends every rank at once with `code`; no collective, safe in an error path.
  [[noreturn]] static void abort(int code);

 private:
  std::unique_ptr<FlightRecorder> recorder_;
  std::unique_ptr<Communicator> world_;
};

/// What the environment of a process of a one-rank world says against it, in words; empty when
/// there is nothing. `get` looks up an environment variable (null: not set).
std::string lone_rank_contradiction(const char* (*get)(const char* name));

}  // namespace pg::comm
