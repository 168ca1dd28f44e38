#include "comm/tree_reduction.hpp"

#include <mpi.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "base/error.hpp"
#include "comm/mpi_handle.hpp"

namespace pg::comm {
namespace {

constexpr int kReduceTag = 1;
constexpr int kGatherTag = 2;

int count_of(const TreeReduction::Part& part) {
  return static_cast<int>(part.last - part.first);
}

/// The half of a part that the rank with this bit keeps; the other one is its partner's.
TreeReduction::Part half(const TreeReduction::Part& part, bool upper) {
  const std::size_t middle = part.first + (part.last - part.first) / 2;
  return upper ? TreeReduction::Part{middle, part.last} : TreeReduction::Part{part.first, middle};
}

}  // namespace

TreeReduction::TreeReduction(const Communicator& team) : team_(team) {
  require(std::has_single_bit(static_cast<unsigned>(team.size())), "a team of 2^k ranks");
}

TreeReduction::Part TreeReduction::reduce_scatter(std::span<float> values, int n_present) {
  require(values.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
          "a message that MPI can count");
  require(n_present >= 1 && n_present <= team_.size(), "a sum over at least one rank");
  const Recorded recorded(team_, "reduce_scatter_tree", values.size_bytes());
  const MPI_Comm mpi = team_.handle().mpi;
  const int rank = team_.rank();
  received_.resize((values.size() + 1) / 2);
  parts_.assign(1, {0, values.size()});
  for (int distance = 1; distance < team_.size(); distance *= 2) {
    const int partner = rank ^ distance;
    const bool upper = (rank & distance) != 0;
    const Part mine = half(parts_.back(), upper);
    const Part theirs = half(parts_.back(), !upper);
    const int left_block = rank & ~(2 * distance - 1);
    const bool left_present = left_block < n_present;
    const bool right_present = left_block + distance < n_present;
    const bool i_send = upper ? right_present : left_present;
    const bool i_receive = upper ? left_present : right_present;
    float* const kept = values.data() + mine.first;
    team_.handle().waits_for(partner);
    if (i_send && i_receive) {
      check_mpi(MPI_Sendrecv(values.data() + theirs.first, count_of(theirs), MPI_FLOAT, partner,
                             kReduceTag, received_.data(), count_of(mine), MPI_FLOAT, partner,
                             kReduceTag, mpi, MPI_STATUS_IGNORE),
                "MPI_Sendrecv");
      const auto count = mine.last - mine.first;
      // Left plus right, on either side: the sum of two NaNs is the first one.
      if (upper) {
        for (std::size_t i = 0; i < count; ++i) kept[i] = received_[i] + kept[i];
      } else {
        for (std::size_t i = 0; i < count; ++i) kept[i] = kept[i] + received_[i];
      }
    } else if (i_send) {
      check_mpi(MPI_Send(values.data() + theirs.first, count_of(theirs), MPI_FLOAT, partner,
                         kReduceTag, mpi),
                "MPI_Send");
    } else if (i_receive) {  // the right sub-tree has no leaf: the left one is the sum
      check_mpi(
          MPI_Recv(kept, count_of(mine), MPI_FLOAT, partner, kReduceTag, mpi, MPI_STATUS_IGNORE),
          "MPI_Recv");
    }
    parts_.push_back(mine);
  }
  return parts_.back();
}

void TreeReduction::all_gather(std::span<float> values) const {
  require(!parts_.empty() && parts_.front().last == values.size(), "the values just reduced");
  const Recorded recorded(team_, "all_gather_tree", values.size_bytes());
  std::size_t level = parts_.size() - 1;
  for (int distance = team_.size() / 2; distance >= 1; distance /= 2, --level) {
    const int partner = team_.rank() ^ distance;
    const Part mine = parts_[level];
    const Part theirs = half(parts_[level - 1], (team_.rank() & distance) == 0);
    team_.handle().waits_for(partner);
    check_mpi(MPI_Sendrecv(values.data() + mine.first, count_of(mine), MPI_FLOAT, partner,
                           kGatherTag, values.data() + theirs.first, count_of(theirs), MPI_FLOAT,
                           partner, kGatherTag, team_.handle().mpi, MPI_STATUS_IGNORE),
              "MPI_Sendrecv");
  }
}

}  // namespace pg::comm
