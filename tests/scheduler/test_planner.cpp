#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <ctime>
#include <numeric>

#include "scheduler/lower_bound.hpp"
#include "scheduler/mixes.hpp"
#include "scheduler/planner.hpp"
#include "scheduler/simulate.hpp"

namespace pg::scheduler {

namespace {

struct Problem {
  TimeTable times;
  std::vector<std::size_t> jobs;
  std::vector<double> ready;
  Problem(const std::vector<Work>& works, int n_ranks)
      : times(works, CostModel(mixes::assumptions()), n_ranks),
        jobs(works.size()),
        ready(static_cast<std::size_t>(n_ranks), 0.0) {
    std::iota(jobs.begin(), jobs.end(), 0);
  }
};

// The best schedule there is: all orders, all widths, all blocks, each trial as early as it can.
class Exhaustive {
 public:
  Exhaustive(const Problem& problem) : problem_(problem), ends_(problem.ready) {}
  double makespan() {
    search(0, 0);
    return best_;
  }

 private:
  void search(unsigned done, double makespan) {
    if (makespan >= best_) return;
    if (done + 1 == 1U << problem_.jobs.size()) {
      best_ = makespan;
      return;
    }
    for (const std::size_t job : problem_.jobs) {
      if ((done >> job & 1) == 1) continue;
      for (int level = 0; level < problem_.times.n_levels(); ++level) {
        const double seconds = problem_.times.seconds(job, level);
        if (std::isinf(seconds)) continue;
        const std::ptrdiff_t size = 1 << level;
        for (auto first = ends_.begin(); ends_.end() - first >= size; first += size) {
          const std::vector<double> before = ends_;
          const double end = *std::max_element(first, first + size) + seconds;
          std::fill_n(first, size, end);
          search(done | 1U << job, std::max(makespan, end));
          std::copy(before.begin(), before.end(), ends_.begin());
        }
      }
    }
  }
  const Problem& problem_;
  std::vector<double> ends_;
  double best_ = 1e300;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(planner)

BOOST_AUTO_TEST_CASE(useful_widths) {
  const Problem problem({mixes::work(20, 4, 100), mixes::work(8, 4, 100)}, 64);
  // Five chunks: two ranks do four and one, four do two, eight do one.
  BOOST_TEST(std::isfinite(problem.times.seconds(0, 3)));
  BOOST_TEST(std::isinf(problem.times.seconds(0, 4)));
  BOOST_TEST(std::isfinite(problem.times.seconds(1, 1)));
  BOOST_TEST(std::isinf(problem.times.seconds(1, 2)));
  // Where messages cost more than chunks, a wider team is not faster.
  Work slow = mixes::work(8, 4, 100);
  slow.gradient_bytes = 1'000'000'000;
  BOOST_TEST(std::isinf(Problem({slow}, 2).times.seconds(0, 1)));
  BOOST_TEST(problem.times.shortest(0) == problem.times.seconds(0, 3));
}

BOOST_AUTO_TEST_CASE(the_grid_of_49_trials) {
  const std::pair<int, double> bars[] = {{2, 0.99},  {4, 0.99},  {6, 0.97},  {8, 0.95}, {12, 0.95},
                                         {16, 0.92}, {24, 0.92}, {32, 0.90}, {64, 0.90}};
  for (const int chunk : {4, 8}) {
    for (const auto& [n_ranks, bar] : bars) {
      const Timeline timeline =
          simulate(Scheduler(n_ranks, mixes::grid(chunk), CostModel(mixes::assumptions())));
      BOOST_TEST_MESSAGE("49 trials, chunk " << chunk << ", " << n_ranks << " ranks: efficiency "
                                             << timeline.efficiency);
      BOOST_TEST(timeline.bars.size() == 49U);
      BOOST_TEST(timeline.efficiency >= bar);
      BOOST_TEST(timeline.efficiency <= 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(large_mixes_near_their_bound) {
  const std::size_t n = mixes::kFast ? 2000 : 200;
  const int n_ranks = mixes::kFast ? 4096 : 512;
  for (std::uint64_t seed = 1; seed <= (mixes::kFast ? 3 : 1); ++seed) {
    for (const mixes::Mix& mix : mixes::mixed(n, seed)) {
      BOOST_TEST_CONTEXT(mix.name << ", seed " << seed) {
        const Problem problem(mix.works, n_ranks);
        Planner planner(n_ranks);
        const std::clock_t begun = std::clock();
        const Plan plan = planner.plan(problem.times, problem.jobs, problem.ready, 0);
        const double cpu_s = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
        const LowerBound bound = lower_bound(problem.times, problem.jobs, problem.ready, 0);
        BOOST_TEST_MESSAGE(mix.name << ", seed " << seed << ": " << plan.end_s / bound.simple_s()
                                    << " of max(area, critical path), "
                                    << plan.end_s / bound.best_s() << " of the best bound, "
                                    << cpu_s << " s");
        BOOST_TEST(plan.placements.size() == n);
        BOOST_TEST(plan.end_s >= bound.best_s() * (1 - 1e-9));
        if (!mixes::kFast) continue;
        BOOST_TEST(plan.end_s <= 1.05 * bound.best_s());
        // Of these the simple bound cannot be reached, by proof of the best one: an odd number of
        // chunks makes every width but one wasteful; 40 trials that need 128 ranks each to be done
        // in half the height are more than 4096 have room for; trials of whole times 54 s do not
        // fill every height.
        const bool provable = mix.name == "any batch" || mix.name == "few long, many short" ||
                              (mix.name == "one model" && seed == 2);
        if (provable) {
          BOOST_TEST(bound.best_s() > 1.05 * bound.simple_s());
        } else {
          BOOST_TEST(plan.end_s <= 1.05 * bound.simple_s());
        }
        BOOST_TEST(cpu_s < 2);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(tiny_problems_against_all_schedules) {
  double worst = 1;
  double sum = 0;
  const int n_problems = mixes::kFast ? 120 : 20;
  for (int i = 0; i < n_problems; ++i) {
    mixes::Dice dice(static_cast<std::uint64_t>(100 + i));
    const int n_ranks = 1 + i % 4;
    std::vector<Work> works;
    const int n_jobs = 1 + dice.below(mixes::kFast ? 5 : 4);
    for (int job = 0; job < n_jobs; ++job) {
      works.push_back(
          mixes::work(4 + dice.below(64), 4, 500 + dice.below(5000), dice.log_uniform(1, 4)));
    }
    const Problem problem(works, n_ranks);
    const double best = Exhaustive(problem).makespan();
    const LowerBound bound = lower_bound(problem.times, problem.jobs, problem.ready, 0);
    BOOST_TEST(bound.best_s() <= best * (1 + 1e-9));
    const Plan plan = Planner(n_ranks).plan(problem.times, problem.jobs, problem.ready, 0);
    BOOST_TEST(plan.end_s >= best * (1 - 1e-9));
    worst = std::max(worst, plan.end_s / best);
    sum += plan.end_s / best;
  }
  BOOST_TEST_MESSAGE("tiny problems: " << worst << " of the best schedule at worst, "
                                       << sum / n_problems << " on average");
  BOOST_TEST(worst <= 1.02);
  BOOST_TEST(sum / n_problems <= 1.005);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace pg::scheduler
