#define BOOST_TEST_MODULE comm
#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "base/exact_sum.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "comm/board.hpp"
#include "comm/communicator.hpp"
#include "comm/exchange.hpp"
#include "comm/session.hpp"
#include "support/support.hpp"

using pg::comm::Board;
using pg::comm::Exchange;

namespace {

struct Mpi {
  pg::comm::Session session;
};

const pg::comm::Communicator& world() {
  static Mpi mpi;
  return mpi.session.world();
}

/// A value that floating-point addition cannot be lucky with.
std::vector<float> leaf(std::int64_t chunk, std::size_t n) {
  const pg::random::Stream stream(3, pg::random::Purpose::test, static_cast<std::uint64_t>(chunk));
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(stream.normal(2 * i) *
                                   std::exp2(static_cast<double>(stream.below(20, 2 * i + 1))));
  }
  return values;
}

/// The definition: the sum over leaves [first, last) of the tree, split at the largest power of two
/// below the count.
std::vector<float> tree_sum(std::int64_t first, std::int64_t last, std::size_t n) {
  const std::int64_t count = last - first;
  if (count == 1) return leaf(first, n);
  const auto left_count =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(count)) / 2);
  std::vector<float> sum = tree_sum(first, first + left_count, n);
  const std::vector<float> right = tree_sum(first + left_count, last, n);
  for (std::size_t i = 0; i < n; ++i) sum[i] += right[i];
  return sum;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(texts_reach_every_rank) {
  const std::string mine = "rank " + std::to_string(world().rank());
  BOOST_TEST(world().broadcast(mine) == "rank 0");
  const auto all = world().all_gather(std::string(static_cast<std::size_t>(world().rank()), 'x'));
  BOOST_TEST(all.size() == static_cast<std::size_t>(world().size()));
  for (std::size_t i = 0; i < all.size(); ++i) BOOST_TEST(all[i].size() == i);
}

BOOST_AUTO_TEST_CASE(all_ranks_read_one_log_in_one_order) {
  constexpr std::int64_t kEach = 60;
  std::string seen;
  {
    Board board(world(), kEach * world().size());
    std::int64_t next = 0;
    std::vector<Board::Entry> log;
    const auto read = [&] {
      for (const Board::Entry& entry : board.entries_from(next)) {
        log.push_back(entry);
        ++next;
      }
    };
    for (std::int64_t i = 0; i < kEach; ++i) {
      board.append({world().rank(), i, 7, 6, 5, 4, 3, -2});
      if (i % 7 == world().rank()) read();
    }
    while (next < kEach * world().size()) read();
    BOOST_TEST(board.entries_from(next).empty());
    std::map<std::int64_t, std::int64_t> count;  // by rank: its own entries stay in its order
    for (const Board::Entry& entry : log) {
      BOOST_TEST(entry[1] == count[entry[0]]++);
      BOOST_TEST(entry[7] == -2);
      seen += std::to_string(entry[0]) + ":" + std::to_string(entry[1]) + " ";
    }
    world().wait_for_all([] {});
  }
  for (const std::string& other : world().all_gather(seen)) BOOST_TEST(other == seen);
}

BOOST_AUTO_TEST_CASE(a_full_log_is_refused_by_name) {
  Board board(world(), 1);
  world().wait_for_all([] {});
  if (world().rank() == world().size() - 1) {
    board.append({});
    pg::testing::check_error([&] { board.append({}); }, pg::ExitCode::internal, {"log"});
  }
  world().wait_for_all([] {});
  BOOST_TEST(board.entries_from(0).size() == 1U);
  world().wait_for_all([] {});
}

BOOST_AUTO_TEST_CASE(a_new_board_starts_from_zero_and_shows_statuses_and_the_stop_flag) {
  Board board(world(), 0);
  BOOST_TEST(!board.stop_requested());
  BOOST_TEST(board.entries_from(0).empty());
  board.post(
      {.job = world().rank(), .step = 10, .steps = 20, .tokens_done = 1000 + world().rank()});
  world().wait_for_all([] {});
  const auto statuses = board.statuses();
  BOOST_TEST(statuses.size() == static_cast<std::size_t>(world().size()));
  for (std::size_t rank = 0; rank < statuses.size(); ++rank) {
    BOOST_TEST(statuses[rank].job == static_cast<std::int64_t>(rank));
    BOOST_TEST(statuses[rank].tokens_done == static_cast<std::int64_t>(1000 + rank));
  }
  world().wait_for_all([] {});
  if (world().rank() == world().size() - 1) board.request_stop();
  world().wait_for_all([] {});
  BOOST_TEST(board.stop_requested());
  world().wait_for_all([] {});
}

