#define BOOST_TEST_MODULE comm
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>

#include "base/text.hpp"
#include "comm/communicator.hpp"

namespace {

struct Mpi {
  pg::comm::Session session;
};

const pg::comm::Communicator& world() {
  static Mpi mpi;
  return mpi.session.world();
}

}  // namespace

BOOST_AUTO_TEST_CASE(texts_reach_every_rank) {
  const std::string mine = "rank " + std::to_string(world().rank());
  BOOST_TEST(world().broadcast(mine) == "rank 0");
  const auto all = world().all_gather(std::string(static_cast<std::size_t>(world().rank()), 'x'));
  BOOST_TEST(all.size() == static_cast<std::size_t>(world().size()));
  for (std::size_t i = 0; i < all.size(); ++i) BOOST_TEST(all[i].size() == i);
}

BOOST_AUTO_TEST_CASE(every_ticket_goes_to_exactly_one_rank) {
  constexpr std::int64_t kTickets = 500;
  std::string mine;
  {
    pg::comm::TicketBoard board(world());
    for (std::int64_t ticket = board.take(); ticket < kTickets; ticket = board.take()) {
      mine += std::to_string(ticket) + " ";
      if (ticket % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    world().wait_for_all([] {});
  }
  std::multiset<long long> seen;
  for (const std::string& list : world().all_gather(mine)) {
    for (const std::string& word : pg::split(list, ' ')) {
      if (!word.empty()) seen.insert(*pg::parse_integer(word));
    }
  }
  std::multiset<long long> expected;
  for (long long i = 0; i < kTickets; ++i) expected.insert(i);
  BOOST_TEST((seen == expected));
}

BOOST_AUTO_TEST_CASE(a_new_board_starts_from_zero_and_shows_statuses_and_the_stop_flag) {
  pg::comm::TicketBoard board(world());
  BOOST_TEST(!board.stop_requested());
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

BOOST_AUTO_TEST_CASE(tickets_flow_while_rank_0_computes) {
  // Over TCP a ticket needs rank 0's help; without progress() in its inner loop the others would
  // wait until it is done.
  using Clock = std::chrono::steady_clock;
  constexpr auto kBusy = std::chrono::milliseconds(1500);
  pg::comm::TicketBoard board(world());
  const auto start = Clock::now();
  if (world().rank() == 0) {
    while (Clock::now() - start < kBusy) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      board.progress();
    }
  } else {
    for (int i = 0; i < 20; ++i) (void)board.take();
    BOOST_TEST((Clock::now() - start < kBusy * 2 / 3));
  }
  world().wait_for_all([] {});
}
