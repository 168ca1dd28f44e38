#pragma once

#include <filesystem>
#include <vector>

#include "comm/flight_snapshot.hpp"

namespace pg::comm {

/// Of processes on other machines nobody here can say whether they still run.
enum class Elsewhere {
  leave_out,  ///< for a status command, which may look at a run in progress
  count,      ///< for a launch that knows that the one before it is over
};

/// The ranks of the last launch (the one started last among the recorder files of this folder)
/// whose process is gone without a normal end, in rank order. To be called before the ranks of a
/// new launch attach their own files over these.
std::vector<Snapshot> lost_ranks(const std::filesystem::path& folder,
                                 Elsewhere elsewhere = Elsewhere::leave_out);

}  // namespace pg::comm
