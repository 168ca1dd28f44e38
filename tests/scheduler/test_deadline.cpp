#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "scheduler/mixes.hpp"
#include "scheduler/simulate.hpp"

namespace pg::scheduler {

namespace {

Scheduler make(int n_ranks, const std::vector<Work>& works, double deadline) {
  return {n_ranks, works, CostModel(mixes::assumptions()), deadline};
}

double seconds(const Work& work, int size) {
  return CostModel(mixes::assumptions()).seconds(work, size);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(deadline)

BOOST_AUTO_TEST_CASE(a_far_deadline_changes_nothing) {
  const auto grid = mixes::grid(4);
  const Timeline without = simulate({16, grid, CostModel(mixes::assumptions())});
  const Timeline with = simulate(make(16, grid, 2 * without.makespan_s));
  BOOST_TEST(with.makespan_s == without.makespan_s);
  BOOST_TEST(with.not_started.empty());
}

BOOST_AUTO_TEST_CASE(nothing_ends_late_and_the_time_is_used) {
  const auto grid = mixes::grid(4);
  for (const int n_ranks : {1, 6, 8, 16, 32}) {
    const double whole = simulate({n_ranks, grid, CostModel(mixes::assumptions())}).makespan_s;
    for (const double share : {0.1, 0.3, 0.6, 0.9, 1.0}) {
      BOOST_TEST_CONTEXT(n_ranks << " ranks, share " << share) {
        const double deadline = share * whole;
        const Timeline timeline = simulate(make(n_ranks, grid, deadline));
        BOOST_TEST(timeline.makespan_s <= deadline);
        BOOST_TEST(timeline.bars.size() + timeline.not_started.size() == grid.size());
        // The margin of a prediction that nobody has checked is a tenth of the time.
        double work = 0;
        for (const auto& bar : timeline.bars) work += seconds(grid[bar.job], 1);
        BOOST_TEST_MESSAGE(n_ranks << " ranks, deadline at " << share << " of the makespan: used "
                                   << work / (n_ranks * deadline));
        if (share >= 0.3) BOOST_TEST(work >= 0.75 * n_ranks * deadline);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_wider_team_if_only_that_fits) {
  const Work work = mixes::work(64, 4, 1000);
  const Work large = mixes::work(512, 4, 100000);
  const double deadline = 1.2 * seconds(work, 4);
  BOOST_REQUIRE(seconds(work, 2) > deadline);
  Scheduler scheduler = make(4, {large, work}, deadline);
  const auto starts = scheduler.decide(0);
  BOOST_REQUIRE(starts.size() == 1U);
  BOOST_TEST(starts[0].job == 1U);
  BOOST_TEST(starts[0].size == 4);
  BOOST_TEST(scheduler.out_of_time() == std::vector<std::size_t>{0},
             boost::test_tools::per_element());
  BOOST_TEST(scheduler.left_out() == std::vector<std::size_t>{0}, boost::test_tools::per_element());
  BOOST_TEST(!scheduler.done());
  Measurement measured;
  measured.steps_done = 1000;
  scheduler.finished(1, starts[0].expected_end_s, measured);
  BOOST_TEST(scheduler.decide(starts[0].expected_end_s).empty());
  BOOST_TEST(scheduler.done());
}

BOOST_AUTO_TEST_CASE(errors_widen_the_margin) {
  const auto grid = mixes::grid(4);
  Scheduler scheduler = make(8, grid, 1e9);
  const double at_first = scheduler.safety_factor();
  const auto starts = scheduler.decide(0);
  Measurement measured;
  measured.steps_done = 5000;
  scheduler.finished(starts[0].job, 1.5 * seconds(grid[starts[0].job], starts[0].size), measured);
  BOOST_TEST(scheduler.safety_factor() > at_first + 0.1);
}

BOOST_AUTO_TEST_CASE(margins_hold_for_noisy_times) {
  const auto grid = mixes::grid(4);
  int late = 0;
  int ended = 0;
  for (std::uint64_t seed = 1; seed <= (mixes::kFast ? 20 : 2); ++seed) {
    const double deadline = 4000;
    const auto truth = [&](std::size_t job, int size) {
      const random::Stream stream(seed, random::Purpose::test);
      Truth about = truth_of_model(CostModel(mixes::assumptions()), grid[job], size);
      about.seconds *= 0.9 + 0.2 * stream.uniform(job);
      return about;
    };
    for (const auto& bar : simulate(make(16, grid, deadline), truth).bars) {
      ++ended;
      late += bar.end_s > deadline ? 1 : 0;
    }
  }
  BOOST_TEST_MESSAGE(late << " of " << ended << " trials late with times off by up to 10 %");
  BOOST_TEST(late * 100 <= ended);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace pg::scheduler
