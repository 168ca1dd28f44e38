#pragma once

#include <mpi.h>

#include <cstdint>
#include <optional>

#include "comm/communicator.hpp"
#include "comm/flight_recorder.hpp"

// Inside comm only: the MPI side of the handles that the other folders see as opaque.

namespace pg::comm {

struct Communicator::Handle {
  MPI_Comm mpi = MPI_COMM_NULL;
  bool owned = false;  ///< made here, so freed here
  FlightRecorder* recorder = nullptr;
  int first_rank = 0;  ///< of the world
  int size = 1;

  /// Tells the recorder, if there is one, that this rank waits for `rank` of this communicator.
  void waits_for(int rank) const {
    if (recorder != nullptr) recorder->waits_for(first_rank + rank);
  }
};

/// One collective in the recorder of a communicator, if it has one.
class Recorded {
 public:
  Recorded(const Communicator& communicator, const char* operation, std::size_t bytes) {
    const Communicator::Handle& handle = communicator.handle();
    if (handle.recorder == nullptr) return;
    scope_.emplace(*handle.recorder, operation, static_cast<std::int64_t>(bytes), handle.first_rank,
                   handle.size);
  }

 private:
  std::optional<CollectiveScope> scope_;
};

/// Throws IoError naming the call and MPI's words for the code.
void check_mpi(int code, const char* call);

}  // namespace pg::comm
