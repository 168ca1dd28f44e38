#pragma once

#include <mpi.h>

#include "comm/communicator.hpp"

// Inside comm only: the MPI side of the handles that the other folders see as opaque.

namespace pg::comm {

struct Communicator::Handle {
  MPI_Comm mpi = MPI_COMM_NULL;
  bool owned = false;  ///< made here, so freed here
};

/// Throws IoError naming the call and MPI's words for the code.
void check_mpi(int code, const char* call);

}  // namespace pg::comm
