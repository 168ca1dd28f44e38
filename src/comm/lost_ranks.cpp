#include "comm/lost_ranks.hpp"

#include <algorithm>

namespace pg::comm {

std::vector<Snapshot> lost_ranks(const std::filesystem::path& folder, Elsewhere elsewhere) {
  std::vector<Snapshot> all = read_snapshots(folder);
  const auto last = std::max_element(
      all.begin(), all.end(),
      [](const Snapshot& a, const Snapshot& b) { return a.started_wall_ns < b.started_wall_ns; });
  if (last == all.end()) return {};
  const FixedText launch = last->launch;
  std::erase_if(all, [&](const Snapshot& snapshot) {
    if (snapshot.launch.view() != launch.view() || snapshot.state == RankState::ended) return true;
    const Life now = life(snapshot);
    const bool gone = now == Life::dead || (now == Life::unknown && elsewhere == Elsewhere::count);
    return !gone;
  });
  return all;
}

}  // namespace pg::comm
