#include "comm/exchange_plan.hpp"

#include <algorithm>
#include <bit>

#include "base/error.hpp"

namespace pg::comm {
namespace {

using Join = TreeStep::Join;

Join join_of(const Range& kept, bool mine_present, bool partner_present, bool upper) {
  if (kept.empty() || !partner_present) return Join::keep;
  if (!mine_present) return Join::take;
  return upper ? Join::received_plus_mine : Join::mine_plus_received;
}

}  // namespace

std::vector<TreeStep> tree_steps(int rank, int size, std::span<const std::size_t> bounds,
                                 int n_present) {
  require(size >= 1 && std::has_single_bit(static_cast<unsigned>(size)), "a team of 2^k ranks");
  require(rank >= 0 && rank < size, "a rank of the team");
  require(bounds.size() == static_cast<std::size_t>(size) + 1 && bounds.front() == 0 &&
              std::is_sorted(bounds.begin(), bounds.end()),
          "ascending bounds of one part for each rank");
  require(n_present >= 1 && n_present <= size, "a sum over at least one rank");
  std::vector<TreeStep> steps;
  std::size_t first_part = 0;
  std::size_t n_parts = bounds.size() - 1;
  for (int distance = 1; distance < size; distance *= 2) {
    n_parts /= 2;
    const Range lower{bounds[first_part], bounds[first_part + n_parts]};
    const Range higher{bounds[first_part + n_parts], bounds[first_part + 2 * n_parts]};
    const bool upper = (rank & distance) != 0;
    if (upper) first_part += n_parts;
    const int left_block = rank & ~(2 * distance - 1);
    const bool left_present = left_block < n_present;
    const bool right_present = left_block + distance < n_present;
    const bool mine_present = upper ? right_present : left_present;
    const bool partner_present = upper ? left_present : right_present;
    TreeStep step;
    step.partner = rank ^ distance;
    step.kept = upper ? higher : lower;
    if (mine_present) step.sent = upper ? lower : higher;
    step.join = join_of(step.kept, mine_present, partner_present, upper);
    steps.push_back(step);
  }
  return steps;
}

}  // namespace pg::comm