BOOST_AUTO_TEST_CASE(waiting_lets_other_work_go_on) {
  int calls = 0;
  if (world().rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  world().wait_for_all([&] { ++calls; });
  if (world().rank() != 0) BOOST_TEST(calls > 1);
}

BOOST_AUTO_TEST_CASE(the_log_flows_while_rank_0_computes) {
  // Over TCP an entry needs rank 0's help; without progress() in its inner loop the others would
  // wait until it is done.
  using Clock = std::chrono::steady_clock;
  constexpr auto kBusy = std::chrono::milliseconds(1500);
  Board board(world(), 20 * world().size());
  const auto start = Clock::now();
  if (world().rank() == 0) {
    while (Clock::now() - start < kBusy) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      board.progress();
    }
  } else {
    for (int i = 0; i < 20; ++i) board.append({});
    BOOST_TEST((Clock::now() - start < kBusy * 2 / 3));
  }
  world().wait_for_all([] {});
}

BOOST_AUTO_TEST_CASE(teams_are_aligned_blocks_and_act_alone) {
  const pg::comm::Teams teams(world());
  for (int size = 1; size <= world().size(); size *= 2) {
    const int block = world().rank() / size;
    if ((block + 1) * size > world().size()) {
      pg::testing::check_error([&] { (void)teams.of_size(size); }, pg::ExitCode::internal,
                               {"team"});
      continue;
    }
    const auto& team = teams.of_size(size);
    BOOST_TEST(team.size() == size);
    BOOST_TEST(team.rank() == world().rank() % size);
    // Only even blocks talk: a team needs nobody else.
    if (block % 2 != 0) continue;
    std::vector<std::int64_t> words = {world().rank(), 1};
    team.all_reduce(words);
    BOOST_TEST(words[0] == size * block * size + size * (size - 1) / 2);
    BOOST_TEST(words[1] == size);
  }
  pg::testing::check_error([&] { (void)teams.of_size(3); }, pg::ExitCode::internal, {"team"});
  world().wait_for_all([] {});
}

BOOST_AUTO_TEST_CASE(the_tree_over_ranks_gives_the_bits_of_the_tree_over_chunks) {
  const pg::comm::Teams teams(world());
  for (int size = 1; size <= pg::comm::Teams::largest(world().size()); size *= 2) {
    if ((world().rank() / size + 1) * size > world().size()) continue;
    const auto& team = teams.of_size(size);
    const auto exchange = pg::comm::make_mpi_exchange(team);
    for (const std::size_t n : {0U, 1U, 2U, 7U, 1000U, 4001U}) {
      for (const std::int64_t n_chunks : {1, 2, 3, 5, 8, 13}) {
        const auto leaves =
            static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n_chunks)));
        const std::int64_t width = std::max<std::int64_t>(1, leaves / size);
        const auto n_present = static_cast<int>((n_chunks + width - 1) / width);
        const std::int64_t first = team.rank() * width;
        // A rank without chunks holds rubbish, which must not get into the sum.
        std::vector<float> values(n, std::numeric_limits<float>::quiet_NaN());
        if (team.rank() < n_present) {
          values = tree_sum(first, std::min(first + width, n_chunks), n);
        }
        const auto bounds = pg::comm::equal_bounds(n, size);
        exchange->reduce_scatter(values, bounds, n_present, Exchange::Order::tree)->wait();
        const std::vector<float> expected = tree_sum(0, n_chunks, n);
        pg::ExactSum squares;
        const auto part = static_cast<std::size_t>(pg::comm::owner_of_part(team.rank(), size));
        squares.add_squares(
            std::span<const float>(values).subspan(bounds[part], bounds[part + 1] - bounds[part]));
        auto words = squares.words();
        team.all_reduce(words);
        exchange->all_gather(values, bounds)->wait();
        BOOST_TEST(same_bits(values, expected),
                   size << " ranks, " << n << " values, " << n_chunks << " chunks");
        pg::ExactSum whole;
        whole.add_squares(expected);
        BOOST_TEST(pg::ExactSum::from_words(words).value() == whole.value());
      }
    }
  }
  world().wait_for_all([] {});
}

BOOST_AUTO_TEST_CASE(the_sum_in_any_order_is_near_but_its_bits_are_not_promised) {
  std::vector<float> values = leaf(world().rank(), 1000);
  const pg::comm::Teams teams(world());
  const int size = pg::comm::Teams::largest(world().size());
  if (world().rank() >= size) return;
  const auto exchange = pg::comm::make_mpi_exchange(teams.of_size(size));
  const auto bounds = pg::comm::equal_bounds(values.size(), size);
  exchange->reduce_scatter(values, bounds, size, Exchange::Order::any)->wait();
  exchange->all_gather(values, bounds)->wait();
  std::vector<double> exact(1000, 0.0);
  for (int rank = 0; rank < size; ++rank) {
    const auto other = leaf(rank, 1000);
    for (std::size_t i = 0; i < exact.size(); ++i) exact[i] += static_cast<double>(other[i]);
  }
  for (std::size_t i = 0; i < exact.size(); ++i) {
    BOOST_TEST(std::abs(static_cast<double>(values[i]) - exact[i]) < 2.0);
  }
}

BOOST_AUTO_TEST_CASE(several_collectives_with_uneven_parts_are_under_way_at_once) {
  const pg::comm::Teams teams(world());
  const int size = pg::comm::Teams::largest(world().size());
  if (world().rank() >= size) return;
  const auto exchange = pg::comm::make_mpi_exchange(teams.of_size(size));
  const int part = pg::comm::owner_of_part(world().rank(), size);
  // Part k has (k * 37) % 11 elements: some have none.
  std::vector<std::size_t> bounds = {0};
  for (int k = 0; k < size; ++k)
    bounds.push_back(bounds.back() + static_cast<std::size_t>(k * 37 % 11));
  const std::size_t n = bounds.back();
  constexpr std::size_t kRounds = 5;
  std::vector<std::vector<float>> gathered(kRounds);
  std::vector<std::vector<float>> reduced(kRounds);
  std::vector<std::unique_ptr<Exchange::Pending>> pending;
  for (std::size_t round = 0; round < kRounds; ++round) {
    const auto seed = static_cast<std::int64_t>(100 * round);
    gathered[round].assign(n, 0);
    const auto whole = leaf(seed + 99, n);
    for (auto i = bounds[static_cast<std::size_t>(part)];
         i < bounds[static_cast<std::size_t>(part) + 1]; ++i) {
      gathered[round][i] = whole[i];
    }
    pending.push_back(exchange->all_gather(gathered[round], bounds));
    reduced[round] = leaf(seed + world().rank(), n);
    pending.push_back(
        exchange->reduce_scatter(reduced[round], bounds, size, Exchange::Order::tree));
    exchange->progress();
  }
  for (const auto& one : pending) one->wait();
  for (std::size_t round = 0; round < kRounds; ++round) {
    const auto seed = static_cast<std::int64_t>(100 * round);
    BOOST_TEST(same_bits(gathered[round], leaf(seed + 99, n)));
    const auto expected = tree_sum(seed, seed + size, n);
    const auto mine = [&](const std::vector<float>& values) {
      return std::vector<float>(
          values.begin() + static_cast<std::ptrdiff_t>(bounds[static_cast<std::size_t>(part)]),
          values.begin() + static_cast<std::ptrdiff_t>(bounds[static_cast<std::size_t>(part) + 1]));
    };
    BOOST_TEST(same_bits(mine(reduced[round]), mine(expected)));
  }
}

BOOST_AUTO_TEST_CASE(parts_belong_to_ranks_with_their_bits_in_reverse) {
  for (int size = 1; size <= 32; size *= 2) {
    std::set<int> owners;
    for (int part = 0; part < size; ++part) {
      const int owner = pg::comm::owner_of_part(part, size);
      owners.insert(owner);
      BOOST_TEST(pg::comm::owner_of_part(owner, size) == part);
    }
    BOOST_TEST(owners.size() == static_cast<std::size_t>(size));
  }
  BOOST_TEST(pg::comm::owner_of_part(1, 8) == 4);
}

BOOST_AUTO_TEST_CASE(a_lone_rank_among_many_tasks_is_told) {
  using Variables = std::map<std::string, std::string>;
  static Variables variables;
  const auto contradiction = [](const Variables& set) {
    variables = set;
    return pg::comm::lone_rank_contradiction([](const char* name) -> const char* {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  };
  BOOST_TEST(contradiction({}).empty());
  BOOST_TEST(contradiction({{"SLURM_NTASKS", "1"}}).empty());
  BOOST_TEST(contradiction({{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_NTASKS", "32"}}).empty());
  BOOST_TEST(contradiction({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_NTASKS", "32"}}).empty());
  BOOST_TEST(contradiction({{"SLURM_STEP_NUM_TASKS", "8"}}).find("8 tasks") != std::string::npos);
  BOOST_TEST(contradiction({{"SLURM_NTASKS", "32"}}).find("32 tasks") != std::string::npos);
  BOOST_TEST(contradiction({{"PMI_SIZE", "4"}}).find("4 ranks") != std::string::npos);
  BOOST_TEST(contradiction({{"OMPI_COMM_WORLD_SIZE", "4"}}).find("mpirun") != std::string::npos);
}
